"""``overflight-train pack``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.commands.arguments import (
    SPLIT_OPTIONS,
    add_data,
    asked_split,
    positive,
    positive_number,
    share,
    split_rule_beside,
    tell_what_was_left_out,
)

if TYPE_CHECKING:
    from trainer.datasets import Part, SplitRule
    from trainer.export.record import ExportRecord
    from trainer.pack.gate import Measurements

SUMMARY = "write the bundle that a device installs"
DESCRIPTION = (
    "Write an export as a bundle with a self-test, a manifest and a signature; all formats must agree on the self-test first. "
    "With --reference it is packed only if it is no worse than that bundle on the same held-out tiles of each data set; data "
    "and split are those that the network learned from and by unless others are named."
)
TENSORFLOW = True
EXAMPLE = "overflight-train pack exports/photos --name terrain-damage --version 3 --key keys/field-team.key --out bundle"

_THRESHOLD = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """As in `Command`."""
    parser.add_argument("export", type=Path, metavar="EXPORT", help="folder that export wrote")
    parser.add_argument("--name", required=True, metavar="NAME", help="of the model, as terrain-damage")
    parser.add_argument("--version", type=positive, required=True, metavar="N", help="devices refuse older ones")
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="bundle to write; an old one is replaced")
    parser.add_argument("--key", type=Path, metavar="KEY", help="private key to sign with, from keygen")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="its first line decrypts the key")
    parser.add_argument(
        "--alert",
        action="append",
        default=[],
        metavar="LABEL",
        help='label to alert of (default "damaged"); give it once for each',
    )
    parser.add_argument(
        "--ground-sample-distance-m",
        type=positive_number,
        metavar="METRES",
        help="size on the ground of a pixel of the tiles (default: unknown)",
    )
    threshold = parser.add_mutually_exclusive_group()
    threshold.add_argument("--threshold", type=share, metavar="P", help="least probability for an alert (default 0.5)")
    threshold.add_argument(
        "--recall", type=share, metavar="R", help="choose the threshold that finds this share of the held-out tiles to alert of"
    )
    gate = parser.add_argument_group("with a bundle in use")
    gate.add_argument(
        "--reference",
        type=Path,
        metavar="BUNDLE",
        help="pack only what is no worse than this, which may have learned from these tiles",
    )
    gate.add_argument(
        "--most-lost", type=share, default=0.0, metavar="S", help="balanced accuracy that it may lose, 0..1 (default 0)"
    )
    add_data(parser, required=False)
    # None: what the network learned by.
    parser.set_defaults(**dict.fromkeys(SPLIT_OPTIONS))


def run(options: argparse.Namespace) -> int:
    """As in `Command`."""
    from edge.bundle import ANYONE, Bundle
    from trainer.export.record import ExportRecord
    from trainer.keys import load_private_key, read_password
    from trainer.pack import PackError, Recipe, check_target, choose_alert_labels, pack
    from trainer.pack.gate import Measurements

    check_target(options.out)
    record = ExportRecord.open(options.export)
    recipe = Recipe(
        options.name,
        options.version,
        choose_alert_labels(record.labels, options.alert),
        _THRESHOLD if options.threshold is None else options.threshold,
        options.ground_sample_distance_m,
    )
    if options.password_file is not None and options.key is None:
        raise PackError("--password-file: there is no key to decrypt; --key names it")
    if options.reference is None and options.recall is None and (options.data or asked_split(options)):
        raise PackError("--data and its split: only with --reference or --recall, which measure on them")
    if options.key is not None:
        password = read_password(options.password_file) if options.password_file is not None else None
        recipe = replace(recipe, key=load_private_key(options.key, password))
    if options.reference is not None:
        # Said before what takes long.
        Bundle.open(options.reference, ANYONE)
    if options.reference is not None or options.recall is not None:
        parts = _parts(options, record)
        with _status("measuring"):
            measured = Measurements(options.export, parts)
        if options.reference is not None and not _passes(options, measured, parts):
            return 1
        if options.recall is not None:
            chosen = measured.threshold(recipe.alert_labels, options.recall)
            recipe = replace(recipe, threshold=chosen.threshold)
            print(f"threshold {chosen.threshold:.6f}: finds {chosen.recall.value:.2%}, precision {chosen.precision:.2%}")
    with _status("packing"):
        packed = pack(options.export, options.out, recipe)
    for reason in packed.left_out:
        print(f"left out: {reason}", file=sys.stderr)
    for warning in packed.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{options.out}: {recipe.name} version {recipe.version}, {len(packed.manifest.files)} files, self-test passed")
    return 0


def _parts(options: argparse.Namespace, record: ExportRecord) -> Sequence[Part]:
    """The data to measure on, split.

    Raises:
        PackError: None are named, and the export does not know any.
        DatasetError: They cannot be read, or their labels are not the network's.
    """
    from trainer.datasets import read_all, split_all
    from trainer.pack import PackError

    arguments = options.data or tuple(data["argument"] for data in record.run.get("data", []))
    if not arguments:
        raise PackError(f"{options.export}: does not say what it learned from, so --data is required to measure it")
    datasets = read_all(arguments, record.labels)
    rule = _rule(options, record)
    learned_from = {data["fingerprint"] for data in record.run.get("data", [])}
    names = {data["name"] for data in record.run.get("data", [])}
    is_same_split = record.run.get("split") == asdict(rule)
    for dataset in datasets:
        tell_what_was_left_out(dataset)
        is_same = dataset.fingerprint() in learned_from
        if is_same and not is_same_split:
            text = f"warning: {dataset.name}: split otherwise than for fit, so the network learned from some of these tiles"
            print(text, file=sys.stderr)
        elif not is_same and dataset.name in names:
            text = f"warning: {dataset.name}: changed since fit, so the network may have learned from some of these tiles"
            print(text, file=sys.stderr)
    return split_all(datasets, rule)


def _rule(options: argparse.Namespace, record: ExportRecord) -> SplitRule:
    """The split that is asked for; where nothing is, the one that the network learned by."""
    from trainer.datasets import SplitRule

    learned = SplitRule(**record.run.get("split", {}))
    return split_rule_beside(options, learned)


def _passes(options: argparse.Namespace, measured: Measurements, parts: Sequence[Part]) -> bool:
    """Compare with the bundle in use, and say both figures."""
    from trainer.pack.gate import Measurements, compare, worse

    with _status("measuring the reference"):
        reference = Measurements(options.reference, parts)
    compared = compare(measured, reference)
    failed = worse(compared, options.most_lost)
    if failed:
        figures = "; ".join(f"{each.dataset} {each.new:.2%} against {each.reference:.2%}" for each in failed)
        print(
            f"overflight-train: not packed: balanced accuracy lies more than {options.most_lost * 100:g} points below that of "
            f"{options.reference} on the same held-out tiles: {figures}",
            file=sys.stderr,
        )
        return False
    for each in compared:
        print(
            f"{each.dataset}: balanced accuracy {each.new:.2%}, {options.reference} {each.reference:.2%}, on the same "
            f"{each.tiles:,} tiles"
        )
    return True


@contextmanager
def _status(what: str) -> Iterator[None]:
    """Says what is going on, on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield
