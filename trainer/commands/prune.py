"""``overflight-train prune``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.commands.arguments import positive, positive_number

if TYPE_CHECKING:
    from trainer.fit.watchers import Watch, Watcher

SUMMARY = "take the smallest weights out of a network, and measure what that does"
DESCRIPTION = (
    "Set the smallest weights of a run's network to zero, more and more of them, while it learns on from the run's own data. "
    "Writes a run folder, with what it did to accuracy, size and speed in prune.json and prune.md."
)
TENSORFLOW = True
EXAMPLE = "overflight-train prune runs/photos --sparsity 0.7 --out runs/photos-pruned"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """As in `Command`."""
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="folder that fit wrote")
    parser.add_argument(
        "--sparsity", type=_between, required=True, metavar="S", help="share of each layer's weights to set to zero, as 0.7"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="run folder to write")
    parser.add_argument(
        "--epochs", type=positive, default=10, metavar="N", help="times through the data (default 10); few tiles need more"
    )
    parser.add_argument(
        "--learning-rate", type=positive_number, default=1e-3, metavar="R", help="at its height (default 0.001)"
    )
    parser.add_argument("--all-layers", action="store_true", help="also prune the first convolution and the last dense layer")
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="[READER[*TIMES]:]LOCATION",
        help="where the run's data are now (default: where they were); give it once for each data set",
    )
    parser.add_argument("--verbose", action="store_true", help="a line for each epoch instead of a bar")


def run(options: argparse.Namespace) -> int:
    """As in `Command`."""
    from trainer.prune import PruneParameters, markdown, prune
    from trainer.run import Run

    parameters = PruneParameters(options.sparsity, options.epochs, options.learning_rate, options.all_layers)
    watch = _watch(options.epochs, verbose=options.verbose)
    result = prune(Run.open(options.run_folder), options.data, parameters, options.out, watch=watch)
    print(markdown(result), end="")
    return 0


def _between(text: str) -> float:
    """A number above 0 and below 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, as 0.7, got {text!r}")
    return value


def _watch(epochs: int, *, verbose: bool) -> Watch:
    def watch(folder: Path, steps: int, done: int) -> list[Watcher]:
        from trainer.fit.watchers import Lines, ProgressBar, TensorBoard
        from trainer.run import CURVES

        watchers: list[Watcher] = [TensorBoard(folder / CURVES)]
        if verbose:
            watchers.append(Lines())
        elif sys.stderr.isatty():
            watchers.append(ProgressBar(epochs, steps, done=done))
        return watchers

    return watch
