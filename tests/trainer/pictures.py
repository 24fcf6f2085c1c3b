"""Pictures, and trees of them, as the tests of the trainer need them."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.datasets import TILE_PX, Dataset, DatasetError, SplitRule, read_all, split_all

RED, BLUE = (200, 0, 0), (0, 0, 200)


def plain(colour: tuple[int, int, int] = RED, height: int = TILE_PX, width: int = TILE_PX) -> NDArray[np.uint8]:
    """A picture of one colour, RGB."""
    return np.full((height, width, 3), colour, np.uint8)


def noise(seed: int) -> NDArray[np.uint8]:
    """A picture that no other seed gives, RGB."""
    return np.random.default_rng(seed).integers(0, 256, (TILE_PX, TILE_PX, 3), np.uint8)


def put(file: Path, pixels: NDArray[Any]) -> Path:
    """Write a picture, RGB or grey, in the format that its suffix names."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = cv2.imencode(file.suffix, pixels[..., [2, 1, 0, 3][: pixels.shape[2]]] if pixels.ndim == 3 else pixels)[1]
    file.write_bytes(content.tobytes())
    return file


def tree(folder: Path, *labels: str, count: int = 3) -> Path:
    """A folder with one folder of pictures for each label; no two are the same, in other trees neither."""
    for label in labels:
        for index in range(count):
            put(folder / label / f"{index}.png", noise(zlib.crc32(f"{folder}/{label}/{index}".encode())))
    return folder


def mean_colours(dataset: Dataset) -> list[list[int]]:
    """Of each tile, RGB."""
    return dataset.tiles.images.mean(axis=(1, 2)).round().astype(int).tolist()


def labels_of(dataset: Dataset) -> list[str]:
    return [dataset.labels[label] for label in dataset.tiles.labels]


def error_of(*arguments: object) -> str:
    """Why data sets cannot be read or split, which must be one line."""
    with pytest.raises(DatasetError) as caught:
        split_all(read_all([str(argument) for argument in arguments]), SplitRule(folds=2))
    assert str(caught.value).isprintable()
    return str(caught.value)
