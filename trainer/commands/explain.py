"""``overflight-train explain``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from trainer.commands.arguments import share

SUMMARY = "show what in an image a decision rests on"
DESCRIPTION = (
    "Write a picture for each image with the network's Grad-CAM heat map over it, a table of where the heat lies, and a page "
    "that shows them all. Each image is one tile: it is seen whole, scaled to the size that the network takes."
)
TENSORFLOW = True
EXAMPLE = "overflight-train explain runs/photos photos/damaged --out explained/damaged"

_LISTED = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """As in `Command`."""
    parser.add_argument("subject", type=Path, metavar="SUBJECT", help="run folder, or an export or a bundle that can learn on")
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="images, or folders with images at any depth")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="explanation to write; an old one is replaced"
    )
    parser.add_argument("--label", help="label to explain (default: of each image the one that is decided for)")
    parser.add_argument(
        "--opacity", type=share, default=0.5, metavar="S", help="of the heat map over the image, 0..1 (default 0.5)"
    )


def run(options: argparse.Namespace) -> int:
    """As in `Command`."""
    from trainer.explain import explain, open_subject
    from trainer.explain.explain import PAGE, TABLE

    subject = open_subject(options.subject)
    result = explain(subject, options.paths, options.out, label=options.label, opacity=options.opacity, progress=_with_a_bar)
    if result.unreadable:
        more = f" and {len(result.unreadable) - _LISTED} more" if len(result.unreadable) > _LISTED else ""
        print(f"{len(result.unreadable)} cannot be read: {'; '.join(result.unreadable[:_LISTED])}{more}", file=sys.stderr)
    print(f"{options.out}: {len(result.explained)} explained; {PAGE} shows them, {TABLE} lists them")
    return 0


def _with_a_bar(files: Sequence[Path]) -> Iterable[Path]:
    from rich.console import Console
    from rich.progress import track

    return track(files, "explaining", console=Console(stderr=True), disable=not sys.stderr.isatty())
