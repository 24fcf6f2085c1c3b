"""From image files to tiles: decoded as the device decodes, each picture once, what cannot be read listed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.capture.headers import ImageError
from edge.capture.image import SUFFIXES, decode
from edge.position.exif import ExifPosition
from edge.position.filename import FilenamePosition
from edge.records import Frame, FrameKey
from edge.text import one_line, printable
from trainer.datasets.tiles import TILE_PX, Dataset, DatasetError, Tiles

_MAX_PIXELS = 1 << 28
# Not the end of a longer number: of 500013.250_45.125 nothing is a longitude.
_NAMED_PLACE = r"(?<![\d.])(?P<longitude>-?\d{1,3}\.\d{3,})_(?P<latitude>-?\d{1,2}\.\d{3,})"
_NO_PIXELS = np.zeros((1, 1, 3), np.uint8)


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder and the folders below it, sorted; hidden ones are passed over.

    Raises:
        DatasetError: It is no folder, cannot be read, or holds none.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder")
    try:
        found = (file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        files = sorted(file for file in found if not any(part.startswith(".") for part in file.relative_to(folder).parts))
    except OSError as error:
        raise DatasetError(f"{folder}: {one_line(error)}") from error
    if not files:
        raise DatasetError(f"{folder}: holds no image ({', '.join(sorted(SUFFIXES))}), expected one at least")
    return files


def load(
    name: str, root: Path, parts: Mapping[str, Sequence[Sequence[Path]]], labels: Sequence[str], repeats: int = 1
) -> Dataset:
    """Read a data set.

    Args:
        root: What the names of tiles are relative to.
        parts: ``train``, and ``held_out`` if the data set itself keeps some apart; in each, the files of each label.
        labels: Sorted.

    Raises:
        DatasetError: No image of some label can be read, or each of them is under another label, too.
    """
    reader = _Reader(root)
    held_out: list[bool] = []
    for part, groups in parts.items():
        for label, files in enumerate(groups):
            read = sum(reader.read(file, label) for file in files)
            if not read:
                raise DatasetError(f"{root}: none of the {len(files)} images of {labels[label]!r} can be read")
            held_out += [part == "held_out"] * read
    tiles = reader.tiles()
    kept, dropped = _each_once(tiles, held_out)
    for index in range(len(labels)):
        if index not in tiles.labels[kept]:
            raise DatasetError(f"{root}: every image of {labels[index]!r} is under another label, too; expected each under one")
    return Dataset(
        name,
        tuple(labels),
        tiles.take(kept),
        np.array(held_out)[kept] if "held_out" in parts else None,
        repeats,
        tuple(reader.unreadable),
        dropped,
        reader.resized,
    )


class _Reader:
    """Gathers tiles, and the names of what cannot be read."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._providers = (ExifPosition(), FilenamePosition.parse(_NAMED_PLACE))
        self.images: list[NDArray[np.uint8]] = []
        self.labels: list[int] = []
        self.names: list[str] = []
        self.places: list[tuple[float, float]] = []
        self.unreadable: list[str] = []
        self.resized = 0

    def read(self, file: Path, label: int) -> bool:
        """Read an image file; False if it is none."""
        name = file.relative_to(self._root).as_posix()
        try:
            decoded = decode(file.read_bytes(), (TILE_PX, TILE_PX), _MAX_PIXELS)
        except (ImageError, OSError) as error:
            self.unreadable.append(f"{printable(name)}: {one_line(error)}")
            return False
        pixels = decoded.pixels
        self.resized += (decoded.height, decoded.width) != (TILE_PX, TILE_PX)
        # What a file claims to be need not be what is in it.
        if pixels.shape[:2] != (TILE_PX, TILE_PX):
            pixels = np.asarray(cv2.resize(pixels, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA), np.uint8)
        self.images.append(np.ascontiguousarray(pixels[..., ::-1]))
        self.labels.append(label)
        self.names.append(printable(name))
        self.places.append(self._place(name, decoded.exif))
        return True

    def tiles(self) -> Tiles:
        """All that was read."""
        places = np.array(self.places, np.float64)
        return Tiles(np.stack(self.images), np.array(self.labels, np.int32), tuple(self.names), places)

    def _place(self, name: str, exif: Mapping[str, Any]) -> tuple[float, float]:
        """Longitude and latitude by the providers that the device has, too; what is no place is none."""
        frame = Frame(FrameKey("", name, 0, 0), datetime.fromtimestamp(0, UTC), 0, 0, _NO_PIXELS, exif)
        for provider in self._providers:
            with suppress(ValueError):
                fix = provider.locate(frame)
                if fix is not None:
                    return fix.longitude, fix.latitude
        return math.nan, math.nan


def _each_once(tiles: Tiles, held_out: Sequence[bool]) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Which tiles to keep, so that each picture is there once, and the names of the others.

    A picture under two labels teaches nothing, so none of its copies stays. One that a data set gives on both sides of its
    own split stays on both, for the split to refuse.
    """
    copies: dict[bytes, list[int]] = {}
    for index, digest in enumerate(tiles.digests()):
        copies.setdefault(digest, []).append(index)
    kept: list[int] = []
    dropped: list[str] = []
    for indices in copies.values():
        if len({int(tiles.labels[index]) for index in indices}) > 1:
            dropped += [f"{tiles.names[index]} (under two labels)" for index in indices]
            continue
        first = {held_out[index]: index for index in reversed(indices)}
        kept += first.values()
        dropped += [tiles.names[index] for index in indices if index not in first.values()]
    return np.array(sorted(kept), np.intp), tuple(dropped)
