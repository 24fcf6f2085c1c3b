"""Where labelled tiles come from: one reader for each kind of data, all giving the same `Dataset`.

A data set is named on the command line as ``reader:location``: ``harvey:FOLDER``, ``haiti:FOLDER`` or ``rendered:TILES``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.demo.town import BLOCK_PX, render_town

LABELS = ("damaged", "undamaged")
TILE_PX = 128

# Towns are drawn from these seeds; the demo's town has a smaller one, so that no model has seen it.
_TRAIN_SEED = 1_000_000
_HELD_OUT_SEED = 2_000_000
_TOWN_BLOCKS = (6, 8)
# How far a photo's centre lies from the block's centre: a drone does not fly on rails.
_JITTER_PX = 14


class DatasetError(ValueError):
    """A data set cannot be read; the message names the place and what was expected there."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Labelled tiles in memory.

    Attributes:
        images: (n, 128, 128, 3) uint8, RGB.
        labels: (n,) int32, index into `LABELS`.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A named data set, split into what a model learns from and what it is measured on.

    Attributes:
        repeats: How often each training tile comes up in one epoch; lifts a set of few tiles beside one of many.
    """

    name: str
    train: Tiles
    held_out: Tiles
    repeats: int


def read(argument: str) -> Dataset:
    """Read the data set that a ``reader:location`` argument names.

    Raises:
        DatasetError: The reader is unknown or the location does not hold what the reader expects.
    """
    reader, separator, location = argument.partition(":")
    if not separator or reader not in _READERS:
        raise DatasetError(f"{argument}: expected reader:location with one of the readers {', '.join(sorted(_READERS))}")
    return _READERS[reader](location)


def _harvey(location: str) -> Dataset:
    """Tiles of Greater Houston after Hurricane Harvey (Cao and Choe, 2018, doi 10.17603/ds2-3cca-f398)."""
    folder = Path(location)
    classes = ("damage", "no_damage")
    train = [_images(folder / "train" / name) for name in classes]
    held_out = [_images(folder / "validation" / name) for name in classes]
    return Dataset("harvey", _load(train), _load(held_out), repeats=1)


def _haiti(location: str) -> Dataset:
    """Grey tiles of Port-au-Prince after the earthquake of 2010; every fifth tile of a class is held out."""
    files = [_images(Path(location) / name) for name in LABELS]
    train = [[file for index, file in enumerate(group) if index % 5] for group in files]
    held_out = [group[::5] for group in files]
    return Dataset("haiti", _load(train), _load(held_out), repeats=12)


def _rendered(location: str) -> Dataset:
    """Blocks of rendered towns (`edge.demo.town`); the location is the number of tiles to learn from."""
    if not location.isdecimal() or int(location) < 1:
        raise DatasetError(f"rendered:{location}: expected the number of tiles, as in rendered:960")
    count = int(location)
    return Dataset("rendered", _towns(_TRAIN_SEED, count), _towns(_HELD_OUT_SEED, max(count // 5, 96)), repeats=1)


_READERS: dict[str, Callable[[str], Dataset]] = {"harvey": _harvey, "haiti": _haiti, "rendered": _rendered}


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in {".jpeg", ".jpg", ".png"})
    if not files:
        raise DatasetError(f"{folder}: holds no .jpeg, .jpg or .png file")
    return files


def _load(groups: Sequence[Sequence[Path]]) -> Tiles:
    """Decode the files of each label, in the order of `LABELS`."""
    files = [file for group in groups for file in group]
    images = np.empty((len(files), TILE_PX, TILE_PX, 3), np.uint8)
    for index, file in enumerate(files):
        try:
            image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        except cv2.error:
            image = None
        if image is None:
            raise DatasetError(f"{file}: not an image that can be read")
        if image.shape[:2] != (TILE_PX, TILE_PX):
            image = cv2.resize(image, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)
        images[index] = image[..., ::-1]
    labels = np.repeat(np.arange(len(groups), dtype=np.int32), [len(group) for group in groups])
    return Tiles(images, labels)


def _towns(first_seed: int, count: int) -> Tiles:
    """Photos of blocks of as many towns as it takes, half of the blocks in ruins."""
    rows, columns = _TOWN_BLOCKS
    images = np.empty((count, TILE_PX, TILE_PX, 3), np.uint8)
    labels = np.empty(count, np.int32)
    for index in range(count):
        block = index % (rows * columns)
        if block == 0:
            seed = first_seed + index
            rng = np.random.default_rng(seed)
            town = render_town(seed, rows, columns, rng.random((rows, columns)) < 0.5)
        row, column = divmod(block, columns)
        top, left = np.clip(
            np.array([row, column]) * BLOCK_PX + rng.integers(-_JITTER_PX, _JITTER_PX + 1, 2),
            0,
            np.array(town.image.shape[:2]) - BLOCK_PX,
        )
        photo = town.image[top : top + BLOCK_PX, left : left + BLOCK_PX]
        images[index] = cv2.resize(photo, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)[..., ::-1]
        labels[index] = LABELS.index("damaged" if town.damaged[row, column] else "undamaged")
    return Tiles(images, labels)
