"""Batches of augmented tiles, the same ones for the same seed, epoch and number of workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.datasets import Tiles
from trainer.errors import TrainerError
from trainer.fit.augment import Augmentation, augment


class BatchError(TrainerError):
    """Batches cannot be shared among the workers; the message is one line that says how small they are."""


class Batches:
    """All training tiles of a run; each epoch shuffles and changes them anew."""

    def __init__(
        self,
        tiles: Sequence[Tiles],
        repeats: Sequence[int],
        *,
        labels: int,
        batch: int,
        how: Sequence[Augmentation],
        seed: int,
        worker: tuple[int, int] = (0, 1),
        devices: int = 1,
    ) -> None:
        """
        Args:
            tiles: Of each data set.
            repeats: How often the tiles of each data set come up in an epoch.
            labels: How many there are.
            how: How the tiles of each data set are changed.
            batch: Tiles in a step, of all workers together.
            worker: Which one this is, from 0, and how many there are; each takes its share of every batch.
            devices: Of each worker, as GPUs; each takes its share of that.

        Raises:
            BatchError: A batch has fewer tiles than there are devices.
        """
        self._tiles = Tiles.concatenate(tiles)
        counts = np.concatenate([np.full(len(part), times) for part, times in zip(tiles, repeats, strict=True)])
        self._order = np.repeat(np.arange(len(counts)), counts)
        self._labels = labels
        self._how = [one for part, one in zip(tiles, how, strict=True) for _ in range(len(part))]
        self._seed = seed
        self._worker = worker
        # A small set is one batch; the last, incomplete batch of a large one would be a step of another size.
        self._devices = devices
        shares = worker[1] * devices
        self._batch = min(batch, len(self._order)) // shares * shares
        if not self._batch:
            tiles_each = min(batch, len(self._order))
            raise BatchError(f"batches of {tiles_each} tiles for {shares} workers: expected one tile for each at least")
        self.steps = len(self._order) // self._batch
        self.shape = (self._batch // shares, *self._tiles.images.shape[1:])

    def epoch(self, number: int) -> tf.data.Dataset:
        """The steps of an epoch: (share of the batch, side, side, 3) uint8 RGB and (share, labels) float32, one-hot.

        A step has one such element for each device of this worker.
        """
        signature = (tf.TensorSpec(self.shape, tf.uint8), tf.TensorSpec((self.shape[0], self._labels), tf.float32))
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        options.threading.private_threadpool_size = 1
        generated = tf.data.Dataset.from_generator(lambda: self._epoch(number), output_signature=signature)
        return generated.prefetch(4).with_options(options)

    def _epoch(self, number: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
        # The order is one for all workers, the changes are each worker's own.
        order = np.random.default_rng([self._seed, number]).permutation(self._order)
        index, workers = self._worker
        rng = np.random.default_rng([self._seed, number, index])
        for start in range(0, self.steps * self._batch, self._batch):
            for share in range(index * self._devices, (index + 1) * self._devices):
                yield self._changed(order[start + share : start + self._batch : workers * self._devices], rng)

    def _changed(self, indices: NDArray[Any], rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        images = np.stack([augment(self._tiles.images[index], self._how[index], rng) for index in indices])
        labels = np.eye(self._labels, dtype=np.float32)[self._tiles.labels[indices]]
        return images, labels
