"""``overflight-train fit``."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.commands.arguments import add_data, positive, positive_number, print_metrics, share, split_rule, whole
from trainer.commands.arguments import tell_what_was_left_out as tell

if TYPE_CHECKING:
    from trainer.fit import FitParameters
    from trainer.fit.watchers import Watch, Watcher

SUMMARY = "train a network"
DESCRIPTION = (
    "Train a network on labelled tiles and write a run folder. Interrupted, even by kill -9, the same command goes on. "
    "TF_CONFIG with several workers trains on several machines, which must share the folder --out; a GPU is used when present."
)
TENSORFLOW = True
EXAMPLE = "overflight-train fit --data photos --epochs 40 --out runs/photos"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """As in `Command`."""
    add_data(parser, required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="run folder to write, or to go on with")
    parser.add_argument("--cross-validate", action="store_true", help="train on every fold in turn; writes FOLDER/fold-1 …")
    parser.add_argument("--from", dest="start", type=Path, metavar="BUNDLE", help="learn on from the network of a bundle")
    group = parser.add_argument_group("training")
    group.add_argument(
        "--network", default="overflight-s", metavar="NAME", help="overflight-s (default), seed-cnn, mobilenet-v2"
    )
    group.add_argument("--weights", default="none", metavar="W", help="to start from: none (default), imagenet or a Keras file")
    group.add_argument("--epochs", type=positive, default=60, metavar="N", help="times through the data (default 60)")
    group.add_argument("--seed", type=whole, default=1, metavar="N", help="the same seed gives the same network on one machine")
    group.add_argument("--batch", type=positive, default=64, metavar="N", help="tiles in a step (default 64)")
    group.add_argument("--optimizer", choices=("adamw", "adam"), default="adamw")
    group.add_argument("--learning-rate", type=positive_number, default=3e-3, metavar="R", help="at its height (default 0.003)")
    group.add_argument("--weight-decay", type=share, default=1e-2, metavar="D", help="of adamw (default 0.01)")
    group.add_argument("--label-smoothing", type=share, default=0.05, metavar="S", help="default 0.05")
    group.add_argument("--average", type=share, default=0.05, metavar="S", help="share of the steps to average over; 0: none")
    group.add_argument(
        "--augmentation",
        default="light",
        metavar="LEVEL",
        help="turns, light (default) or strong; light,NAME=strong: another one for the data set NAME",
    )
    group.add_argument("--patience", type=whole, default=0, metavar="N", help="stop after N epochs without gain; 0: never")
    group.add_argument("--precision", choices=("auto", "float32", "mixed_bfloat16"), default="auto")
    group.add_argument("--compile", choices=("auto", "on", "off"), default="auto", help="with XLA; auto: on a GPU")
    watched = parser.add_argument_group("watching")
    watched.add_argument("--verbose", action="store_true", help="a line for each epoch instead of a bar")
    watched.add_argument(
        "--mlflow", action="store_true", help="log to MLflow: MLFLOW_TRACKING_URI, or a file in the run folder"
    )


def run(options: argparse.Namespace) -> int:
    """As in `Command`."""
    from trainer.datasets import read_all
    from trainer.fit import FitError, FitParameters, cross_validate, fit
    from trainer.run import is_finished
    from trainer.start import start_from

    if options.mlflow and not _has_mlflow():
        raise FitError("--mlflow: MLflow is not installed; pip install 'overflight[mlflow]'")
    rule = split_rule(options)
    names = {field.name for field in fields(FitParameters)}
    chosen: dict[str, Any] = {name: value for name, value in vars(options).items() if name in names}
    start = start_from(options.start) if options.start is not None else None
    if start is not None:
        chosen |= {"network": start.network, "weights": start.name}
    datasets = read_all(options.data, start.labels if start is not None else None)
    for dataset in datasets:
        tell(dataset)
    parameters = FitParameters(**chosen)
    watch = _watch(options, parameters)
    if options.cross_validate:
        result = cross_validate(datasets, options.data, rule, parameters, options.out, watch=watch, start=start)
        for number, fold in enumerate(result["folds"], 1):
            print(f"fold {number}")
            print_metrics(fold)
        for name, measured in result["balanced_accuracy"].items():
            print(f"{name}: balanced accuracy {measured['mean']:.2%}, from {measured['least']:.2%} to {measured['most']:.2%}")
        return 0
    before = is_finished(options.out)
    finished = fit(datasets, options.data, rule, parameters, options.out, watch=watch, start=start)
    if before:
        print(f"{options.out}: finished already; remove it to train anew")
    print_metrics(finished.record["metrics"])
    return 0


def _watch(options: argparse.Namespace, parameters: FitParameters) -> Watch:
    def watch(folder: Path, steps: int, done: int) -> list[Watcher]:
        from trainer.fit.watchers import Lines, MlFlow, ProgressBar, TensorBoard
        from trainer.run import CURVES

        watchers: list[Watcher] = [TensorBoard(folder / CURVES)]
        if options.verbose:
            watchers.append(Lines())
        elif sys.stderr.isatty():
            watchers.append(ProgressBar(parameters.epochs, steps, done=done))
        if options.mlflow:
            watchers.append(
                MlFlow(folder, folder.name, {field.name: getattr(parameters, field.name) for field in fields(parameters)})
            )
        return watchers

    return watch


def _has_mlflow() -> bool:
    from importlib.util import find_spec

    return find_spec("mlflow") is not None
