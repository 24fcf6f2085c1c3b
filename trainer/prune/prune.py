"""Prunes the network of a run while it learns on from the run's own data, and writes a run folder with the outcome."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.datasets import Dataset, Part, SplitRule, read_all, split_all
from trainer.files import replaced_folder
from trainer.fit.augment import LEVELS
from trainer.fit.batches import Batches
from trainer.fit.learner import Learner
from trainer.fit.parameters import FitParameters
from trainer.fit.watchers import Watch, Watchers, no_watchers
from trainer.metrics import score
from trainer.predict import Predictor, keras_call
from trainer.prune import weigh
from trainer.prune.masks import Masks, PruneError
from trainer.prune.report import markdown
from trainer.run import Run, write_network, write_record

REPORT, TABLE = "prune.json", "prune.md"

# The zeros are chosen over the first two thirds of the steps; in the last third the others learn to do without.
_RAMP_SHARE = 2 / 3
# How often they are chosen anew on the way.
_UPDATES = 100


@dataclass(frozen=True, slots=True)
class PruneParameters:
    """How a network is pruned; all else is as in the training of its run.

    Attributes:
        sparsity: Share of the weights of each pruned layer that shall be zero in the end, between 0 and 1.
        epochs: Times through the data.
        learning_rate: At its height; as in `FitParameters` it then falls to 0.
        all_layers: Also prune the first convolution and the last dense layer.
        rounds: How often each network runs when their speed is measured.
    """

    sparsity: float
    epochs: int = 10
    learning_rate: float = 1e-3
    all_layers: bool = False
    rounds: int = 200


def prune(
    run: Run, arguments: Sequence[str], parameters: PruneParameters, target: Path, *, watch: Watch = no_watchers
) -> dict[str, Any]:
    """Prune gradually, by magnitude, while learning on (Zhu and Gupta, 2017, arXiv:1710.01878).

    Args:
        arguments: Where the data of the run are now, as the command line names them; empty: where they were.
        target: Run folder to write, with ``prune.json`` and ``prune.md`` in it; an older outcome of this is replaced, anything
            else is refused.
        watch: As for `trainer.fit.fit`.

    Returns:
        What ``prune.json`` keeps: the record of sparsity, accuracy, size and speed.

    Raises:
        PruneError: The sparsity is out of range, the data are others than the run's, the run does not say how it was trained,
            or the target is something else.
        DatasetError, RunError: The data or the network cannot be read.
    """
    if target.exists() and (not (target / REPORT).is_file() or target.resolve() == run.folder.resolve()):
        raise PruneError(f"{target}: exists and is not an earlier outcome of prune; it is not replaced")
    network = run.network()
    Masks(network, parameters.sparsity, all_layers=parameters.all_layers)
    trained, rule = _training(run)
    datasets = _data(run, arguments)
    parts = split_all(datasets, rule)
    learning = replace(
        trained,
        weights=str(run.folder),
        epochs=parameters.epochs,
        learning_rate=parameters.learning_rate,
        patience=0,
    )
    with replaced_folder(target) as folder:
        masks = _learn(run, network, parts, learning, parameters, folder, watch)
        write_network(folder, network)
        result = _measure(run, network, masks, parts, parameters)
        record = {name: value for name, value in run.record.items() if name != "history"}
        data = [
            known | {"argument": argument}
            for known, argument in zip(run.record["data"], arguments or run.data, strict=True)
        ]
        metrics = {name: measured["after"] for name, measured in result["accuracy"].items()}
        record |= {"parameters": asdict(learning), "data": data, "metrics": metrics, "pruned": _said(result)}
        write_record(folder, record)
        (folder / REPORT).write_text(json.dumps(result, indent=2) + "\n")
        (folder / TABLE).write_text(markdown(result))
    return result
