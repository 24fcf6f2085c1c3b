"""``overflight-train harvest``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.commands.arguments import positive

if TYPE_CHECKING:
    from trainer.harvest.observed import Observed

SUMMARY = "lay out what a device brought back as folders to label"
DESCRIPTION = (
    "Sort the frames that a device kept by how useful a label would be - contradicted by an operator, uncertain, odd - and "
    "copy them into folders to label, from which fit --from BUNDLE learns on. The journal is only read."
)
TENSORFLOW = False
EXAMPLE = "overflight-train harvest journal.db --frames inbox --out to-label --contradicted operators.csv"

_LISTED = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """As in `Command`."""
    parser.add_argument("journal", type=Path, metavar="JOURNAL", help="the device's journal, with its -wal if there is one")
    parser.add_argument("--frames", type=Path, required=True, metavar="FOLDER", help="the frames that the device kept")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to write, which must not exist")
    parser.add_argument("--limit", type=positive, default=500, metavar="N", help="frames at most (default 500)")
    parser.add_argument(
        "--contradicted",
        type=Path,
        metavar="FILE",
        help="true labels that operators said: CSV or JSON lines, with alert (id) or frame (name), and label",
    )


def run(options: argparse.Namespace) -> int:
    """As in `Command`."""
    from trainer.harvest import harvest

    harvested = harvest(
        options.journal,
        options.frames,
        options.out,
        limit=options.limit,
        contradicted=options.contradicted,
        progress=_with_a_bar,
    )
    _tell("are not in --frames, or are others by now", harvested.missing)
    _tell("cannot be read", harvested.unreadable)
    _tell("show what another shows", harvested.duplicates)
    _tell("were classified in tiles, so no label is that of the whole", harvested.in_tiles)
    _tell("of --contradicted are not in the journal", harvested.unknown)
    each = ", ".join(f"{count} {reason}" for reason, count in harvested.counts.items())
    print(f"{options.out}: {sum(harvested.counts.values())} frames: {each}")
    return 0


def _tell(what: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        print(f"{len(names)} {what}: {'; '.join(names[:_LISTED])}{more}", file=sys.stderr)


def _with_a_bar(frames: Sequence[Observed]) -> Iterable[Observed]:
    from rich.console import Console
    from rich.progress import track

    return track(frames, "looking", console=Console(stderr=True), disable=not sys.stderr.isatty())
