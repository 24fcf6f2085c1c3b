"""Standard networks that can start from weights learned elsewhere."""

from __future__ import annotations

import keras
from keras import layers


def mobilenet_v2(labels: int, tile_px: int = 128, weights: str | None = None) -> keras.Model:
    """MobileNetV2 (Sandler et al., 2018, arXiv:1801.04381), as Keras ships it, with a new head; 2.3 million weights.

    Shapes: input (n, tile_px, tile_px, 3) float32 in 0..255, RGB, scaled to -1..1 inside; output (n, labels) float32, rows sum
    to 1.

    Args:
        weights: None, ``imagenet``, which Keras downloads once, or the path of a file of weights without the head.

    Raises:
        ValueError: The weights cannot be had.
    """
    images = keras.Input((tile_px, tile_px, 3), name="images")
    scaled = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(images)
    try:
        # Built on the scaled tensor, its layers become those of one flat model.
        backbone = keras.applications.MobileNetV2(
            input_shape=(tile_px, tile_px, 3), input_tensor=scaled, include_top=False, weights=weights
        )
    except Exception as error:
        if weights != "imagenet":
            raise
        # Keras reports a failed download as a bare Exception.
        raise ValueError(f"the imagenet weights cannot be downloaded ({error}); give the path of a file instead") from error
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(backbone.output))
    return keras.Model(images, layers.Dense(labels, activation="softmax", name="logits")(x), name="mobilenet-v2")
