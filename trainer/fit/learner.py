"""A network and its optimizer on whatever the machine has: one step at a time, with averaged weights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.datasets import Tiles
from trainer.fit.parameters import FitParameters

_EVALUATION_BATCH = 256
# Averages over fewer steps than that would only repeat the noise of the last ones.
_LEAST_AVERAGED_STEPS = 4


def strategy_for_machine() -> tf.distribute.Strategy:
    """Several machines where ``TF_CONFIG`` names them, all GPUs where there are some, else the CPU."""
    if os.environ.get("TF_CONFIG"):
        return tf.distribute.MultiWorkerMirroredStrategy()
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


class Learner:
    """Takes training steps; its averaged weights are the network that is kept."""

    def __init__(self, build: Any, parameters: FitParameters, steps_an_epoch: int, strategy: tf.distribute.Strategy) -> None:
        """
        Args:
            build: Makes the network.
            strategy: Where it is computed.
        """
        has_gpu = bool(tf.config.list_physical_devices("GPU"))
        precision = parameters.precision
        if precision == "auto":
            precision = "mixed_bfloat16" if has_gpu else "float32"
        # Layers take it when they are made; what is made later in this process is none of its business.
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(precision)
        steps = steps_an_epoch * parameters.epochs
        averaged = max(round(parameters.average * steps), _LEAST_AVERAGED_STEPS)
        self._strategy = strategy
        self._averages = parameters.average > 0
        self._smoothing = parameters.label_smoothing
        with strategy.scope():
            try:
                self.model: keras.Model = build()
            finally:
                keras.config.set_dtype_policy(before)
            schedule = keras.optimizers.schedules.CosineDecay(
                0.0, steps, warmup_target=parameters.learning_rate, warmup_steps=min(steps_an_epoch, max(steps // 10, 1))
            )
            average = {"use_ema": True, "ema_momentum": 1 - 1 / averaged} if self._averages else {}
            if parameters.optimizer == "adam":
                self._optimizer = keras.optimizers.Adam(schedule, **average)
            else:
                self._optimizer = keras.optimizers.AdamW(schedule, weight_decay=parameters.weight_decay, **average)
                self._optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
            self._optimizer.build(self.model.trainable_variables)
            self.model.optimizer = self._optimizer
        compiled = parameters.compile == "on" or (parameters.compile == "auto" and has_gpu)
        self._replica_step = tf.function(self._learn, jit_compile=compiled)
        self._step = tf.function(self._all_learn)
        self._infer = tf.function(lambda images: self.model(tf.cast(images, tf.float32), training=False), reduce_retracing=True)

    def epoch(self, batches: Any, seed: tuple[int, int]) -> Iterator[Any]:
        """Take the steps of an epoch.

        Args:
            batches: A data set of images (uint8) and labels for this worker.
            seed: What dropout depends on, so that an epoch is the same whether or not the training was interrupted before it.

        Yields:
            The loss of each step, a scalar tensor.
        """
        dropouts = [layer for layer in self.model.layers if isinstance(layer, keras.layers.Dropout) and layer.rate > 0]
        for index, layer in enumerate(dropouts):
            # Each its own, or all would drop the same.
            layer.seed_generator.state.assign(np.array((seed[0] + index, seed[1]), np.uint32))
        for images, labels in self._strategy.distribute_datasets_from_function(lambda _: batches):
            yield self._step(images, labels)
        if self._strategy.num_replicas_in_sync > 1:
            self._share_statistics()

    def _share_statistics(self) -> None:
        """Give every worker the mean of what its batch norms saw, so that all judge, and stop, alike."""
        statistics = [variable for variable in self.model.non_trainable_variables if variable.dtype.startswith("float")]

        @tf.function  # type: ignore[untyped-decorator]
        def means() -> list[Any]:
            values = self._strategy.run(lambda: [tf.convert_to_tensor(variable.value) for variable in statistics])
            return [self._strategy.reduce("MEAN", value, axis=None) for value in values]

        for variable, mean in zip(statistics, means(), strict=True):
            variable.assign(mean)

    def _all_learn(self, images: Any, labels: Any) -> Any:
        return self._strategy.reduce("SUM", self._strategy.run(self._replica_step, args=(images, labels)), axis=None)

    def _learn(self, images: Any, labels: Any) -> Any:
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            probabilities = tf.cast(self.model(tf.cast(images, tf.float32), training=True), tf.float32)
            losses = keras.losses.categorical_crossentropy(labels, probabilities, label_smoothing=self._smoothing)
            # Gradients of replicas are added up.
            loss = tf.reduce_mean(losses) / self._strategy.num_replicas_in_sync
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    @contextmanager
    def averaged(self) -> Iterator[keras.Model]:
        """The network with its averaged weights, for as long as the context lasts."""
        if not self._averages:
            yield self.model
            return
        swap = keras.callbacks.SwapEMAWeights()
        swap.set_model(self.model)
        with self._strategy.scope():
            swap.on_test_begin(None)
        try:
            yield self.model
        finally:
            with self._strategy.scope():
                swap.on_test_end(None)

    def probabilities(self, tiles: Tiles) -> NDArray[np.float32]:
        """(n, labels), of the weights as they are: ask within `averaged` for those that are kept."""
        starts = range(0, len(tiles), _EVALUATION_BATCH)
        parts = [self._infer(tf.constant(tiles.images[at : at + _EVALUATION_BATCH])).numpy() for at in starts]
        return np.concatenate(parts).astype(np.float32)

    def weights(self) -> list[NDArray[Any]]:
        """Of the network as it is."""
        return [np.asarray(value) for value in self.model.get_weights()]

    def set_weights(self, weights: list[NDArray[Any]]) -> None:
        """Of the network."""
        self.model.set_weights(weights)

    def keep(self, weights: list[NDArray[Any]]) -> None:
        """Take weights as the averaged ones, too: they are what is kept."""
        self.set_weights(weights)
        self._averages = False

    def learning_rate(self) -> float:
        """Of the next step."""
        return float(self._optimizer.learning_rate)

    def state(self) -> dict[str, NDArray[Any]]:
        """All that `restore` needs."""
        state = {f"weight-{index}": value for index, value in enumerate(self.weights())}
        return state | {f"optimizer-{i}": np.asarray(v.numpy()) for i, v in enumerate(self._optimizer.variables)}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Go on from a `state`.

        Raises:
            KeyError, ValueError: It is that of another network.
        """
        self.set_weights([state[f"weight-{index}"] for index in range(len(self.model.weights))])
        for index, variable in enumerate(self._optimizer.variables):
            variable.assign(state[f"optimizer-{index}"])
