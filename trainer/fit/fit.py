"""Trains a network on data sets and writes a run folder."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.datasets import Dataset, Part, SplitRule, Tiles, split_all
from trainer.errors import TrainerError
from trainer.fit import checkpoint
from trainer.fit.augment import levels
from trainer.fit.batches import Batches
from trainer.fit.checkpoint import Progress
from trainer.fit.learner import Learner, strategy_for_machine
from trainer.fit.parameters import FitParameters
from trainer.fit.watchers import Watch, Watchers, no_watchers
from trainer.metrics import score
from trainer.networks import build
from trainer.run import CHECKPOINT, Run, read_record, write_network, write_record
from trainer.start import Start

_LIBRARIES = ("tensorflow", "keras", "numpy", "opencv-python-headless")
_BEST = "best-"


class FitError(TrainerError):
    """A training cannot begin or go on; the message is one line that says why."""


def fit(
    datasets: Sequence[Dataset],
    arguments: Sequence[str],
    rule: SplitRule,
    parameters: FitParameters,
    folder: Path,
    *,
    watch: Watch = no_watchers,
    start: Start | None = None,
) -> Run:
    """Train on one side of the split, and measure on the other.

    The same call on the folder of an interrupted training goes on after its last whole epoch and ends with the very network
    that it would have ended with; on the folder of a finished one it does nothing.

    Args:
        arguments: How the command line names the data sets, for the record.
        watch: Makes the watchers, told the folder, the steps of an epoch and the epochs that are done already.
        start: The network to learn on from; None: a new one, as the parameters say.

    Raises:
        FitError: The folder is that of another training, ``TF_CONFIG`` is malformed, or the loss is no number any more.
        AugmentationError: The parameters name an augmentation that is not there.
        DatasetError: The data cannot be split.
    """
    parts = split_all(datasets, rule)
    worker, workers = _worker()
    record = _begin_record(parts, arguments, rule, parameters) | {"workers": workers}
    existing = read_record(folder)
    if existing is not None:
        _check_same(folder, existing, record)
        if "metrics" in existing:
            return Run.open(folder)
    keras.utils.set_random_seed(parameters.seed)
    tf.config.experimental.enable_op_determinism()
    strategy = strategy_for_machine()
    validation, learned = _validation(parts, rule, parameters)
    batches = Batches(
        learned,
        [part.dataset.repeats for part in parts],
        labels=len(record["labels"]),
        batch=parameters.batch,
        how=levels(parameters.augmentation, [dataset.name for dataset in datasets]),
        seed=parameters.seed,
        worker=(worker, workers),
        devices=strategy.num_replicas_in_sync // workers,
    )
    learner = Learner(lambda: _network(parameters, len(record["labels"]), start), parameters, batches.steps, strategy)
    chief = worker == 0
    if chief:
        _begin_folder(folder, record, is_new=existing is None)
    progress = _train(learner, batches, validation, parameters, folder, watch=watch if chief else no_watchers, chief=chief)
    with learner.averaged() as model:
        metrics = {part.dataset.name: score(learner.probabilities(part.held_out), part.held_out.labels) for part in parts}
        record |= {"seconds": round(progress.seconds, 1), "history": progress.history, "metrics": metrics}
        if chief:
            write_network(folder, model)
            write_record(folder, record)
            (folder / CHECKPOINT).unlink(missing_ok=True)
    return Run(folder, record)


def _begin_folder(folder: Path, record: dict[str, Any], *, is_new: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if is_new:
        # Of a training that nothing is known of.
        (folder / CHECKPOINT).unlink(missing_ok=True)
    write_record(folder, record)


def _network(parameters: FitParameters, labels: int, start: Start | None) -> keras.Model:
    if start is not None:
        return start.build()
    return build(parameters.network, labels, parameters.tile_px, parameters.weights)


def _train(
    learner: Learner,
    batches: Batches,
    validation: Tiles | None,
    parameters: FitParameters,
    folder: Path,
    *,
    watch: Watch,
    chief: bool,
) -> Progress:
    """Take all epochs that are left; afterwards the learner has the weights of the best one, or of the last."""
    progress, best = Progress(), None
    saved = checkpoint.load(folder / CHECKPOINT)
    if saved is not None:
        progress, arrays = saved
        learner.restore(arrays)
        best = _best_of(arrays)
    with Watchers(watch(folder, batches.steps, progress.epoch)) as watchers:
        while progress.epoch < parameters.epochs and not _is_stopped(progress, parameters):
            begun = time.monotonic()
            measured = _epoch(learner, batches, parameters, progress.epoch, watchers)
            if validation is not None:
                with learner.averaged():
                    loss = _log_loss(learner.probabilities(validation), validation.labels)
                    measured["validation_loss"] = loss
                    if progress.best_loss is None or loss < progress.best_loss:
                        progress.best_loss, progress.waited, best = loss, 0, learner.weights()
                    else:
                        progress.waited += 1
            progress.history.append(measured)
            watchers.epoch(progress.epoch, measured)
            progress.epoch += 1
            progress.seconds += time.monotonic() - begun
            if chief:
                kept = {} if best is None else {f"{_BEST}{index}": weight for index, weight in enumerate(best)}
                checkpoint.save(folder / CHECKPOINT, progress, learner.state() | kept)
    if best is not None:
        learner.keep(best)
    return progress


def _epoch(learner: Learner, batches: Batches, parameters: FitParameters, number: int, watchers: Watchers) -> dict[str, float]:
    losses = []
    for step, loss in enumerate(learner.epoch(batches.epoch(number), (parameters.seed, number))):
        losses.append(float(loss))
        if not math.isfinite(losses[-1]):
            raise FitError(f"epoch {number + 1}, step {step + 1}: the loss is {losses[-1]}; try a lower --learning-rate")
        watchers.step(number, step, losses[-1])
    return {"loss": float(np.mean(losses)), "learning_rate": learner.learning_rate()}


def _is_stopped(progress: Progress, parameters: FitParameters) -> bool:
    return 0 < parameters.patience <= progress.waited


def _best_of(arrays: dict[str, NDArray[Any]]) -> list[NDArray[Any]] | None:
    count = sum(name.startswith(_BEST) for name in arrays)
    return [arrays[f"{_BEST}{index}"] for index in range(count)] or None


def _validation(parts: Sequence[Part], rule: SplitRule, parameters: FitParameters) -> tuple[Tiles | None, list[Tiles]]:
    """What early stopping watches, cut from what would be learned from: what is held out stays unseen until the end."""
    if not parameters.patience:
        return None, [part.train for part in parts]
    within = [replace(part.dataset, tiles=part.train, given_held_out=None) for part in parts]
    inner = split_all(within, replace(rule, folds=max(round(1 / parameters.validation), 2), fold=0, kind="auto"))
    return Tiles.concatenate([part.held_out for part in inner]), [part.train for part in inner]


def _log_loss(probabilities: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    own = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(own, 1e-7)).mean())


def _worker() -> tuple[int, int]:
    """Which worker this is, from 0, and how many there are, as ``TF_CONFIG`` says; the first one writes the run.

    Raises:
        FitError: It is malformed.
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        return 0, 1
    try:
        config = json.loads(text)
        tasks = [(kind, index) for kind in ("chief", "worker") for index in range(len(config["cluster"].get(kind, ())))]
        return tasks.index((config["task"]["type"], int(config["task"]["index"]))), len(tasks)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        example = '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}'
        raise FitError(f"TF_CONFIG: expected {example}, got {text}") from error


def _begin_record(
    parts: Sequence[Part], arguments: Sequence[str], rule: SplitRule, parameters: FitParameters
) -> dict[str, Any]:
    data = [
        {
            "argument": argument,
            "name": part.dataset.name,
            "fingerprint": part.dataset.fingerprint(),
            "split": part.how,
            "learned_from": len(part.train),
            "held_out": len(part.held_out),
            "repeats": part.dataset.repeats,
            "unreadable": list(part.dataset.unreadable),
            "duplicates": list(part.dataset.duplicates),
            "resized": part.dataset.resized,
        }
        for argument, part in zip(arguments, parts, strict=True)
    ]
    return {
        "labels": list(parts[0].dataset.labels),
        "parameters": asdict(parameters),
        "split": asdict(rule),
        "data": data,
        "versions": {name: version(name) for name in _LIBRARIES},
    }


def _check_same(folder: Path, existing: dict[str, Any], asked: dict[str, Any]) -> None:
    """Refuse to go on with another training than the folder's."""
    for key in ("parameters", "split"):
        for name, value in asked[key].items():
            if existing.get(key, {}).get(name) != value:
                had = existing.get(key, {}).get(name)
                raise FitError(f"{folder}: was begun with {name} {had}, not {value}; give another --out or remove it")
    if existing.get("workers", 1) != asked["workers"]:
        raise FitError(f"{folder}: was begun by {existing.get('workers', 1)} workers, not {asked['workers']}")
    known, wanted = (
        [[data.get(name) for name in ("name", "fingerprint", "repeats")] for data in record.get("data", [])]
        for record in (existing, asked)
    )
    if known != wanted:
        raise FitError(f"{folder}: was begun with other data; give another --out or remove it")
