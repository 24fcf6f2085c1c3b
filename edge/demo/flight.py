"""Flies over a rendered town, line by line, and writes the photos that a drone would: JPEG with GPS position in EXIF."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np

from edge.demo.town import BLOCK_M, BLOCK_PX, GROUND_SAMPLE_DISTANCE_M, Image, Town

# The town lies in the middle of the Atlantic, where nobody can take it for a real one.
_NORTH_WEST = (30.0, -40.0)
_ALTITUDE_M = 120.0
_PHOTO_S = 0.5
_JITTER_M = 2.0
_METRES_A_DEGREE = 111_320.0
_GPS, _EXIF = 0x8825, 0x8769


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo of one block.

    Attributes:
        name: File name.
        damaged: Whether the block lies in ruins.
    """

    name: str
    damaged: bool
    latitude: float
    longitude: float


def fly(town: Town, folder: Path, seed: int) -> list[Photo]:
    """Photograph every block, there and back in lines as a survey flies, with the unsteadiness of a drone.

    Args:
        folder: Where the JPEG files go.

    Returns:
        The photos in the order in which they were taken, which is that of their names.
    """
    rng = np.random.default_rng(seed)
    rows, columns = town.damaged.shape
    taken_at = datetime.now(UTC) - timedelta(seconds=rows * columns * _PHOTO_S)
    photos: list[Photo] = []
    for row in range(rows):
        for column in range(columns) if row % 2 == 0 else reversed(range(columns)):
            east_m, north_m = rng.normal(0.0, _JITTER_M, 2)
            left, pixels = _look(town.image, column, east_m, axis=1)
            top, pixels = _look(pixels, row, -north_m, axis=0)
            latitude, longitude = _place(left, top)
            photo = Photo(f"DEMO_{len(photos) + 1:04}.JPG", bool(town.damaged[row, column]), latitude, longitude)
            _write(pixels, folder / photo.name, photo, taken_at + timedelta(seconds=len(photos) * _PHOTO_S))
            photos.append(photo)
    return photos


def _look(image: Image, block: int, offset_m: float, axis: int) -> tuple[int, Image]:
    """The block's pixels along one axis, moved by an offset and kept inside the picture."""
    start = round(block * BLOCK_PX + offset_m / GROUND_SAMPLE_DISTANCE_M)
    start = min(max(start, 0), image.shape[axis] - BLOCK_PX)
    return start, image.take(range(start, start + BLOCK_PX), axis=axis)


def _place(left: int, top: int) -> tuple[float, float]:
    """Latitude and longitude of a photo's centre; the earth is flat over a town."""
    latitude = _NORTH_WEST[0] - (top * GROUND_SAMPLE_DISTANCE_M + BLOCK_M / 2) / _METRES_A_DEGREE
    east = (left * GROUND_SAMPLE_DISTANCE_M + BLOCK_M / 2) / (_METRES_A_DEGREE * math.cos(math.radians(_NORTH_WEST[0])))
    return latitude, _NORTH_WEST[1] + east


def _write(pixels: Image, path: Path, photo: Photo, taken_at: datetime) -> None:
    from PIL import Image as Pillow

    exif = Pillow.Exif()
    exif[0x010F], exif[0x0110] = "Overflight", "rendered flight"
    clock = taken_at.second + Fraction(taken_at.microsecond // 1000, 1000)
    exif.get_ifd(_EXIF).update({0x9003: taken_at.strftime("%Y:%m:%d %H:%M:%S"), 0x9011: "+00:00"})
    exif.get_ifd(_GPS).update(
        {
            1: "N" if photo.latitude >= 0 else "S",
            2: _sexagesimal(abs(photo.latitude)),
            3: "E" if photo.longitude >= 0 else "W",
            4: _sexagesimal(abs(photo.longitude)),
            5: b"\0",
            6: Fraction(_ALTITUDE_M),
            7: (Fraction(taken_at.hour), Fraction(taken_at.minute), clock),
            29: taken_at.strftime("%Y:%m:%d"),
        }
    )
    Pillow.fromarray(pixels[..., ::-1]).save(path, "JPEG", quality=90, exif=exif)


def _sexagesimal(angle: float) -> tuple[Fraction, Fraction, Fraction]:
    """Degrees, minutes and seconds; a ten-thousandth of a second is 3 mm."""
    seconds = Fraction(round(angle * 36_000_000), 10_000)
    minutes, seconds = divmod(seconds, 60)
    degrees, minutes = divmod(minutes, 60)
    return Fraction(degrees), Fraction(minutes), seconds
