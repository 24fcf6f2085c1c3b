"""The ``overflight-train`` command."""

from __future__ import annotations

import argparse
import errno
import re
import shlex
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from edge.arguments import ArgumentParser
from edge.bundle import BundleError
from edge.text import one_line
from trainer.commands import COMMANDS
from trainer.errors import TrainerError
from trainer.quiet import import_tensorflow


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 for a failure, 2 for a mistake of the caller's."""
    options = _parser().parse_args(arguments)
    options.command_line = _command_line(sys.argv[1:] if arguments is None else arguments)
    # Ended from outside it clears away what is half written, as at the end of any other failure.
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        if options.tensorflow:
            import_tensorflow()
        return int(options.run(options))
    except (BundleError, TrainerError) as error:
        return _failed(options, str(error), error, 2)
    except KeyboardInterrupt:
        return 1
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return _failed(options, f"no room on the disk: {error}", error, 1)
        return _failed(options, str(error), error, 1)
    except Exception as error:  # noqa: BLE001 - shown in one line; with --debug it is raised
        return _failed(options, f"{type(error).__name__}: {one_line(error)} (--debug shows where)", error, 1)
    finally:
        signal.signal(signal.SIGTERM, before)


def _command_line(arguments: Sequence[str]) -> str:
    """For reports, which name what made them; without folders that only this machine has."""
    return shlex.join(["overflight-train", *(re.sub(r"(^|[:=])/(?:[^:]*/)?", r"\1", argument) for argument in arguments)])


def _terminated(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _failed(options: argparse.Namespace, text: str, error: Exception, status: int) -> int:
    if options.debug:
        raise error
    print(f"overflight-train: {' '.join(text.split())}", file=sys.stderr)
    return status


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="overflight-train", description="Train the models that Overflight runs.", allow_abbrev=False)
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        added = commands.add_parser(
            name,
            help=command.SUMMARY,
            description=command.DESCRIPTION,
            epilog=f"example: {command.EXAMPLE}",
            allow_abbrev=False,
        )
        # Also behind the command; what was said before it stands.
        added.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show where an error comes from")
        command.add_arguments(added)
        added.set_defaults(run=command.run, tensorflow=command.TENSORFLOW)
    return parser
