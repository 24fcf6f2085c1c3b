"""The network of 2020, which is to be beaten."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

# Rec. 601, as OpenCV and TensorFlow turn colour into grey.
_LUMA = (0.299, 0.587, 0.114)


def seed_cnn(labels: int, tile_px: int = 128) -> keras.Model:
    """The grey network of A. Ortiz's thesis (multispectral-imaging-cnn-final-degree-work, 2020).

    Three blocks of 64 3×3 filters with ReLU, 3×3 max pooling and dropout 0.5, one more convolution of 64 filters with ReLU,
    a dense layer of 64, a sigmoid. It was trained with Adam at a learning rate of 0.0008.

    Shapes: input (n, tile_px, tile_px, 3) float32 in 0..255, RGB, made grey and scaled to 0..1 by a fixed convolution; output
    (n, 2) float32: one minus the sigmoid, which is the probability of the second label, and the sigmoid.

    Raises:
        ValueError: There are not two labels.
    """
    if labels != 2:
        raise ValueError(f"seed-cnn decides between 2 labels, not {labels}")
    images = keras.Input((tile_px, tile_px, 3), name="images")
    kernel = keras.initializers.Constant(np.reshape(_LUMA, (1, 1, 3, 1)).tolist())
    grey = layers.Conv2D(1, 1, use_bias=False, kernel_initializer=kernel, trainable=False, name="grey")
    x = grey(layers.Rescaling(1 / 255, name="scale")(images))
    for _ in range(3):
        x = layers.Conv2D(64, 3, activation="relu")(x)
        x = layers.MaxPooling2D(3)(x)
        x = layers.Dropout(0.5)(x)
    x = layers.Conv2D(64, 3, activation="relu")(x)
    x = layers.Dense(64, activation="relu")(layers.Flatten()(x))
    second = layers.Dense(1, activation="sigmoid", name="logits")(x)
    return keras.Model(images, layers.Concatenate(name="probabilities")([1.0 - second, second]), name="seed-cnn")
