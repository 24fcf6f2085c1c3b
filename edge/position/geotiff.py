"""Elevations from a GeoTIFF (OGC 19-008r4) in degrees of WGS 84, by tifffile: the extra ``terrain``."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from edge.text import one_line

# What is wrong with a file is said once, by the error.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

MAX_LOADED_BYTES = 268_435_456
"""What a grid that cannot be mapped may take of memory."""

_GEOGRAPHIC = 2
_WGS84 = 4326
_PIXEL_IS_POINT = 2
_METRE = 9001
_CONVERT = "convert it: gdalwarp -t_srs EPSG:4326 IN OUT"


def read_geotiff(file: Path) -> tuple[NDArray[np.generic], float, float, tuple[float, float], float]:
    """The grid, its first point's longitude and latitude, its steps to east and south, and the value of a void.

    Raises:
        ValueError: It is no GeoTIFF that can be used.
        OSError: It cannot be read.
    """
    try:
        with tifffile.TiffFile(file) as tiff:
            page = tiff.pages[0]
            tags = dict(page.geotiff_tags)
            void = float(page.nodata) if "GDAL_NODATA" in page.tags else math.nan
            _check_grid(page)
            place = _place(tags)
            grid = _read(file, page)
    except (OSError, ValueError):
        raise
    except Exception as error:
        # Neither the library nor its decompressors promise a closed set of errors for damaged files.
        raise ValueError(f"damaged GeoTIFF: {one_line(error)}") from error
    return grid, *place, void


def _check_grid(page: Any) -> None:
    if page.ndim != 2 or page.dtype is None or page.dtype.kind not in "iuf" or min(page.shape) < 2:
        raise ValueError(f"not one elevation for each point, but {page.dtype} of shape {'x'.join(map(str, page.shape))}")


def _read(file: Path, page: Any) -> NDArray[np.generic]:
    """Mapped where the pixels lie in one piece as they are."""
    if page.is_memmappable:
        return np.asarray(tifffile.memmap(file, page=0, mode="r"))
    size = int(page.size) * page.dtype.itemsize
    if size > MAX_LOADED_BYTES:
        raise ValueError(
            f"compressed, it would take {size // 1_000_000} MB of memory, more than {MAX_LOADED_BYTES // 1_000_000}:"
            " cut out what is needed (gdal_translate -projwin), or write it with -co COMPRESS=NONE -co TILED=NO"
        )
    try:
        return np.asarray(page.asarray())
    except ValueError as error:
        raise ValueError(f"{one_line(error)}: write it with gdal_translate -co COMPRESS=NONE") from error


def _place(tags: dict[str, Any]) -> tuple[float, float, tuple[float, float]]:
    """Longitude and latitude of the first point, and the steps to the next."""
    if int(tags.get("GTModelTypeGeoKey", 0)) != _GEOGRAPHIC:
        raise ValueError(f"its grid is not in degrees of longitude and latitude; {_CONVERT}")
    system = int(tags.get("GeographicTypeGeoKey", 0))
    if system != _WGS84:
        raise ValueError(f"its coordinates are EPSG:{system}, expected EPSG:{_WGS84}; {_CONVERT}")
    unit = int(tags.get("VerticalUnitsGeoKey", _METRE))
    if unit != _METRE:
        raise ValueError(f"its elevations are in the unit EPSG:{unit}, expected metres (EPSG:{_METRE})")
    column, row, west, north, step_x, step_y = _transform(tags)
    if not all(map(math.isfinite, (column, row, west, north, step_x, step_y))) or min(step_x, step_y) <= 0:
        raise ValueError(f"its rows do not go from north to south and its columns from west to east; {_CONVERT}")
    # A pixel is an area unless it says that it is a point: the elevation is that of its middle.
    middle = 0.0 if int(tags.get("GTRasterTypeGeoKey", 1)) == _PIXEL_IS_POINT else 0.5
    west, north = west + (middle - column) * step_x, north - (middle - row) * step_y
    if not (-540 <= west <= 540 and -91 <= north <= 91):
        raise ValueError(f"its corner {north:.6g}, {west:.6g} is not on Earth")
    return west, north, (step_x, step_y)


def _transform(tags: dict[str, Any]) -> tuple[float, float, float, float, float, float]:
    """A column and row with its longitude and latitude, and the steps."""
    if "ModelTransformation" in tags:
        matrix = np.asarray(tags["ModelTransformation"], np.float64).reshape(4, 4)
        if matrix[0, 1] or matrix[1, 0]:
            raise ValueError(f"its grid is turned; {_CONVERT}")
        return 0.0, 0.0, float(matrix[0, 3]), float(matrix[1, 3]), float(matrix[0, 0]), float(-matrix[1, 1])
    scale, tie = tags.get("ModelPixelScale"), tags.get("ModelTiepoint")
    if scale is None or tie is None or len(scale) < 2 or len(tie) < 6:
        raise ValueError("it does not say where it is: ModelPixelScale and ModelTiepoint, or ModelTransformation, are missing")
    return float(tie[0]), float(tie[1]), float(tie[3]), float(tie[4]), float(scale[0]), float(scale[1])
