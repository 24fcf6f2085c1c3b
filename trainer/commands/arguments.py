"""Arguments that several commands take, and how they print what they measured."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.datasets import Dataset, SplitRule

_LISTED = 5


def positive(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or not 1 <= int(text) <= 2**31:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {2**31}, got {text!r}")
    return int(text)


def whole(text: str) -> int:
    """A whole number from 0."""
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return int(text)


def share(text: str) -> float:
    """A number within 0..1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number within 0..1, got {text!r}")
    return value


def positive_number(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def add_data(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """``--data`` and how the data are split."""
    parser.add_argument(
        "--data",
        action="append",
        required=required,
        default=[],
        metavar="[READER[*TIMES]:]LOCATION",
        help="a folder with one folder for each label, harvey:FOLDER, haiti:FOLDER or rendered:TILES; *TIMES: each tile comes "
        "up so often in an epoch; give it once for each data set",
    )
    group = parser.add_argument_group("how data are split into what is learned from and what is held out")
    group.add_argument(
        "--split",
        choices=("auto", "place", "random", "given"),
        default="auto",
        help="place: whole blocks of ground; random; given: as the data set says; auto (the default): by place where every "
        "place is known (from EXIF or the file name), else as the data set says, else random",
    )
    group.add_argument(
        "--block-m", type=positive_number, default=2000.0, metavar="METRES", help="side of a block (default 2000)"
    )
    group.add_argument("--folds", type=positive, default=5, metavar="K", help="one of K parts is held out (default 5)")
    group.add_argument("--fold", type=positive, default=1, metavar="I", help="which one, 1 to K (default 1)")


def split_rule(options: argparse.Namespace) -> SplitRule:
    """The rule that the arguments of `add_data` ask for.

    Raises:
        DatasetError: There are not so many folds.
    """
    from trainer.datasets import DatasetError, SplitRule

    if options.folds < 2 or options.fold > options.folds:
        raise DatasetError(f"--fold {options.fold} of --folds {options.folds}: expected 2 folds at least, and one of them")
    return SplitRule(options.split, options.block_m, options.folds, options.fold - 1)


SPLIT_OPTIONS = ("split", "block_m", "folds", "fold")
"""What a command sets to None by default where a network may know by what split it learned."""


def asked_split(options: argparse.Namespace) -> list[str]:
    """Which of `SPLIT_OPTIONS` were given."""
    return [name for name in SPLIT_OPTIONS if getattr(options, name) is not None]


def split_rule_beside(options: argparse.Namespace, learned: SplitRule) -> SplitRule:
    """The rule that is asked for; where nothing is, the one that a network learned by.

    Raises:
        DatasetError: There are not so many folds.
    """
    known = {"split": learned.kind, "block_m": learned.block_m, "folds": learned.folds, "fold": learned.fold + 1}
    asked = {name: getattr(options, name) for name in asked_split(options)}
    return replace(split_rule(argparse.Namespace(**known | asked)), seed=learned.seed)


def tell_what_was_left_out(dataset: Dataset) -> None:
    """On standard error: what of a data set was not used, and why."""
    for what, names in (("cannot be read", dataset.unreadable), ("there already", dataset.duplicates)):
        if names:
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            print(f"{dataset.name}: {len(names)} left out, {what}: {'; '.join(names[:_LISTED])}{more}", file=sys.stderr)
    if dataset.resized:
        side = dataset.tiles.images.shape[1]
        print(f"{dataset.name}: {dataset.resized} of another size were scaled to {side}×{side}", file=sys.stderr)


def print_metrics(metrics: Mapping[str, Mapping[str, Any]]) -> None:
    """A table with a line for each data set."""
    width = max(14, *(len(name) + 2 for name in metrics)) if metrics else 14
    print(f"{'held out of':{width}}{'tiles':>8}{'accuracy':>12}{'balanced':>12}")
    for name, measured in metrics.items():
        print(f"{name:{width}}{measured['tiles']:8}{measured['accuracy']:12.2%}{measured['balanced_accuracy']:12.2%}")
