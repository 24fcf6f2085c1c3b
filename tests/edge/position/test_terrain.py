"""Elevation files that are made here: HGT by hand, GeoTIFF by tifffile."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.position.terrain import Terrain

SIDE = 1201
VOID = -32768

# GeoKeys (OGC 19-008r4): how many there are, then key, where its value lies, count, value.
GEOGRAPHIC, WGS84, METRES = (1024, 0, 1, 2), (2048, 0, 1, 4326), (4099, 0, 1, 9001)
PIXEL_IS_AREA, PIXEL_IS_POINT = (1025, 0, 1, 1), (1025, 0, 1, 2)


def hgt(folder: Path, change: Callable[[np.ndarray], None] | None = None, name: str = "N46W092.hgt") -> Path:
    """A tile that rises by a metre a row to the south and by two metres a column to the east."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    grid = (rows + 2 * columns).astype(">i2")
    if change is not None:
        change(grid)
    file = folder / name
    grid.tofile(file)
    return file


def geotiff(folder: Path, grid: np.ndarray, *keys: tuple[int, ...], **options: Any) -> Path:
    """A GeoTIFF whose upper left corner is 10° east, 47° north, with steps of a hundredth of a degree."""
    place = options.pop("place", [(33550, "d", 3, (0.01, 0.01, 0.0)), (33922, "d", 6, (0.0, 0.0, 0.0, 10.0, 47.0, 0.0))])
    directory = [1, 1, 0, len(keys), *(value for key in keys for value in key)]
    tags = [*place, (34735, "H", len(directory), tuple(directory)), *options.pop("tags", [])]
    file = folder / "ground.tif"
    tifffile.imwrite(file, grid, extratags=[(code, kind, count, value, True) for code, kind, count, value in tags], **options)
    return file


def slope(dtype: str = "int16") -> np.ndarray:
    rows, columns = np.mgrid[0:30, 0:40]
    return (rows + 2 * columns).astype(dtype)


# HGT


def test_a_point_of_the_grid_has_its_own_elevation(tmp_path: Path) -> None:
    terrain = Terrain.open(hgt(tmp_path))

    assert terrain.elevation_m(47.0, -92.0) == 0
    assert terrain.elevation_m(46.0, -92.0) == 1200
    assert terrain.elevation_m(46.0, -91.0) == 3600
    assert terrain.elevation_m(47 - 3 / 1200, -92 + 5 / 1200) == pytest.approx(13)


@settings(max_examples=100, deadline=None)
@given(south=st.floats(0, 1), east=st.floats(0, 1))
def test_between_points_the_elevation_follows_the_slope(
    tmp_path_factory: pytest.TempPathFactory, south: float, east: float
) -> None:
    file = tmp_path_factory.getbasetemp() / "N46W092.hgt"
    terrain = Terrain.open(file if file.exists() else hgt(file.parent))

    assert terrain.elevation_m(47 - south, -92 + east) == pytest.approx(1200 * south + 2400 * east, abs=0.01)


@pytest.mark.parametrize(("latitude", "longitude"), [(47.1, -91.5), (45.9, -91.5), (46.5, -92.1), (46.5, -90.9), (46.5, 91.5)])
def test_outside_of_the_file_nothing_is_known(tmp_path: Path, latitude: float, longitude: float) -> None:
    assert Terrain.open(hgt(tmp_path)).elevation_m(latitude, longitude) is None


def test_beside_a_void_nothing_is_known_but_at_its_neighbours(tmp_path: Path) -> None:
    def dig(grid: np.ndarray) -> None:
        grid[600, 600] = VOID

    terrain = Terrain.open(hgt(tmp_path, dig))
    point = 1 / 1200

    assert terrain.elevation_m(46.5, -91.5) is None
    assert terrain.elevation_m(46.5 + 0.5 * point, -91.5 + 0.5 * point) is None
    assert terrain.elevation_m(46.5 + point, -91.5) == pytest.approx(599 + 1200)


def test_southern_and_western_tiles_are_named_by_their_corner(tmp_path: Path) -> None:
    terrain = Terrain.open(hgt(tmp_path, name="S36E149.hgt"))

    assert terrain.elevation_m(-35.0, 149.0) == 0
    assert terrain.elevation_m(-36.0, 150.0) == 3600


def test_a_tile_at_the_date_line_is_found_from_both_of_its_names(tmp_path: Path) -> None:
    terrain = Terrain.open(hgt(tmp_path, name="S17E179.hgt"))

    assert terrain.elevation_m(-16.0, 180.0) == 2400
    assert terrain.elevation_m(-16.0, -180.0) == 2400
    assert terrain.elevation_m(-16.0, -179.9) is None


def test_the_range_around_a_place_is_that_of_its_surroundings(tmp_path: Path) -> None:
    terrain = Terrain.open(hgt(tmp_path))
    low, high = terrain.range_m(46.5, -91.5, (10 / 1200, 10 / 1200)) or (math.nan, math.nan)

    assert (low, high) == (1800 - 30, 1800 + 30)
    assert terrain.range_m(10.0, 10.0, (0.1, 0.1)) is None


def test_the_range_of_a_place_between_points_is_that_of_the_points_around_it(tmp_path: Path) -> None:
    point = 1 / 1200

    assert Terrain.open(hgt(tmp_path)).range_m(46.5 - 0.5 * point, -91.5 + 0.5 * point, (0.1 * point, 0.1 * point)) == (
        1800,
        1803,
    )


def test_a_file_of_voids_has_no_range(tmp_path: Path) -> None:
    terrain = Terrain.open(hgt(tmp_path, lambda grid: grid.fill(VOID)))

    assert terrain.range_m(46.5, -91.5, (0.1, 0.1)) is None


@pytest.mark.parametrize(
    ("name", "size", "reason"),
    [
        ("ground.hgt", 2 * SIDE * SIDE, "expected one such as N46W092.hgt"),
        ("N95W092.hgt", 2 * SIDE * SIDE, "not on Earth"),
        ("N46W092.hgt", 2 * SIDE * SIDE - 2, "2884800 bytes, expected 2884802"),
        ("N46W092.hgt", 0, "0 bytes, expected"),
        ("N46W092.asc", 100, "expected a file ending in .hgt, .tif, .tiff"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_refused_in_one_line(tmp_path: Path, name: str, size: int, reason: str) -> None:
    (tmp_path / name).write_bytes(bytes(size))

    with pytest.raises(ValueError, match=reason) as caught:
        Terrain.open(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for name in ("N46W092.hgt", "ground.tif"):
        with pytest.raises(ValueError, match="No such file"):
            Terrain.open(tmp_path / name)


# GeoTIFF


@pytest.mark.parametrize("dtype", ["int16", "float32", "float64", "uint16"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}])
def test_a_geotiff_has_the_elevation_of_the_middle_of_its_pixels(tmp_path: Path, dtype: str, options: dict[str, Any]) -> None:
    terrain = Terrain.open(geotiff(tmp_path, slope(dtype), GEOGRAPHIC, PIXEL_IS_AREA, WGS84, METRES, **options))

    assert terrain.elevation_m(47 - 0.005, 10 + 0.005) == pytest.approx(0, abs=1e-6)
    assert terrain.elevation_m(47 - 0.105, 10 + 0.205) == pytest.approx(10 + 40, abs=1e-6)
    assert terrain.elevation_m(47 - 0.11, 10 + 0.21) == pytest.approx(10.5 + 41, abs=1e-6)
    assert terrain.elevation_m(47.0, 10.0) is None


def test_pixels_that_are_points_lie_at_their_corner(tmp_path: Path) -> None:
    terrain = Terrain.open(geotiff(tmp_path, slope(), GEOGRAPHIC, PIXEL_IS_POINT, WGS84))

    assert terrain.elevation_m(47.0, 10.0) == 0
    assert terrain.elevation_m(46.9, 10.2) == pytest.approx(50)


def test_a_transformation_says_the_same_as_scale_and_tie_point(tmp_path: Path) -> None:
    matrix = (0.01, 0, 0, 10.0, 0, -0.01, 0, 47.0, 0, 0, 0, 0, 0, 0, 0, 1)
    file = geotiff(tmp_path, slope(), GEOGRAPHIC, WGS84, place=[(34264, "d", 16, matrix)])

    assert Terrain.open(file).elevation_m(47 - 0.105, 10 + 0.205) == pytest.approx(50)


@pytest.mark.parametrize(("dtype", "void"), [("int16", "-9999"), ("float32", "nan"), ("float32", "-3.4028234663852886e+38")])
def test_a_void_by_any_number_is_unknown(tmp_path: Path, dtype: str, void: str) -> None:
    grid = slope(dtype)
    grid[10, 20] = float(void)
    text = (42113, "s", len(void) + 1, void)
    terrain = Terrain.open(geotiff(tmp_path, grid, GEOGRAPHIC, WGS84, tags=[text]))

    assert terrain.elevation_m(47 - 0.105, 10 + 0.205) is None
    assert terrain.elevation_m(47 - 0.115, 10 + 0.205) == pytest.approx(51)


TURNED = [(34264, "d", 16, (0.01, 0.001, 0, 10.0, 0.001, -0.01, 0, 47.0, 0, 0, 0, 0, 0, 0, 0, 1))]
UPSIDE_DOWN = [(34264, "d", 16, (0.01, 0, 0, 10.0, 0, 0.01, 0, 47.0, 0, 0, 0, 0, 0, 0, 0, 1))]


@pytest.mark.parametrize(
    ("keys", "options", "reason"),
    [
        (((1024, 0, 1, 1), (3072, 0, 1, 32632)), {}, "gdalwarp -t_srs EPSG:4326"),
        ((GEOGRAPHIC, (2048, 0, 1, 4267)), {}, "EPSG:4267, expected EPSG:4326"),
        ((GEOGRAPHIC, WGS84, (4099, 0, 1, 9003)), {}, "unit EPSG:9003, expected metres"),
        ((GEOGRAPHIC, WGS84), {"place": TURNED}, "turned"),
        ((GEOGRAPHIC, WGS84), {"place": UPSIDE_DOWN}, "north to south"),
        ((GEOGRAPHIC, WGS84), {"place": []}, "does not say where it is"),
        ((), {}, "not in degrees"),
    ],
)
def test_a_geotiff_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, keys: tuple[tuple[int, ...], ...], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        Terrain.open(geotiff(tmp_path, slope(), *keys, **options))
    assert "\n" not in str(caught.value)


def test_a_picture_is_no_elevation(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not one elevation for each point"):
        Terrain.open(geotiff(tmp_path, np.zeros((30, 40, 3), np.uint8), GEOGRAPHIC, WGS84))


def test_a_compression_that_cannot_be_read_says_how_to_do_without(tmp_path: Path) -> None:
    file = geotiff(tmp_path, slope(), GEOGRAPHIC, WGS84, compression="zlib")
    with tifffile.TiffFile(file) as tiff:
        at = tiff.pages[0].tags["Compression"].valueoffset
    content = bytearray(file.read_bytes())
    content[at : at + 2] = (34887).to_bytes(2, "little")  # LERC
    file.write_bytes(content)

    with pytest.raises(ValueError, match="COMPRESS=NONE"):
        Terrain.open(file)


def test_a_file_that_claims_more_than_memory_holds_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = geotiff(tmp_path, np.zeros((64, 64), np.int16), GEOGRAPHIC, WGS84, compression="zlib")
    with tifffile.TiffFile(file) as tiff:
        offsets = [tiff.pages[0].tags[name].valueoffset for name in ("ImageWidth", "ImageLength")]
        sizes = [tiff.pages[0].tags[name].dtype for name in ("ImageWidth", "ImageLength")]
    content = bytearray(file.read_bytes())
    for at, kind in zip(offsets, sizes, strict=True):
        width = 2 if kind == tifffile.DATATYPE.SHORT else 4
        content[at : at + width] = (60_000).to_bytes(width, "little")
    file.write_bytes(content)

    with pytest.raises(ValueError, match="7200 MB of memory"):
        Terrain.open(file)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_damage_to_a_geotiff_is_refused_with_a_reason_or_does_no_harm(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    file = geotiff(folder, slope(), GEOGRAPHIC, PIXEL_IS_AREA, WGS84, compression=data.draw(st.sampled_from([None, "zlib"])))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        # The header, the directory, and now and then the pixels.
        at = data.draw(st.integers(0, min(len(content), 600) - 1))
        content[at] = data.draw(st.integers(0, 255))
    file.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])

    try:
        elevation_m = Terrain.open(file).elevation_m(46.9, 10.2)
    except ValueError as error:
        assert str(error).isprintable()
    else:
        assert elevation_m is None or -12_000 <= elevation_m <= 9_000
