"""The arguments of the command line. Imported only where there are any."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .output import say

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for; or end with status 2 and say what is wrong."""
    return _parser().parse_args(arguments)


class _Parser(argparse.ArgumentParser):
    """argparse drops what it can't write, and ends as if it had."""

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Write the help to stdout, or end with status 1."""
        del file
        if status := say(self.format_help()):
            self.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="config-reload-sidecar",
        description="Tells the program in your pod that its mounted configuration"
        " changed, and makes sure that it took it. Configured by environment variables;"
        " the README lists them.",
        epilog="Outside of the pod: push, status, inject and lint, which need the"
        " extra cli: pip install '.[cli]' in a checkout.",
    )
    parser.add_argument(
        "--version", action="store_true", help="show the version and exit"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser(
        "once",
        help="one attempt for each target that is stale; status 0 if all are fresh"
        " after it, 1 if not",
    )
    explain = commands.add_parser(
        "check",
        help="explain the environment: volumes, processes, webhooks, limits; status 0"
        " if nothing is wrong, 1 if something is, 2 if the settings are",
    )
    explain.add_argument("--json", action="store_true", help="write JSON")
    parser.set_defaults(json=False)
    return parser
