"""``overflight-train fetch``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SUMMARY = "bring a public data set"
DESCRIPTION = (
    "Write a public data set as its reader expects it, from where it is published or from a copy. What comes is compared "
    "with the version that is known; its licence notice is printed first and written beside the data."
)
TENSORFLOW = False
EXAMPLE = "overflight-train fetch harvey --out data/harvey"

# Named here so that a typing mistake is answered without reading any library; `trainer.fetch.SETS` describes them.
_NAMES = ("harvey", "haiti")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """As in `Command`."""
    parser.add_argument("name", choices=_NAMES, metavar="NAME", help=" or ".join(_NAMES))
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where to write it")
    parser.add_argument(
        "--from",
        dest="source",
        metavar="FOLDER_OR_GIT_URL",
        help="a copy: a folder as the reader or the original repository lays it out, or any git URL",
    )
    parser.add_argument("--any", action="store_true", help="take it even if it is not the version that is known")


def run(options: argparse.Namespace) -> int:
    """As in `Command`."""
    from trainer.fetch import SETS, fetch

    wanted = SETS[options.name]
    print(wanted.notice, end="", flush=True)
    with _progress() as progress:
        fetched = fetch(wanted, options.out, options.source, any_version=options.any, progress=progress)
    each = ", ".join(f"{folder} {count:,}" for folder, count in fetched.counts.items())
    state = "there already" if fetched.was_there else "fetched"
    if not fetched.is_known:
        state += ", not the version that is known"
    print(f"{options.out}: {state}: {each}")
    return 0


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Says what is going on, on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield status.update
