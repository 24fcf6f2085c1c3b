"""Trains a network on data sets and writes a run folder: the weights, the parameters and what was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.augment import augment
from trainer.datasets import LABELS, Dataset, Tiles
from trainer.metrics import score
from trainer.networks import overflight_s

_EVALUATION_BATCH = 256


@dataclass(frozen=True, slots=True)
class FitParameters:
    """What a run depends on besides the data: the same parameters and data give the same model on one machine."""

    epochs: int
    seed: int
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    label_smoothing: float = 0.02


def fit(datasets: Sequence[Dataset], parameters: FitParameters, run: Path, *, quiet: bool) -> dict[str, Any]:
    """Train on all data sets together and measure on what each holds out.

    Args:
        run: Folder to write into: ``model.keras``, ``run.json``.

    Returns:
        The metrics that ``run.json`` keeps: for each data set, tiles, accuracy and balanced accuracy (0..1).
    """
    run.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(parameters.seed)
    tf.config.experimental.enable_op_determinism()
    images, labels = _epoch(datasets)
    steps = max(len(labels) // parameters.batch, 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps * parameters.epochs, warmup_target=parameters.learning_rate, warmup_steps=steps
    )
    model = overflight_s(len(LABELS))
    model.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=parameters.weight_decay),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=parameters.label_smoothing),
        metrics=["accuracy"],
    )
    model.fit(
        _batches(images, labels, parameters),
        epochs=parameters.epochs,
        steps_per_epoch=steps,
        verbose=0 if quiet else 2,
    )
    metrics = {dataset.name: measure(model, dataset.held_out) for dataset in datasets}
    model.save(run / "model.keras")
    record = {"parameters": asdict(parameters), "labels": LABELS, "metrics": metrics}
    (run / "run.json").write_text(json.dumps(record, indent=2) + "\n")
    return metrics


def measure(model: keras.Model, tiles: Tiles) -> dict[str, Any]:
    """The metrics of a model on labelled tiles."""
    probabilities = model.predict(tiles.images.astype(np.float32), batch_size=_EVALUATION_BATCH, verbose=0)
    return score(probabilities.argmax(axis=1), tiles.labels)


def _epoch(datasets: Sequence[Dataset]) -> tuple[Any, Any]:
    """All training tiles in memory, and the indices of one epoch: each tile as often as its data set repeats."""
    images = np.concatenate([dataset.train.images for dataset in datasets])
    labels = np.concatenate([dataset.train.labels for dataset in datasets])
    repeats = np.concatenate([np.full(len(dataset.train), dataset.repeats) for dataset in datasets])
    order = np.repeat(np.arange(len(labels)), repeats)
    return images, np.stack([order, labels[order]], axis=1)


def _batches(images: Any, epoch: Any, parameters: FitParameters) -> tf.data.Dataset:
    """Shuffled, augmented batches without end; pixels stay uint8 in one array until their batch needs them."""
    stored = tf.constant(images)

    def gather(rows: Any) -> tuple[Any, Any]:
        return augment(tf.gather(stored, rows[:, 0]), tf.one_hot(rows[:, 1], len(LABELS)))

    return (
        tf.data.Dataset.from_tensor_slices(epoch)
        .shuffle(len(epoch), seed=parameters.seed)
        .repeat()
        .batch(parameters.batch, drop_remainder=True)
        .map(gather, num_parallel_calls=1)
        .prefetch(2)
    )
