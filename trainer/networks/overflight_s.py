"""The network of the bundle that ships: small, and nothing in it that an old runtime does not know."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

_STAGES = ((24, 0), (48, 2), (96, 3))
"""Filters and residual convolutions. Most of them where the image is small already: there they cost the least time, in the
training as in the air, and they see the most of the ground."""


def overflight_s(labels: int, tile_px: int = 128) -> keras.Model:
    """A small residual network for CPUs and sticks: plain 3×3 convolutions, batch norm and ReLU, 348,000 weights.

    A stem of 16 filters and three stages, which each halve the side by a strided convolution; the last two go on with two and
    three residual ones (He et al., 2016, arXiv:1512.03385, with one convolution in each block). There is no squeeze, swish or
    depthwise layer, so that INT8 quantization and old runtimes find nothing unusual.

    Shapes: input (n, tile_px, tile_px, 3) float32 in 0..255, RGB; output (n, labels) float32, rows sum to 1.
    """
    images = keras.Input((tile_px, tile_px, 3), name="images")
    x = layers.Rescaling(1 / 255, name="scale")(images)
    x = _convolution(x, 16, stride=2)
    for filters, residual in _STAGES:
        x = _convolution(x, filters, stride=2)
        for _ in range(residual):
            x = layers.Add()([x, _convolution(x, filters, stride=1)])
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.1)(x)
    return keras.Model(images, layers.Dense(labels, activation="softmax", name="logits")(x), name="overflight-s")


def _convolution(x: Any, filters: int, stride: int) -> Any:
    x = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))
