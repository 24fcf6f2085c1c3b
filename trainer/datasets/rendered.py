"""Blocks of rendered towns as a data set: no photo is needed, and the truth of every tile is known."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.demo.town import BLOCK_PX, render_town
from trainer.datasets.readers import DAMAGE_LABELS
from trainer.datasets.tiles import TILE_PX, Dataset, DatasetError, Tiles

# Towns are drawn from these seeds; the demo's town has a smaller one, so that no model has seen it.
_TRAIN_SEED = 1_000_000
_HELD_OUT_SEED = 2_000_000
_LEAST_HELD_OUT = 96
# From there on the towns to learn from would be those that are held out.
_MOST_TRAIN = _HELD_OUT_SEED - _TRAIN_SEED
_TOWN_BLOCKS = (6, 8)
# How far a photo's centre lies from the block's centre: a drone does not fly on rails.
_JITTER_PX = 14


def read_rendered(location: str, repeats: int) -> Dataset:
    """Blocks of rendered towns (`edge.demo.town`); the location is the number of tiles to learn from.

    Held out are a fifth as many, 96 at least, from other towns.
    """
    # As many digits as the most tiles have: longer ones Python refuses to read.
    if not location.isdecimal() or len(location) > len(str(_MOST_TRAIN)) or not 1 <= int(location) <= _MOST_TRAIN:
        raise DatasetError(f"rendered:{location}: expected the number of tiles, 1 to {_MOST_TRAIN}, as in rendered:960")
    count = int(location)
    held_out = max(count // 5, _LEAST_HELD_OUT)
    tiles = Tiles.concatenate([render_tiles(_TRAIN_SEED, count, "train"), render_tiles(_HELD_OUT_SEED, held_out, "held-out")])
    return Dataset("rendered", DAMAGE_LABELS, tiles, np.arange(count + held_out) >= count, repeats, rendered=True)


def render_tiles(first_seed: int, count: int, prefix: str) -> Tiles:
    """Photos of blocks of as many towns as it takes, half of the blocks in ruins."""
    images = np.empty((count, TILE_PX, TILE_PX, 3), np.uint8)
    labels = np.empty(count, np.int32)
    for index, (photo, damaged) in zip(range(count), _photos(first_seed), strict=False):
        images[index] = cv2.resize(photo, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)[..., ::-1]
        labels[index] = DAMAGE_LABELS.index("damaged" if damaged else "undamaged")
    return Tiles(images, labels, tuple(f"{prefix}-{index}" for index in range(count)), np.full((count, 2), np.nan))


def _photos(seed: int) -> Iterator[tuple[NDArray[np.uint8], bool]]:
    rows, columns = _TOWN_BLOCKS
    while True:
        rng = np.random.default_rng(seed)
        town = render_town(seed, rows, columns, rng.random((rows, columns)) < 0.5)
        last = np.array(town.image.shape[:2]) - BLOCK_PX
        for row, column in np.ndindex(rows, columns):
            jitter = rng.integers(-_JITTER_PX, _JITTER_PX + 1, 2)
            top, left = np.clip(np.array([row, column]) * BLOCK_PX + jitter, 0, last)
            yield town.image[top : top + BLOCK_PX, left : left + BLOCK_PX], bool(town.damaged[row, column])
        seed += rows * columns
