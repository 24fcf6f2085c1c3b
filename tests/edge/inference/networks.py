"""Networks that are made here, because none that was trained does what a test wants."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

Kind = Literal["sound", "blind", "fails on black", "endless"]

SIDE = 8
"""Pixels of the tiles that they take."""


def network(folder: Path, kind: Kind) -> dict[str, bytes]:
    """The IR of a network of some kind: the files of a bundle."""
    return endless(folder) if kind == "endless" else grey(folder, kind)


def endless(folder: Path) -> dict[str, bytes]:
    """The IR of a network that answers at once for tiles of its own size (a half, if they are grey), and for higher ones only
    after hours.

    It is how a driver that hangs looks from outside, as far as OpenVINO on a CPU can: the request does not come to its end.

    Returns:
        The files of a bundle.
    """
    import openvino
    from openvino import opset8 as ops

    def number(value: int) -> Any:
        return ops.constant(value, dtype=np.int64)

    images = _images()
    mean = ops.reduce_mean(ops.convert(images, "f32"), ops.constant([1, 2], dtype=np.int64))
    height = ops.gather(ops.shape_of(images, output_type="i64"), number(1), number(0))
    turns = ops.add(ops.multiply(ops.subtract(height, number(SIDE)), number(1 << 27)), number(1))

    value = ops.parameter(openvino.PartialShape([-1, 3]), np.float32)
    same = ops.multiply(value, ops.constant(1, dtype=np.float32))
    go_on = ops.constant(True, dtype=bool)
    loop = ops.loop(turns, ops.constant(True, dtype=bool))
    loop.set_function(openvino.Model([ops.result(go_on), ops.result(same)], [value], "turn"))
    loop.set_special_body_ports([-1, 0])
    loop.set_merged_input(value, mean.output(0), same.output(0))
    after = loop.get_iter_value(same.output(0), -1)
    scores = ops.gather(after, ops.constant([0, 1], dtype=np.int64), number(1))
    return _files(ops.softmax(scores, 1), images, folder)


def grey(folder: Path, kind: Kind = "sound") -> dict[str, bytes]:
    """The IR of a network that takes the brightness of an image for the probability of damage, 0 to 1.

    Args:
        kind: Blind, it gives a half for all. One that fails on black gives what is no number for images that are almost black.

    Returns:
        The files of a bundle.
    """
    from openvino import opset8 as ops

    def number(value: float) -> Any:
        return ops.constant(value, dtype=np.float32)

    images = _images()
    mean = ops.reduce_mean(ops.convert(images, "f32"), ops.constant([1, 2, 3], dtype=np.int64), keep_dims=True)
    damaged = ops.reshape(ops.divide(mean, number(255)), ops.constant([-1, 1], dtype=np.int64), special_zero=False)
    if kind == "blind":
        damaged = ops.add(ops.multiply(damaged, number(0)), number(0.5))
    elif kind == "fails on black":
        root = ops.sqrt(ops.subtract(damaged, number(0.05)))
        damaged = ops.multiply(damaged, ops.divide(root, root))
    return _files(ops.concat([damaged, ops.subtract(number(1), damaged)], 1), images, folder)


def _images() -> Any:
    import openvino
    from openvino import opset8 as ops

    return ops.parameter(openvino.PartialShape([-1, -1, -1, 3]), np.uint8, name="images")


def _files(probabilities: Any, images: Any, folder: Path) -> dict[str, bytes]:
    import openvino

    xml, weights = folder / "network.xml", folder / "network.bin"
    openvino.serialize(openvino.Model([probabilities], [images], "network"), xml, weights)
    return {"ir/model.xml": xml.read_bytes(), "ir/model.bin": weights.read_bytes()}
