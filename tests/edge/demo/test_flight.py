"""The rendered flight: photos that say by EXIF where and when they were taken, as those of a drone do."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.capture.files import key_of, read_frame
from edge.capture.image import Decoded, decode
from edge.capture.times import CaptureTimes
from edge.config import CaptureConfig
from edge.demo.flight import Photo, fly
from edge.demo.town import BLOCK_PX, GROUND_SAMPLE_DISTANCE_M, Town, render_town
from edge.exif_time import capture_time
from edge.position.exif import ExifPosition
from edge.records import Fix

SERVE_PX = (128, 128)
METRES_A_DEGREE = 111_320.0


@pytest.fixture(scope="module")
def town() -> Town:
    return render_town(11, 3, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flight")


@pytest.fixture(scope="module")
def photos(town: Town, folder: Path) -> list[Photo]:
    return fly(town, folder, seed=7)


def read(file: Path) -> Decoded:
    return decode(file.read_bytes(), SERVE_PX, 10_000_000)


def fix_of(file: Path) -> Fix:
    key = key_of(str(file), str(file.parent), file.stat())
    fix = ExifPosition().locate(read_frame(str(file), key, CaptureConfig(), CaptureTimes()).frame)
    assert fix is not None
    return fix


def test_every_block_is_photographed_once_and_its_truth_is_kept(town: Town, folder: Path, photos: list[Photo]) -> None:
    assert len(photos) == town.damaged.size
    assert sum(photo.damaged for photo in photos) == town.damaged.sum()
    assert {file.name for file in folder.iterdir()} == {photo.name for photo in photos}


def test_photos_are_given_in_the_order_of_their_names(photos: list[Photo]) -> None:
    assert [photo.name for photo in photos] == sorted(photo.name for photo in photos)


def test_lines_are_flown_there_and_back(town: Town, photos: list[Photo]) -> None:
    rows, columns = town.damaged.shape
    lines = [photos[row * columns : (row + 1) * columns] for row in range(rows)]
    for row, line in enumerate(lines):
        longitudes = [photo.longitude for photo in line]
        assert longitudes == sorted(longitudes, reverse=row % 2 == 1)
        truth = town.damaged[row] if row % 2 == 0 else town.damaged[row, ::-1]
        assert [photo.damaged for photo in line] == truth.tolist()
    latitudes = [np.mean([photo.latitude for photo in line]) for line in lines]
    assert latitudes == sorted(latitudes, reverse=True)


def test_position_in_the_exif_is_that_of_the_photo(folder: Path, photos: list[Photo]) -> None:
    for photo in photos:
        fix = fix_of(folder / photo.name)
        assert fix.latitude == pytest.approx(photo.latitude, abs=1e-7)
        assert fix.longitude == pytest.approx(photo.longitude, abs=1e-7)
        assert fix.altitude_m == pytest.approx(120)


def test_neighbours_lie_a_block_apart(photos: list[Photo]) -> None:
    block_m = BLOCK_PX * GROUND_SAMPLE_DISTANCE_M
    for one, other in pairwise(photos[:4]):
        shrinks = math.cos(math.radians(one.latitude))
        east_m = (other.longitude - one.longitude) * METRES_A_DEGREE * shrinks
        north_m = (other.latitude - one.latitude) * METRES_A_DEGREE
        # A drone is unsteady by two metres in each direction; five times that never happens.
        assert math.hypot(east_m - block_m, north_m) < 20


def test_photo_shows_the_place_that_it_names(town: Town, folder: Path, photos: list[Photo]) -> None:
    def seen_at(photo: Photo) -> tuple[int, int]:
        """Where in the picture of the town the photo is found."""
        match = cv2.matchTemplate(town.image, cv2.imread(str(folder / photo.name)), cv2.TM_CCOEFF_NORMED)
        _, score, _, (left, top) = cv2.minMaxLoc(match)
        assert score > 0.9
        return left, top

    first = photos[0]
    first_left, first_top = seen_at(first)
    for photo in photos[1:]:
        left, top = seen_at(photo)
        east_m = (photo.longitude - first.longitude) * METRES_A_DEGREE * math.cos(math.radians(30))
        south_m = (first.latitude - photo.latitude) * METRES_A_DEGREE
        # Half a pixel is 12 cm.
        assert (left - first_left) * GROUND_SAMPLE_DISTANCE_M == pytest.approx(east_m, abs=0.12)
        assert (top - first_top) * GROUND_SAMPLE_DISTANCE_M == pytest.approx(south_m, abs=0.12)


def test_photos_are_jpegs_of_one_block(folder: Path, photos: list[Photo]) -> None:
    for photo in photos:
        content = (folder / photo.name).read_bytes()
        assert content.startswith(b"\xff\xd8")
        decoded = decode(content, SERVE_PX, 10_000_000)
        assert (decoded.width, decoded.height) == (BLOCK_PX, BLOCK_PX)


def test_capture_times_increase_and_lie_just_behind_us(folder: Path, photos: list[Photo]) -> None:
    times = [capture_time(read(folder / photo.name).exif) for photo in photos]
    known = [time for time in times if time is not None]
    assert len(known) == len(photos)
    assert all(earlier < later for earlier, later in pairwise(known))
    assert datetime.now(UTC) - timedelta(minutes=5) < known[0]
    assert known[-1] <= datetime.now(UTC)


def test_original_time_says_the_same_as_the_gps_clock(folder: Path, photos: list[Photo]) -> None:
    exif = read(folder / photos[0].name).exif
    gps = capture_time(exif)
    camera = capture_time({name: tag for name, tag in exif.items() if not name.startswith("GPS ")})
    assert gps is not None
    assert camera is not None
    assert timedelta(0) <= gps - camera < timedelta(seconds=1)


def test_same_seed_flies_the_same_way(town: Town, tmp_path: Path, photos: list[Photo]) -> None:
    (tmp_path / "again").mkdir()
    (tmp_path / "other").mkdir()
    assert fly(town, tmp_path / "again", seed=7) == photos
    assert fly(town, tmp_path / "other", seed=8) != photos
