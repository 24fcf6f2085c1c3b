"""Where footprints put the same ground: ``python -m bench.footprints --data ../shared/data``, or ``make bench-footprints``.

Features of one photo are found again in those that overlap it, and each is placed by the footprint of either photo. Nobody has
surveyed them, but both photos show the same ground, so the distance between its two places is what position, height, angles and
lens are off together. Beside it stands what position alone gives: the two places are then those of the aircraft.
"""

from __future__ import annotations

import argparse
import calendar
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import exifread
import numpy as np
from numpy.typing import NDArray

from bench.machine import describe_machine
from edge.capture.xmp import read_xmp
from edge.config import CameraConfig, ConfigError, PositionConfig
from edge.position import Locator
from edge.position.exif import ExifPosition
from edge.position.footprint import View, view_of
from edge.position.geodesy import distance_m
from edge.records import Fix, Frame, FrameKey

FLOOR_M = 6.0
"""Median distance that drone-photos may not exceed."""

# The camera of the flight: a Pi camera 2, whose maker states this angle for its whole width.
_PI_CAMERA = CameraConfig(horizontal_fov_deg=62.2)
# Photos that are darker on average, of 255, show their features only after their contrast was evened out.
_DARK = 80
_RATIO = 0.75
_TOLERANCE_PX = 6.0
_LEAST_MATCHES = 20
# Smaller, leaves and grass look the same in two photos; larger, they do not.
_MATCHING_WIDTH_PX = 1000
_SUFFIXES = frozenset({".jpg", ".jpeg"})


class UnusableError(Exception):
    """Nothing can be measured with these photos; the message is the reason, in one line."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo with what is known of it.

    Attributes:
        pixels: Grey, for matching.
        scale: Pixels as encoded for one of those.
    """

    frame: Frame
    fix: Fix
    view: View
    pixels: NDArray[np.uint8]
    scale: float


@dataclass(frozen=True, slots=True)
class Pair:
    """How far apart two photos put the same ground.

    Attributes:
        apart_m: For each matched feature.
        aircraft_m: Between the two aircraft.
        away_m: From the aircraft to the ground, median.
    """

    names: tuple[str, str]
    apart_m: tuple[float, ...]
    aircraft_m: float
    away_m: float


def drone_photos(folder: Path) -> list[Photo]:
    """Photos with everything in EXIF and XMP.

    Raises:
        UnusableError: There are none, or one of them lacks something.
    """
    photos = []
    for file in _files(folder):
        content = file.read_bytes()
        with file.open("rb") as opened:
            exif = exifread.process_file(opened, details=False)
        photos.append(_photo(_frame(file, exif, read_xmp(content)), None, CameraConfig(), file))
    return photos


def flight_photos(folder: Path) -> list[Photo]:
    """Photos that are named by their time, with position and attitude from the autopilot's log.

    Raises:
        UnusableError: There are none, or one of them lacks something.
        ConfigError: The log cannot be read.
    """
    files = _files(folder)
    locator = Locator.from_config(PositionConfig(sources=[f"mavlink:{folder / 'flight.tlog'}"]))
    photos = []
    for file in files:
        frame = _frame(file, {}, {})
        photos.append(_photo(frame, locator.locate(frame), _PI_CAMERA, file))
    return photos


def _files(folder: Path) -> list[Path]:
    found = sorted(file for file in folder.glob("*") if file.suffix.lower() in _SUFFIXES)
    if not found:
        raise UnusableError(f"{folder}: no photos, expected files ending in {' or '.join(sorted(_SUFFIXES))}")
    return found


def _frame(file: Path, exif: dict[str, object], xmp: dict[str, str]) -> Frame:
    pixels = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise UnusableError(f"{file}: not an image")
    name = file.stem
    is_time = name[:16].isdigit()
    seconds = calendar.timegm(time.strptime(name[:14], "%Y%m%d%H%M%S")) + int(name[14:16]) / 100 if is_time else 0.0
    height, width = pixels.shape
    moment = datetime.fromtimestamp(seconds, UTC)
    return Frame(FrameKey(str(file.parent), file.name, 1, 1), moment, width, height, np.asarray(pixels), exif, xmp)


def _photo(frame: Frame, fix: Fix | None, config: CameraConfig, file: Path) -> Photo:
    try:
        known = fix or ExifPosition().locate(frame)
    except ValueError as error:
        raise UnusableError(f"{file}: {error}") from error
    view = None if known is None else view_of(frame, known, config)
    if known is None or view is None:
        raise UnusableError(f"{file}: position, height, angles or lens are not known")
    scale = max(frame.width / _MATCHING_WIDTH_PX, 1.0)
    size = round(frame.width / scale), round(frame.height / scale)
    grey = cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA)
    if grey.mean() < _DARK:
        grey = cv2.createCLAHE(4.0, (16, 16)).apply(grey)
    return Photo(frame, known, view, np.asarray(grey, np.uint8), scale)


def compare(photos: Sequence[Photo]) -> list[Pair]:
    """All pairs of photos that overlap.

    Raises:
        UnusableError: None do.
    """
    sift, matcher = cv2.SIFT_create(8000), cv2.BFMatcher()
    features = [sift.detectAndCompute(photo.pixels, None) for photo in photos]
    pairs = []
    for first, second in itertools.combinations(range(len(photos)), 2):
        (points, words), (other_points, other_words) = features[first], features[second]
        if min(len(points), len(other_points)) < _LEAST_MATCHES:
            continue
        candidates = matcher.knnMatch(words, other_words, k=2)
        good = [best for best, next_best in candidates if best.distance < _RATIO * next_best.distance]
        if len(good) < _LEAST_MATCHES:
            continue
        here = np.array([points[match.queryIdx].pt for match in good])
        there = np.array([other_points[match.trainIdx].pt for match in good])
        cv2.setRNGSeed(1)
        _, agree = cv2.findHomography(here, there, cv2.RANSAC, _TOLERANCE_PX)
        chosen = np.flatnonzero(agree) if agree is not None else np.array([], int)
        if len(chosen) >= _LEAST_MATCHES:
            pairs.append(_pair(photos[first], photos[second], here[chosen], there[chosen]))
    if not pairs:
        raise UnusableError(f"no two of {len(photos)} photos show the same ground")
    return pairs


def _pair(one: Photo, other: Photo, here: NDArray[np.float64], there: NDArray[np.float64]) -> Pair:
    apart_m, away_m = [], []
    for point, other_point in zip(here, there, strict=True):
        # OpenCV counts from the middle of the first pixel.
        place = one.view.at(*((point + 0.5) * one.scale))
        other_place = other.view.at(*((other_point + 0.5) * other.scale))
        if place is not None and other_place is not None:
            apart_m.append(distance_m(*place, *other_place))
            away_m.append(distance_m(*place, one.fix.latitude, one.fix.longitude))
    aircraft_m = distance_m(one.fix.latitude, one.fix.longitude, other.fix.latitude, other.fix.longitude)
    names = one.frame.key.name, other.frame.key.name
    return Pair(names, tuple(apart_m), aircraft_m, float(np.median(away_m)))


def _print(title: str, photos: Sequence[Photo], pairs: Sequence[Pair]) -> float:
    """A table of the pairs that follow each other, and of all; the median over all matched features."""
    print(f"\n{title}: {len(photos)} photos, {len(pairs)} pairs that overlap\n")
    print("| pair | features | apart by footprint | apart by position alone | from aircraft to feature |")
    print("| --- | ---: | ---: | ---: | ---: |")
    names = [photo.frame.key.name for photo in photos]
    for pair in (pair for pair in pairs if pair.names in itertools.pairwise(names)):
        apart_m = f"{np.median(pair.apart_m):.2f} m | {pair.aircraft_m:.2f} m | {pair.away_m:.1f} m |"
        print(f"| {pair.names[0]} – {pair.names[1]} | {len(pair.apart_m)} | {apart_m}")
    counts = [len(pair.apart_m) for pair in pairs]
    apart_m = float(np.median(np.concatenate([pair.apart_m for pair in pairs])))
    aircraft_m = float(np.median(np.repeat([pair.aircraft_m for pair in pairs], counts)))
    away_m = float(np.median(np.repeat([pair.away_m for pair in pairs], counts)))
    print(f"| median of all | {sum(counts)} | {apart_m:.2f} m | {aircraft_m:.2f} m | {away_m:.1f} m |")
    return apart_m


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print tables; 1 if the floor is missed, 2 if there is nothing to measure with."""
    parser = argparse.ArgumentParser(description="measures where footprints put the same ground")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="(default: %(default)s)")
    parser.add_argument("--photos", type=Path, help="other photos of a drone, that overlap (default: drone-photos of the data)")
    given = parser.parse_args(arguments)
    try:
        apart_m = _measure(given.data, given.photos)
    except (UnusableError, ConfigError) as error:
        print(error, file=sys.stderr)
        return 2
    return int(apart_m > FLOOR_M)


def _measure(data: Path, others: Path | None) -> float:
    """Print tables; what is compared with the floor."""
    print(describe_machine())
    photos = drone_photos(others or data / "drone-photos")
    apart_m = _print("drone photos", photos, compare(photos))
    if others is None:
        photos = flight_photos(data / "flight")
        _print("flight, camera fixed to the aircraft", photos, compare(photos))
    return apart_m


if __name__ == "__main__":
    raise SystemExit(main())
