"""``overflight-train export``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.commands.arguments import SPLIT_OPTIONS, add_data, asked_split, print_metrics, share, split_rule_beside

if TYPE_CHECKING:
    from trainer.export import ExportRecord

SUMMARY = "write a network in the formats that runtimes read"
DESCRIPTION = (
    "Write a trained network as SavedModel, LiteRT, ONNX and OpenVINO IR (FP32, FP16, INT8), with all preprocessing inside: "
    "each takes decoded pixels of any size. INT8 is left out when it costs more balanced accuracy than allowed."
)
TENSORFLOW = True
EXAMPLE = "overflight-train export runs/photos --out exports/photos"

_VALUES = ("0..1", "0..255", "-1..1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """As in `Command`."""
    subject = parser.add_mutually_exclusive_group(required=True)
    subject.add_argument(
        "run_folder", type=Path, nargs="?", metavar="RUN", help="folder that fit wrote, also with --cross-validate"
    )
    subject.add_argument("--from", dest="path", type=Path, metavar="PATH", help="a SavedModel, .keras or .onnx made elsewhere")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="export to write; an old one is replaced")
    parser.add_argument(
        "--most-lost",
        type=share,
        default=0.003,
        metavar="S",
        help="balanced accuracy that INT8 may cost, 0..1 (default 0.003); one tile is always allowed",
    )
    parser.add_argument("--force-int8", action="store_true", help="keep INT8 even if it costs more")
    foreign = parser.add_argument_group("with --from")
    foreign.add_argument("--labels", metavar="A,B", help="in the order of its output; of one output, its labels 0 and 1")
    foreign.add_argument("--values", choices=_VALUES, default="0..1", help="what its pixels must be (default 0..1)")
    add_data(parser, required=False)
    # None: not asked for.
    parser.set_defaults(**dict.fromkeys(SPLIT_OPTIONS))


def run(options: argparse.Namespace) -> int:
    """As in `Command`."""
    from trainer.datasets import SplitRule, read_all, split_all
    from trainer.export import ExportError
    from trainer.export.export import export_foreign
    from trainer.export.sources import Foreign

    asked = asked_split(options)
    if options.path is None and (asked or options.labels is not None):
        name = asked[0].replace("_", "-") if asked else "labels"
        raise ExportError(f"--{name}: only with --from; a run is exported with its own labels and split")
    if options.path is not None:
        labels = tuple(label for label in (options.labels or "").split(",") if label)
        if len(set(labels)) < 2:
            raise ExportError("--from needs --labels: two or more different names, in the order of the output")
        datasets = read_all(options.data, labels)
        parts = split_all(datasets, split_rule_beside(options, SplitRule()))
        record = export_foreign(
            options.path, Foreign(labels, options.values), parts, options.out, options.most_lost, force=options.force_int8
        )
        _print(record, options.out)
    else:
        _export_runs(options)
    return 0


def _export_runs(options: argparse.Namespace) -> None:
    """Export a run, or every run of a cross-validation."""
    from trainer.datasets import read_all, split_all
    from trainer.export.export import export_run
    from trainer.files import replace_file
    from trainer.fit import FOLDS
    from trainer.run import Run

    is_folds = (options.run_folder / FOLDS).is_file()
    folders = sorted(options.run_folder.glob("fold-*")) if is_folds else [options.run_folder]
    runs = [Run.open(folder) for folder in folders]
    datasets = read_all(options.data or runs[0].data, runs[0].labels)
    for run in runs:
        run.check_same(datasets)
        target = options.out / run.folder.name if is_folds else options.out
        # The split must be the run's own: what it learned from measures nothing.
        record = export_run(run, split_all(datasets, run.split), target, options.most_lost, force=options.force_int8)
        _print(record, target)
    if is_folds:
        replace_file(options.out / FOLDS, (options.run_folder / FOLDS).read_bytes())


def _print(record: ExportRecord, folder: Path) -> None:
    print(f"{folder}: {', '.join(record.formats)}")
    for name, reason in record.left_out.items():
        print(f"left out: {name}: {reason}", file=sys.stderr)
    if record.calibration is not None:
        error = record.calibration.expected_calibration_error
        print(f"temperature {record.calibration.temperature:.3f}, expected calibration error {error:.2%}")
    if record.gate is not None:
        for name, before in record.gate.fp32.items():
            after, allowed = record.gate.int8[name], record.gate.allowed[name] * 100
            print(f"{name}: balanced accuracy FP32 {before:.2%}, INT8 {after:.2%} ({allowed:.2g} points may be lost)")
    if record.metrics and not record.run:
        print(
            "it is not known what this model learned from: if from some of these tiles, the figures flatter it", file=sys.stderr
        )
    if record.metrics:
        print_metrics(record.metrics)
