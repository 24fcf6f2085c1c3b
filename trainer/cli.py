"""The ``overflight-train`` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

_DATA_HELP = "harvey:FOLDER, haiti:FOLDER or rendered:TILES; give it once for each data set"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 for a failure, 2 for a mistake of the caller's."""
    options = _parser().parse_args(arguments)
    # TensorFlow reads this when it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from edge.bundle import BundleError
    from trainer.datasets import DatasetError
    from trainer.export import ExportError

    try:
        return _COMMANDS[options.command](options)
    except (BundleError, DatasetError, ExportError) as error:
        return _failed(options, str(error), error, 2)
    except KeyboardInterrupt:
        return 1
    except Exception as error:  # noqa: BLE001 - shown in one line; with --debug it is raised
        return _failed(options, f"{type(error).__name__}: {error} (--debug shows where)", error, 1)


def _failed(options: argparse.Namespace, text: str, error: Exception, status: int) -> int:
    if options.debug:
        raise error
    print(f"overflight-train: {' '.join(text.split())}", file=sys.stderr)
    return status


def _fit(options: argparse.Namespace) -> int:
    from trainer.datasets import read
    from trainer.fit import FitParameters, fit

    datasets = [read(argument) for argument in options.data]
    parameters = FitParameters(epochs=options.epochs, seed=options.seed)
    metrics = fit(datasets, parameters, options.out, quiet=not sys.stderr.isatty() and not options.verbose)
    _print_metrics(metrics)
    return 0


def _export(options: argparse.Namespace) -> int:
    from trainer.datasets import read
    from trainer.export import export

    datasets = [read(argument) for argument in options.data]
    bundle = export(options.run, options.name, options.version, datasets, options.out)
    print(f"{bundle.path}: {bundle.model.name} version {bundle.model.version}")
    _print_metrics(bundle.manifest.metrics)
    return 0


_COMMANDS = {"fit": _fit, "export": _export}


def _print_metrics(metrics: dict[str, dict[str, float]]) -> None:
    print(f"{'held out of':14}{'tiles':>8}{'accuracy':>12}{'balanced':>12}")
    for name, measured in metrics.items():
        print(f"{name:14}{measured['tiles']:8}{measured['accuracy']:12.2%}{measured['balanced_accuracy']:12.2%}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="overflight-train", description="Train the models that Overflight runs.", allow_abbrev=False
    )
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    fit = commands.add_parser(
        "fit",
        help="train a network",
        epilog="example: overflight-train fit --data harvey:harvey --data haiti:haiti --data rendered:960 --out run",
    )
    fit.add_argument("--data", action="append", required=True, metavar="READER:LOCATION", help=_DATA_HELP)
    fit.add_argument("--epochs", type=_positive, default=60, metavar="N", help="times through the data (default 60)")
    fit.add_argument("--seed", type=int, default=1, metavar="N", help="the same seed gives the same model on one machine")
    fit.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="run folder to write")
    fit.add_argument("--verbose", action="store_true", help="a line for each epoch also where there is no terminal")

    export = commands.add_parser(
        "export",
        help="make a bundle of a trained network and measure it",
        epilog="example: overflight-train export run --name terrain-damage --version 1 --data harvey:harvey --out bundle",
    )
    export.add_argument("run", type=Path, metavar="RUN", help="folder that fit wrote")
    export.add_argument("--name", default="terrain-damage", metavar="NAME", help="of the bundle: a-z, 0-9 and -")
    export.add_argument("--version", type=_positive, default=1, metavar="N", help="a device prefers the higher one")
    export.add_argument("--data", action="append", default=[], metavar="READER:LOCATION", help=_DATA_HELP)
    export.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="bundle to write; an old one is replaced")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)
