"""Changes to a tile that leave its label true: what flight, light, lens and sensor do to a picture from above."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def augment(images: Any, labels: Any) -> tuple[Any, Any]:
    """Change every image of a batch at random.

    There is no up in a picture from above, so all eight turns and flips are as likely. Some pictures lose their colour,
    because panchromatic sensors have none and a model must not decide by the tint of one flight.

    Args:
        images: (n, side, side, 3), RGB, 0..255, any number type.
        labels: Passed through.

    Returns:
        Images of the same shape as float32 in 0..255, and the labels.
    """
    images = tf.cast(images, tf.float32)
    count = tf.shape(images)[0]
    images = _turn(images, count)
    images = _scale(images, count)
    grey = tf.reduce_mean(images, axis=-1, keepdims=True)
    saturation = tf.where(tf.random.uniform((count, 1, 1, 1)) < 0.2, 0.0, tf.random.uniform((count, 1, 1, 1), 0.6, 1.4))
    images = grey + (images - grey) * saturation
    middle = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    contrast = tf.exp(tf.random.normal((count, 1, 1, 1), 0.0, 0.15))
    light = tf.random.normal((count, 1, 1, 1), 0.0, 12.0)
    tint = tf.random.normal((count, 1, 1, 3), 0.0, 3.0)
    images = middle + (images - middle) * contrast + light + tint
    return tf.clip_by_value(images, 0.0, 255.0), labels


def _turn(images: Any, count: Any) -> Any:
    def chosen(probability: float = 0.5) -> Any:
        return tf.random.uniform((count, 1, 1, 1)) < probability

    images = tf.where(chosen(), images[:, :, ::-1], images)
    images = tf.where(chosen(), images[:, ::-1], images)
    return tf.where(chosen(), tf.transpose(images, (0, 2, 1, 3)), images)


def _scale(images: Any, count: Any) -> Any:
    """Zoom by 0.85 to 1.2 around a random point; what lies outside the tile is its mean colour."""
    side = tf.shape(images)[1]
    extent = tf.random.uniform((count, 1), 1 / 1.2, 1 / 0.85)
    start = (1.0 - extent) * tf.random.uniform((count, 2))
    boxes = tf.concat([start, start + extent], axis=1)
    padded = tf.pad(images, ((0, 0), (16, 16), (16, 16), (0, 0)), mode="REFLECT")
    ratio = tf.cast(side, tf.float32) / tf.cast(side + 32, tf.float32)
    boxes = 0.5 + (boxes - 0.5) * ratio
    return tf.image.crop_and_resize(padded, boxes, tf.range(count), (images.shape[1], images.shape[2]))
