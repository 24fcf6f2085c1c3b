"""Prunes the network of a run while it learns on from the run's own data, and writes a run folder with the outcome."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edge.text import one_line
from trainer.datasets import Part, SplitRule, read_all, split_all
from trainer.files import replaced_folder
from trainer.fit.augment import levels
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
    masks = Masks(network, parameters.sparsity, all_layers=parameters.all_layers)
    trained, rule, known = _training(run)
    datasets = read_all(arguments or run.data, run.labels)
    run.check_same(datasets)
    parts = split_all(datasets, rule)
    learning = replace(
        trained, weights=str(run.folder), epochs=parameters.epochs, learning_rate=parameters.learning_rate, patience=0
    )
    with replaced_folder(target) as folder:
        history, seconds = _learn(run, network, parts, learning, parameters, folder=folder, watch=watch)
        write_network(folder, network)
        result = _measure(run, network, masks, parts, parameters)
        data = [
            known[dataset.name] | {"argument": argument, "repeats": dataset.repeats}
            for dataset, argument in zip(datasets, arguments or run.data, strict=True)
        ]
        record = run.record | {
            "parameters": asdict(learning),
            "data": data,
            "seconds": seconds,
            "history": history,
            "metrics": {name: measured["after"] for name, measured in result["accuracy"].items()},
            "pruned": {name: result[name] for name in ("from", "wanted", "reached", "reached_of_all_weights")},
        }
        write_record(folder, record)
        (folder / REPORT).write_text(json.dumps(result, indent=2) + "\n")
        (folder / TABLE).write_text(markdown(result))
    return result


def _training(run: Run) -> tuple[FitParameters, SplitRule, dict[str, dict[str, Any]]]:
    """How a run was trained: its parameters, its split, and by name of each data set what it says of it."""
    try:
        known = {data["name"]: dict(data) for data in run.record["data"]}
        return FitParameters(**run.record["parameters"]), run.split, known
    except (KeyError, TypeError) as error:
        raise PruneError(
            f"{run.folder}: run.json does not say how it was trained ({one_line(error)} is wrong or missing)"
        ) from error


def _learn(
    run: Run,
    network: keras.Model,
    parts: Sequence[Part],
    learning: FitParameters,
    parameters: PruneParameters,
    *,
    folder: Path,
    watch: Watch,
) -> tuple[list[dict[str, float]], float]:
    """Learn on under masks that close gradually; the network gets the averaged weights, masked. Gives history and seconds."""
    begun = time.monotonic()
    keras.utils.set_random_seed(learning.seed)
    tf.config.experimental.enable_op_determinism()
    batches = Batches(
        [part.train for part in parts],
        [part.dataset.repeats for part in parts],
        labels=len(run.labels),
        batch=learning.batch,
        how=levels(learning.augmentation, [part.dataset.name for part in parts]),
        seed=learning.seed,
    )
    learner = Learner(run.network, learning, batches.steps, tf.distribute.get_strategy())
    masks = Masks(learner.model, parameters.sparsity, all_layers=parameters.all_layers)
    ramp = max(round(_RAMP_SHARE * batches.steps * learning.epochs), 1)
    interval = max(ramp // _UPDATES, 1)
    history = []
    with Watchers(watch(folder, batches.steps, 0)) as watchers:
        for epoch in range(learning.epochs):
            losses = []
            for step, loss in enumerate(learner.epoch(batches.epoch(epoch), (learning.seed, epoch))):
                done = epoch * batches.steps + step + 1
                if done == ramp or (done < ramp and done % interval == 0):
                    masks.update(done, ramp)
                # A step moves all weights, also those that are held at zero.
                masks.apply()
                losses.append(float(loss))
                watchers.step(epoch, step, losses[-1])
            history.append({"loss": float(np.mean(losses)), "learning_rate": learner.learning_rate()})
            watchers.epoch(epoch, history[-1])
    with learner.averaged():
        # An average still remembers what a weight was before it became zero.
        masks.apply()
        network.set_weights(learner.weights())
    return history, round(time.monotonic() - begun, 1)


def _measure(
    run: Run, network: keras.Model, masks: Masks, parts: Sequence[Part], parameters: PruneParameters
) -> dict[str, Any]:
    """Compare the pruned network with that of the run."""
    original = run.network()
    accuracy = {part.dataset.name: _compare(run, original, network, part) for part in parts}
    layers = masks.reached()
    pruned = [layer for layer in layers if layer.wanted]
    before, after = weigh.to_ir(original), weigh.to_ir(network)
    return {
        "from": str(run.folder),
        "network": network.name,
        "epochs": parameters.epochs,
        "wanted": parameters.sparsity,
        "reached": round(sum(layer.zeros for layer in pruned) / sum(layer.weights for layer in pruned), 4),
        "reached_of_all_weights": round(sum(layer.zeros for layer in layers) / network.count_params(), 4),
        "layers": [asdict(layer) for layer in layers],
        "accuracy": accuracy,
        "size_bytes": {"before": asdict(weigh.size(original, before)), "after": asdict(weigh.size(network, after))},
        "speed": asdict(weigh.speed(before, after, parameters.rounds)),
    }


def _compare(run: Run, original: keras.Model, network: keras.Model, part: Part) -> dict[str, Any]:
    """What both networks make of held-out tiles."""
    true = part.held_out.labels
    before, after = (
        Predictor("", run.labels, keras_call(model)).probabilities(part.held_out.images) for model in (original, network)
    )
    was_right, is_right = before.argmax(axis=1) == true, after.argmax(axis=1) == true
    return {
        "before": score(before, true),
        "after": score(after, true),
        "newly_wrong": int((was_right & ~is_right).sum()),
        "newly_right": int((~was_right & is_right).sum()),
    }
