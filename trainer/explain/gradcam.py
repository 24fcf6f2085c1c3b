"""Grad-CAM: where in a picture the evidence for a label lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.errors import TrainerError

# Stands for a label that is left out of a sum of exponentials, and has no gradient of NaN as minus infinity would.
_LEFT_OUT = -1e9


class ExplainError(TrainerError):
    """Nothing can be explained; the message is the reason in one line."""


@dataclass(frozen=True, slots=True)
class Explained:
    """What a network says of pictures, and why.

    Attributes:
        probabilities: (n, labels), rows sum to 1.
        labels: (n,), index of the label that the heat map speaks of.
        heat: (n, rows, columns) float32 on the cells of the feature map. The largest of a picture is 1; all are 0 where
            nothing in the picture speaks for the label.
    """

    probabilities: NDArray[np.float32]
    labels: NDArray[np.intp]
    heat: NDArray[np.float32]


class GradCam:
    """Gradient-weighted class activation mapping (Selvaraju et al., 2017, arXiv:1610.02391).

    Each channel of the last feature map that has a spatial extent is weighted by the mean gradient of the label's score with
    respect to it; the heat map is the positive part of the weighted sum.

    The score is the label's log-odds against all other labels, computed from the logits. Gradients of probabilities vanish
    where a network is sure; and softmax leaves open a summand that all logits share, which log-odds do not have. For one
    sigmoid output, they are the logit itself, as in the paper.
    """

    def __init__(self, model: keras.Model, temperature: float = 1.0) -> None:
        """
        Args:
            model: One of `trainer.networks`: RGB pixels in 0..255 to probabilities.
            temperature: By which logits are divided for the probabilities.

        Raises:
            ExplainError: It has no feature map with a spatial extent, or no dense layer that computes logits.
        """
        self.tile_px: tuple[int, int] = tuple(model.input_shape[1:3])
        self._temperature = temperature
        self._logits = _logits_layer(model)
        feature_map = _last_feature_map(model)
        self._network = keras.Model(model.inputs, [feature_map.output, self._logits.input])

    def explain(self, images: NDArray[np.uint8], label: int | None = None) -> Explained:
        """Compute the heat maps of a batch.

        Args:
            images: (n, height, width, 3) uint8, RGB, of the size that the network takes.
            label: Index of the label to explain; None: of each picture the one that was decided for.
        """
        pixels = tf.constant(images, tf.float32)
        with tf.GradientTape() as tape:
            # Also a network whose weights are all frozen has gradients then.
            tape.watch(pixels)
            features, last = self._network(pixels, training=False)
            features = tf.convert_to_tensor(features)
            logits = self._logits_of(last)
            chosen = tf.argmax(logits, axis=1) if label is None else tf.fill([len(images)], tf.constant(label, tf.int64))
            is_chosen = tf.one_hot(chosen, logits.shape[1], on_value=True, off_value=False)
            others = tf.reduce_logsumexp(tf.where(is_chosen, _LEFT_OUT, logits), axis=1)
            log_odds = tf.reduce_sum(tf.where(is_chosen, logits, 0.0), axis=1) - others
        gradients = tf.cast(tape.gradient(log_odds, features), tf.float32)
        weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
        heat = np.asarray(tf.nn.relu(tf.reduce_sum(weights * tf.cast(features, tf.float32), axis=-1)))
        largest = heat.max(axis=(1, 2), keepdims=True)
        heat = np.divide(heat, largest, out=np.zeros_like(heat), where=largest > 0)
        probabilities = np.asarray(tf.nn.softmax(logits / self._temperature), np.float32)
        return Explained(probabilities, np.asarray(chosen, np.intp), heat)

    def _logits_of(self, last: Any) -> Any:
        """(n, labels) of what goes into the layer of logits, without its activation."""
        logits = tf.cast(last, tf.float32) @ tf.cast(self._logits.kernel.value, tf.float32)
        if self._logits.use_bias:
            logits += tf.cast(self._logits.bias.value, tf.float32)
        # A sigmoid is the softmax of its logit against 0.
        return logits if logits.shape[1] > 1 else tf.concat([tf.zeros_like(logits), logits], axis=1)


def _last_feature_map(model: keras.Model) -> keras.layers.Layer:
    for layer in reversed(model.layers):
        shape = getattr(layer.output, "shape", ())
        if len(shape) == 4 and min(shape[1:3]) > 1 and not isinstance(layer, keras.layers.InputLayer):
            return layer
    raise ExplainError(f"{model.name}: has no layer whose output is a map of more than one cell, so there is no place to show")


def _logits_layer(model: keras.Model) -> keras.layers.Dense:
    last = next((layer for layer in reversed(model.layers) if layer.weights), None)
    if not isinstance(last, keras.layers.Dense):
        raise ExplainError(f"{model.name}: its last layer with weights is {type(last).__name__}, expected Dense for the logits")
    return last
