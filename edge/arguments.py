"""The argument parser of all commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeAlias

from edge.logs import LEVELS

Subcommands: TypeAlias = "argparse._SubParsersAction[ArgumentParser]"
"""What commands are added to."""


class UsageError(Exception):
    """The caller made a mistake; the message is one line that says which."""


class ArgumentParser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where to read what is right, instead of printing all that could be."""

    def error(self, message: str) -> NoReturn:
        """Print the line to standard error and exit with status 2."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())} ({self.prog} --help)\n")


def add_command(
    commands: Subcommands, name: str, run: Callable[[argparse.Namespace], int], text: str, example: str
) -> ArgumentParser:
    """Add a command with what every command has; `run` returns its exit status."""
    added = commands.add_parser(name, help=text, description=text, epilog=f"example: {example}", allow_abbrev=False)
    added.set_defaults(run=run)
    added.add_argument("-c", "--config", type=Path, metavar="FILE", help="default: /etc/overflight/overflight.yaml")
    added.add_argument(
        "--log-level", choices=LEVELS, default=argparse.SUPPRESS, help="least level that is logged (warning; run: info)"
    )
    added.add_argument("--debug", action="store_true", help="log everything, show where an error comes from")
    return added
