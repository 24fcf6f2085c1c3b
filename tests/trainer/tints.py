"""Noisy pictures of two tints: what a network learns from them in seconds shows whether it learns at all."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.datasets import TILE_PX, Dataset, Tiles

LABELS = ("brown", "red")

# Learns most of what there is to learn from `tint_folder` in seconds, on the command line.
HOW = ["--epochs", "6", "--batch", "2", "--learning-rate", "0.001", "--augmentation", "turns", "--folds", "4"]


def tints(count: int = 48, side: int = 32, seed: int = 1) -> Dataset:
    """Both labels in turn; the smaller the side, the less there is to compute."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 2).astype(np.int32)
    names = tuple(f"{LABELS[label]}/{index}" for index, label in enumerate(labels))
    return Dataset("tints", LABELS, Tiles(_pixels(labels, side, rng), labels, names, np.full((count, 2), np.nan)))


def tint_folder(folder: Path, count: int = 48, seed: int = 1) -> Path:
    """The same as a folder of files, at the size that tiles are learned at."""
    tiles = tints(count, TILE_PX, seed).tiles
    for image, name in zip(tiles.images, tiles.names, strict=True):
        file = folder / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(file), image[..., ::-1])
    return folder


def _pixels(labels: NDArray[np.int32], side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    coarse = rng.normal(0, 25, (len(labels), 4, 4, 3)).repeat(side // 4, axis=1).repeat(side // 4, axis=2)
    pixels = 110 + coarse + rng.normal(0, 12, (len(labels), side, side, 3))
    pixels[..., 0] += 18 * labels[:, None, None]
    return np.clip(pixels, 0, 255).astype(np.uint8)
