"""``overflight journal``: what the journal of this device says of the flight."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from edge.arguments import Subcommands, UsageError, add_command
from edge.config import load

_FORMATS = ("csv", "geojson", "parquet")


def add_journal_commands(commands: Subcommands) -> None:
    """Add ``journal`` and what comes below it."""
    text = "what the journal of this device says of the flight"
    example = "overflight journal export --format csv --output flight.csv"
    journal = commands.add_parser("journal", help=text, description=text, epilog=f"example: {example}", allow_abbrev=False)
    command = partial(add_command, journal.add_subparsers(dest="journal_command", required=True, metavar="COMMAND"))

    exported = command("export", _export, "every result as a table or as GeoJSON", example)
    exported.add_argument("--format", choices=_FORMATS, required=True, help="parquet needs --output")
    exported.add_argument("--output", type=Path, metavar="FILE", help="instead of standard output")
    exported.add_argument(
        "--since",
        type=_time,
        metavar="TIME",
        help="only frames that were recorded then or later, such as 2026-11-21 or 2026-11-21T10:00:00Z; without an offset: UTC",
    )
    exported.add_argument("--alerts", action="store_true", help="only what was alerted about")

    reported = command("report", _report, "the flight in numbers", "overflight journal report --run 3")
    reported.add_argument("--run", type=int, metavar="N", dest="run_number", help="only run N; default: the last one and all")
    reported.add_argument("--json", action="store_true", help="as JSON")


def _export(options: argparse.Namespace) -> int:
    from edge.export import export

    journal = Path(load(options.config).journal.path)
    output: Path | None = options.output
    if output is None and options.format == "parquet":
        raise UsageError("--format parquet: needs --output FILE")
    if output is not None:
        _check_output(output, journal)
    export(journal, options.format, output, options.since, alerts_only=options.alerts)
    return 0


def _check_output(output: Path, journal: Path) -> None:
    if output.is_dir():
        raise UsageError(f"--output: {output}: is a folder, expected a file")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"--output: {output.parent}: no such folder")
    if output.resolve() in {Path(f"{journal.resolve()}{suffix}") for suffix in ("", "-wal", "-shm", ".lock")}:
        raise UsageError(f"--output: {output}: is the journal itself")


def _report(options: argparse.Namespace) -> int:
    from edge.export import UnknownRunError, report, report_lines

    try:
        figures = report(Path(load(options.config).journal.path), options.run_number)
    except UnknownRunError as error:
        raise UsageError(f"--run: {error}") from error
    if options.json:
        print(msgspec.json.encode(figures).decode())
    else:
        print("\n".join(report_lines(figures)))
    return 0


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a time such as 2026-11-21T10:00:00Z, got {text!r}") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
