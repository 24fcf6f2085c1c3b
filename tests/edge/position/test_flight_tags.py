"""What the EXIF provider makes of XMP: of a drone's real photos, and of tags that are missing, damaged or of other makers."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import exifread
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.capture.xmp import read_xmp
from edge.position.exif import ExifPosition
from edge.records import Attitude, Fix, Frame, FrameKey

EXPOSED_AT = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)

DJI = {
    "RelativeAltitude": "+39.80",
    "AbsoluteAltitude": "+198.31",
    "GimbalYawDegree": "+45.00",
    "GimbalPitchDegree": "-89.90",
    "GimbalRollDegree": "+0.00",
    "FlightYawDegree": "+46.00",
    "FlightPitchDegree": "+1.80",
    "FlightRollDegree": "+3.00",
}


def tag(*values: Any) -> SimpleNamespace:
    return SimpleNamespace(values=list(values))


def text(value: str) -> SimpleNamespace:
    return SimpleNamespace(values=value)


EXIF: dict[str, Any] = {
    "GPS GPSLatitudeRef": text("N"),
    "GPS GPSLatitude": tag(46, 50, 33.3855),
    "GPS GPSLongitudeRef": text("W"),
    "GPS GPSLongitude": tag(91, 59, 40.4156),
    "GPS GPSAltitude": tag(198.309),
    "GPS GPSAltitudeRef": tag(0),
}


def located(xmp: Mapping[str, str], exif: Mapping[str, Any] | None = None) -> Fix:
    """Where a photo with these tags was taken."""
    pixels = np.zeros((24, 32, 3), np.uint8)
    frame = Frame(FrameKey("/in", "a.jpeg", 1, 1), EXPOSED_AT, 32, 24, pixels, {**EXIF, **(exif or {})}, xmp)
    fix = ExifPosition().locate(frame)
    assert fix is not None
    return fix


def test_a_drone_s_photo_says_how_high_and_which_way_it_and_its_camera_were(data: Path) -> None:
    content = (data / "drone-photos" / "DJI_0018.JPG").read_bytes()
    exif = exifread.process_file(io.BytesIO(content), details=False)
    pixels = np.zeros((24, 32, 3), np.uint8)
    frame = Frame(FrameKey("/in", "a.jpeg", 1, 1), EXPOSED_AT, 4000, 2250, pixels, exif, read_xmp(content))
    fix = ExifPosition().locate(frame)

    assert fix is not None
    assert (fix.latitude, fix.longitude) == (pytest.approx(46.842607, abs=1e-6), pytest.approx(-91.994560, abs=1e-6))
    assert (fix.height_m, fix.altitude_m) == (39.8, 198.31)
    assert fix.camera == Attitude(45.0, -89.9, 0.0)
    assert fix.attitude == Attitude(46.0, 1.8, 3.0)


def test_without_xmp_nothing_is_made_up() -> None:
    fix = located({})

    assert (fix.height_m, fix.attitude, fix.camera) == (None, None, None)
    assert fix.altitude_m == 198.309


@pytest.mark.parametrize("missing", ["GimbalYawDegree", "GimbalPitchDegree", "GimbalRollDegree"])
def test_two_angles_are_no_attitude(missing: str) -> None:
    fix = located({name: value for name, value in DJI.items() if name != missing})

    assert fix.camera is None
    assert fix.attitude == Attitude(46.0, 1.8, 3.0)


@pytest.mark.parametrize(
    ("damage", "lost"),
    [
        ({"RelativeAltitude": "+0.00"}, "height_m"),
        ({"RelativeAltitude": "-3.20"}, "height_m"),
        ({"RelativeAltitude": "nan"}, "height_m"),
        ({"RelativeAltitude": "1e999"}, "height_m"),
        ({"RelativeAltitude": "398/0"}, "height_m"),
        ({"GimbalYawDegree": "north"}, "camera"),
        ({"GimbalYawDegree": "+451.0"}, "camera"),
        ({"GimbalPitchDegree": "-190"}, "camera"),
        ({"FlightRollDegree": "1_0"}, "attitude"),
    ],
)
def test_a_part_that_cannot_be_is_unknown_and_logged_and_the_rest_still_counts(
    damage: dict[str, str], lost: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        fix, whole = located(DJI | damage), located(DJI)

    parts = {"height_m", "altitude_m", "camera", "attitude"}
    assert {name for name in parts if getattr(fix, name) != getattr(whole, name)} == {lost}
    assert getattr(fix, lost) is None
    (record,) = caplog.records
    assert record.getMessage().startswith("'a.jpeg': a part of the XMP is passed over: ")
    assert next(iter(damage)) in record.getMessage()


@pytest.mark.parametrize("longitude", ["GpsLongitude", "GpsLongtitude"])
def test_the_place_takes_its_last_digits_from_xmp(longitude: str) -> None:
    fix = located({"GpsLatitude": "46.842607123", longitude: "-91.994559876"})

    assert (fix.latitude, fix.longitude) == (46.842607123, -91.994559876)


@pytest.mark.parametrize("xmp", [{"GpsLatitude": "0.0", "GpsLongitude": "0.0"}, {"GpsLatitude": "46.842607123"}, {}])
def test_a_place_in_xmp_that_is_another_one_or_half_of_one_is_not_taken(xmp: dict[str, str]) -> None:
    assert located(xmp).latitude == pytest.approx(46.84260708, abs=1e-8)


def test_the_accuracy_of_a_kinematic_receiver_is_that_of_its_worse_direction() -> None:
    assert located({"RtkStdLat": "0.012", "RtkStdLon": "0.017"}).accuracy_m == 0.017


@pytest.mark.parametrize(("tags", "exif"), [({"AltitudeType": "RtkAlt"}, {}), ({}, {"GPS GPSAltitudeRef": tag(2)})])
def test_an_altitude_above_the_ellipsoid_is_none_above_the_sea(tags: dict[str, str], exif: dict[str, Any]) -> None:
    assert located(tags, exif).altitude_m is None


def test_angles_of_pix4d_are_counted_from_straight_down() -> None:
    camera = located({"Yaw": "45", "Pitch": "0", "Roll": "0"}).camera
    tilted = located({"Yaw": "30", "Pitch": "20", "Roll": "0"}).camera

    assert camera == Attitude(pytest.approx(45), pytest.approx(-90), 0)
    assert tilted is not None
    assert (tilted.yaw_deg, tilted.pitch_deg, tilted.roll_deg) == pytest.approx((30, -70, 0))


@pytest.mark.parametrize(("make", "pitch"), [("Autel Robotics", "0"), ("Camera", "-30"), ("Parrot", "-90")])
def test_angles_that_are_only_called_as_pix4d_does_are_not_taken(make: str, pitch: str) -> None:
    assert located({"Yaw": "45", "Pitch": pitch, "Roll": "0"}, {"Image Make": text(make)}).camera is None


def test_parrot_s_angles_are_read() -> None:
    xmp = {"CameraYawDegree": "10", "CameraPitchDegree": "-60", "CameraRollDegree": "0", "AboveGroundAltitude": "25"}
    fix = located(xmp)

    assert fix.camera == Attitude(10, -60, 0)
    assert fix.height_m == 25


def test_the_direction_in_exif_is_the_yaw_if_pitch_and_roll_are_known() -> None:
    direction = {"GPS GPSImgDirection": tag(123.5), "GPS GPSImgDirectionRef": text("T")}
    magnetic = direction | {"GPS GPSImgDirectionRef": text("M")}
    tilt = {"GimbalPitchDegree": "-90", "GimbalRollDegree": "0"}

    assert located(tilt, direction).camera == Attitude(123.5, -90, 0)
    assert located(tilt, magnetic).camera is None
    assert located({}, direction).camera is None


def test_a_gimbal_that_cannot_turn_so_far_does_not_know_its_yaw() -> None:
    turned = DJI | {"GimbalYawDegree": "+90.00"}

    assert located(turned, {"Image Model": text("FC3411")}).camera is None
    assert located(DJI, {"Image Model": text("FC3411")}).camera == Attitude(45.0, -89.9, 0.0)
    assert located(turned, {"Image Model": text("FC6520")}).camera == Attitude(90.0, -89.9, 0.0)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([*DJI, "Yaw", "Pitch", "Roll", "RtkStdLat", "RtkStdLon", "GpsLatitude"]), st.text()))
def test_no_xmp_costs_the_position(xmp: dict[str, str]) -> None:
    fix = located(xmp)

    assert fix.latitude == pytest.approx(46.8426, abs=2e-4)
    assert fix.height_m is None or fix.height_m > 0
