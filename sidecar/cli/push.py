"""`push` and `status` on the command line; what they do is in `work`."""

from __future__ import annotations

import argparse

_TIMEOUT = "2m"


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> None:
    """Add both commands to the command line."""
    push = commands.add_parser(
        "push",
        help="bring a changed ConfigMap or Secret to its pods in seconds, and watch",
        description="Makes the kubelet of every pod that mounts the objects sync at"
        " once, and follows the pods until their programs hold the content.",
    )
    _add_common(push)
    push.add_argument(
        "--batch", metavar="N|N%", help="one pod first, then so many at a time"
    )
    push.add_argument(
        "--timeout",
        metavar="DURATION",
        default=_TIMEOUT,
        help="how long a batch may take (default: %(default)s)",
    )
    push.add_argument(
        "--no-wait", action="store_true", help="make the kubelets sync, and leave"
    )
    push.set_defaults(run=_push)
    status = commands.add_parser(
        "status",
        help="show which pods run the content of a ConfigMap or Secret",
        description="Shows how far every pod that mounts the objects has come.",
    )
    _add_common(status)
    status.set_defaults(run=_status, timeout=_TIMEOUT, batch=None, no_wait=False)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "objects", nargs="+", metavar="OBJECT", help="configmap/NAME or secret/NAME"
    )
    parser.add_argument("-n", "--namespace", help="default: the context's")
    parser.add_argument("--context", help="of the kubeconfig; default: the current one")
    parser.add_argument(
        "-o",
        "--output",
        choices=["auto", "table", "lines", "json"],
        default="auto",
        help="auto: a table on a terminal, else lines",
    )


def _push(chosen: argparse.Namespace) -> int:
    # the Kubernetes client takes a third of a second, and other commands don't need it
    from . import work

    return work.run(chosen, work.push)


def _status(chosen: argparse.Namespace) -> int:
    from . import work

    return work.run(chosen, work.status)
