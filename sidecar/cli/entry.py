"""The command line of the commands for people."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from . import inject, lint, push


def main(arguments: Sequence[str]) -> int:
    """Run one of the commands; return the exit status."""
    chosen = _parser().parse_args(arguments)
    status: int = chosen.run(chosen)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="config-reload-sidecar")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    inject.add_parser(commands)
    lint.add_parser(commands)
    push.add_parser(commands)
    return parser
