"""How high the ground is, from a local elevation file: HGT, as SRTM comes, or GeoTIFF.

An elevation file is part of the configuration: what is wrong with it is said when it is opened, in one line. It is mapped and
not loaded where its format lets it, since a tile of SRTM has 26 MB.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_HGT_NAME = re.compile(r"([NS])(\d{2})([EW])(\d{3})", re.ASCII | re.IGNORECASE)
_HGT_SIDES = (1201, 3601)
# The Dead Sea trench and Everest; what lies beyond is a void by another number.
_RANGE_M = (-12_000.0, 9_000.0)
# A point of the grid is met that is missed by so little of a step.
_SAME = 1e-6
# A range is looked up in no more than so many rows and columns.
_RANGE_SAMPLES = 200


class Terrain:
    """A grid of elevations above mean sea level: rows from north to south, columns from west to east."""

    def __init__(self, grid: NDArray[np.generic], west: float, north: float, step: tuple[float, float], void: float) -> None:
        """
        Args:
            grid: Metres; may be mapped from a file.
            west: Longitude of the first column's points, degrees; north: latitude of the first row's.
            step: Degrees from column to column, and from row to row.
            void: The value of points whose elevation is unknown; values that are not finite are, too.
        """
        self._grid = grid
        self._west, self._north = west, north
        self._step_x, self._step_y = step
        self._void = void

    @classmethod
    def open(cls, path: str | Path) -> Terrain:
        """Open an elevation file.

        Raises:
            ValueError: It is none that can be used; the message is the reason, in one line.
        """
        readers: dict[str, Callable[[Path], Terrain]] = {".hgt": _open_hgt, ".tif": _open_geotiff, ".tiff": _open_geotiff}
        file = Path(path)
        reader = readers.get(file.suffix.lower())
        if reader is None:
            raise ValueError(f"expected a file ending in {', '.join(readers)}")
        try:
            return reader(file)
        except OSError as error:
            raise ValueError(error.strerror or "cannot be read") from error

    def elevation_m(self, latitude: float, longitude: float) -> float | None:
        """Between the four points around, by bilinear interpolation; None outside, or where one of them is void."""
        elevation_m = float(self.elevations_m(np.array([latitude]), np.array([longitude]))[0])
        return None if np.isnan(elevation_m) else elevation_m

    def elevations_m(self, latitudes: Values, longitudes: Values) -> Values:
        """The same for many places at once; not a number stands for None."""
        rows, columns = self._grid.shape
        x, y = self._at(latitudes, longitudes)
        with np.errstate(invalid="ignore"):
            inside = (x >= 0) & (x <= columns - 1) & (y >= 0) & (y <= rows - 1)
        x, y = np.where(inside, x, 0.0), np.where(inside, y, 0.0)
        left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
        right, bottom = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
        # A neighbour that has no weight may be void.
        to_right, to_bottom = x - left, y - top
        right, bottom = np.where(to_right > 0, right, left), np.where(to_bottom > 0, bottom, top)
        above = self._values(top, left) * (1 - to_right) + self._values(top, right) * to_right
        below = self._values(bottom, left) * (1 - to_right) + self._values(bottom, right) * to_right
        return np.where(inside, above * (1 - to_bottom) + below * to_bottom, np.nan)

    def range_m(self, latitude: float, longitude: float, reach_deg: tuple[float, float]) -> tuple[float, float] | None:
        """The lowest and the highest point of the grid around a place, at least of its cell; None where all is void.

        Args:
            reach_deg: Degrees of latitude, and of longitude, that the surroundings reach to each side.
        """
        rows, columns = self._grid.shape
        (x,), (y,) = self._at(np.array([latitude]), np.array([longitude]))
        reach_x, reach_y = reach_deg[1] / self._step_x, reach_deg[0] / self._step_y
        if x + reach_x < 0 or y + reach_y < 0 or x - reach_x > columns - 1 or y - reach_y > rows - 1:
            return None
        picked = []
        for at, reach, count in ((y, reach_y, rows), (x, reach_x, columns)):
            first, last = math.floor(at - reach + _SAME), math.ceil(at + reach - _SAME)
            samples = np.linspace(max(first, 0), min(last, count - 1), _RANGE_SAMPLES)
            picked.append(np.unique(samples.astype(np.intp)))
        around = self._values(picked[0][:, None], picked[1][None, :])
        known = around[np.isfinite(around)]
        return (float(known.min()), float(known.max())) if known.size else None

    def _at(self, latitudes: Values, longitudes: Values) -> tuple[Values, Values]:
        """Column and row of places, with fractions. Places on the edge count as inside, whatever the last digit."""
        east = np.mod(np.asarray(longitudes, np.float64) - self._west, 360.0)
        # What is just west of the grid, and not nearly all around the Earth to the east of it.
        x = np.where(east > 360 - self._step_x, east - 360, east) / self._step_x
        y = (self._north - np.asarray(latitudes, np.float64)) / self._step_y
        return _snapped(x), _snapped(y)

    def _values(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Values:
        values = np.asarray(self._grid[rows, columns], np.float64)
        with np.errstate(invalid="ignore"):
            known = (values != self._void) & (values >= _RANGE_M[0]) & (values <= _RANGE_M[1])
        return np.where(known, values, np.nan)


def _snapped(values: Values) -> Values:
    """Points of the grid are met exactly, which spares their neighbours, and the edge."""
    nearest = np.round(values)
    return np.where(np.abs(values - nearest) < _SAME, nearest, values)


def _open_hgt(file: Path) -> Terrain:
    """SRTM's format (USGS, SRTM topography, section 2.1.2): big-endian metres, named by the south-west corner."""
    name = _HGT_NAME.match(file.name)
    if name is None:
        raise ValueError("the name of an .hgt file says where it is: expected one such as N46W092.hgt")
    south = int(name[2]) * (1 if name[1].upper() == "N" else -1)
    west = int(name[4]) * (1 if name[3].upper() == "E" else -1)
    if not (-90 <= south < 90 and -180 <= west < 180):
        raise ValueError(f"{name[0]} is not on Earth")
    size = os.stat(file).st_size
    side = next((side for side in _HGT_SIDES if size == 2 * side * side), None)
    if side is None:
        raise ValueError(f"{size} bytes, expected {' or '.join(f'{2 * side * side} ({side} x {side})' for side in _HGT_SIDES)}")
    grid = np.memmap(file, ">i2", "r", shape=(side, side))
    return Terrain(grid, west, south + 1, (1 / (side - 1), 1 / (side - 1)), -32_768.0)


def _open_geotiff(file: Path) -> Terrain:
    try:
        from edge.position.geotiff import read_geotiff
    except ImportError as error:
        raise ValueError("GeoTIFF needs tifffile: pip install 'overflight[terrain]'; HGT files do not") from error
    return Terrain(*read_geotiff(file))
