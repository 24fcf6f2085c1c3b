"""Positions from the EXIF of real JPEG files: made here with Pillow, and taken by a drone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from edge.capture.image import decode
from edge.config import PositionConfig
from edge.position import Locator
from edge.position.exif import ExifPosition
from edge.records import Fix, Frame
from tests.edge.position.photos import (
    ALTITUDE,
    ALTITUDE_REF,
    DATE,
    DATUM,
    ERROR_M,
    EXPOSED_AT,
    HOUSTON,
    LATITUDE,
    LATITUDE_REF,
    LONGITUDE,
    LONGITUDE_REF,
    MODE,
    OFFSET_ORIGINAL,
    ORIGINAL,
    STATUS,
    TIME,
    frame_of,
    photo,
)


def located(changes: Mapping[int, Any] | None = None) -> Fix:
    """Where a photo over Houston is whose tags differ in something."""
    fix = ExifPosition().locate(photo({**HOUSTON, **(changes or {})}))
    assert fix is not None
    return fix


def refusal(gps: Mapping[int, Any]) -> str:
    """Why the position of a photo is refused."""
    frame = photo(gps)
    with pytest.raises(ValueError) as caught:
        ExifPosition().locate(frame)
    assert str(caught.value).isprintable()
    return str(caught.value)


def lacking(*tags: int) -> dict[int, Any]:
    """The tags of a photo over Houston without some."""
    return {tag: value for tag, value in HOUSTON.items() if tag not in tags}


# What is read


def test_a_photo_says_where_it_was_taken() -> None:
    fix = located()

    assert fix.latitude == pytest.approx(29.7604, abs=1e-9)
    assert fix.longitude == pytest.approx(-95.3698, abs=1e-9)
    assert (fix.source, fix.time) == ("exif", EXPOSED_AT)


@pytest.mark.parametrize(("south", "west"), [("N", "E"), ("N", "W"), ("S", "E"), ("S", "W")])
def test_south_and_west_are_negative(south: str, west: str) -> None:
    fix = located({LATITUDE_REF: south, LONGITUDE_REF: west})

    assert math.copysign(1, fix.latitude) == (-1 if south == "S" else 1)
    assert math.copysign(1, fix.longitude) == (-1 if west == "W" else 1)
    assert abs(fix.latitude) == pytest.approx(29.7604, abs=1e-9)
    assert abs(fix.longitude) == pytest.approx(95.3698, abs=1e-9)


@pytest.mark.parametrize(
    ("parts", "latitude"),
    [
        ((Fraction(297604, 10000), Fraction(0), Fraction(0)), 29.7604),
        ((Fraction(29), Fraction(45624, 1000), Fraction(0)), 29.7604),
        ((Fraction(0), Fraction(0), Fraction(36, 100)), 0.0001),
        ((Fraction(90), Fraction(0), Fraction(0)), 90.0),
    ],
    ids=["degrees with decimals", "minutes with decimals", "just off the equator", "the pole"],
)
def test_degrees_may_be_divided_in_any_way(parts: tuple[Fraction, ...], latitude: float) -> None:
    assert located({LATITUDE: parts}).latitude == pytest.approx(latitude, abs=1e-9)


def test_a_photo_may_lie_on_the_equator_or_on_the_prime_meridian() -> None:
    zero = (Fraction(0), Fraction(0), Fraction(0))

    assert located({LATITUDE: zero}).latitude == 0
    assert located({LONGITUDE: zero}).longitude == 0


@pytest.mark.parametrize(("reference", "altitude_m"), [(b"\0", 31.2), (b"\1", -31.2), (None, 31.2)])
def test_an_altitude_is_above_sea_level_unless_its_reference_says_below(reference: bytes | None, altitude_m: float) -> None:
    tags = {ALTITUDE: Fraction(312, 10)} | ({} if reference is None else {ALTITUDE_REF: reference})

    assert located(tags).altitude_m == pytest.approx(altitude_m)


def test_an_altitude_of_zero_is_known() -> None:
    assert located({ALTITUDE: Fraction(0)}).altitude_m == 0.0


def test_an_altitude_that_is_not_given_is_unknown() -> None:
    assert located().altitude_m is None


@pytest.mark.parametrize("denominator", [0, 1])
def test_an_altitude_with_a_zero_denominator_is_unknown_and_the_position_still_counts(denominator: int) -> None:
    fix = located({ALTITUDE: IFDRational(5, denominator)})

    assert fix.altitude_m == (5.0 if denominator else None)
    assert fix.latitude == pytest.approx(29.7604)


def test_the_positioning_error_is_the_accuracy() -> None:
    assert located({ERROR_M: Fraction(21, 10)}).accuracy_m == pytest.approx(2.1)


@pytest.mark.parametrize("error", [None, IFDRational(0, 0), IFDRational(1, 0)])
def test_an_accuracy_that_is_not_given_or_damaged_is_unknown(error: IFDRational | None) -> None:
    assert located({} if error is None else {ERROR_M: error}).accuracy_m is None


@pytest.mark.parametrize(("mode", "is_2d"), [("2", True), ("3", False), ("", False), (None, False)])
def test_a_2d_fix_is_marked_and_has_no_altitude(mode: str | None, is_2d: bool) -> None:
    fix = located({ALTITUDE: Fraction(312, 10)} | ({} if mode is None else {MODE: mode}))

    assert fix.is_2d is is_2d
    assert fix.altitude_m == (None if is_2d else pytest.approx(31.2))


@pytest.mark.parametrize("datum", ["WGS-84", "WGS84", "WGS 84", "wgs-84 ", "WGS_1984", "World Geodetic System 1984", "", "  "])
@pytest.mark.parametrize("status", ["A", "", "a"])
def test_a_fix_in_wgs84_is_read_however_it_is_spelt(datum: str, status: str) -> None:
    assert located({DATUM: datum, STATUS: status}).latitude == pytest.approx(29.7604)


def taken_after(seconds: int) -> Frame:
    """A photo over Houston that says to be taken so much later than its position was measured."""
    clock = (Fraction(10), Fraction(0), Fraction(0))
    original = f"2026:11:21 10:{seconds // 60:02}:{seconds % 60:02}"
    return photo({**HOUSTON, DATE: "2026:11:21", TIME: clock}, {ORIGINAL: original, OFFSET_ORIGINAL: "+00:00"})


def test_a_position_says_how_old_it_was_when_the_photo_was_taken() -> None:
    ages = [fix.age_s for seconds in (0, 1, 2) if (fix := ExifPosition().locate(taken_after(seconds))) is not None]

    assert ages == [0, 0, 2]


def test_a_position_beside_a_camera_s_wrong_clock_is_not_old() -> None:
    fix = ExifPosition().locate(taken_after(16 * 60))

    assert fix is not None
    assert fix.age_s == 0


def test_a_photo_without_gps_tags_does_not_say_where_it_was_taken() -> None:
    assert ExifPosition().locate(photo({})) is None
    assert ExifPosition().locate(photo({ALTITUDE: Fraction(100)})) is None
    assert ExifPosition().locate(frame_of({})) is None


def test_a_reference_alone_is_no_position() -> None:
    assert ExifPosition().locate(photo(lacking(LATITUDE, LONGITUDE))) is None


# What is refused


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ((LATITUDE_REF,), "GPSLatitudeRef is missing, expected N or S"),
        ((LONGITUDE_REF,), "GPSLongitudeRef is missing, expected E or W"),
        ((LATITUDE,), "GPSLatitude is not three numbers"),
        ((LONGITUDE,), "GPSLongitude is not three numbers"),
        ((LATITUDE_REF, LATITUDE), "GPSLatitudeRef is missing, expected N or S"),
        ((LONGITUDE_REF, LONGITUDE), "GPSLongitudeRef is missing, expected E or W"),
    ],
)
def test_half_a_position_is_refused(missing: tuple[int, ...], reason: str) -> None:
    assert refusal(lacking(*missing)) == reason


@pytest.mark.parametrize("tag", [LATITUDE, LONGITUDE])
@pytest.mark.parametrize("damaged", [0, 1, 2])
@pytest.mark.parametrize("numerator", [0, 7])
def test_a_zero_denominator_is_refused(tag: int, damaged: int, numerator: int) -> None:
    parts = [IFDRational(1, 1)] * 3
    parts[damaged] = IFDRational(numerator, 0)

    assert refusal({**HOUSTON, tag: tuple(parts)}).endswith("has a part that is no number")


@pytest.mark.parametrize("parts", [(Fraction(29),), (Fraction(29), Fraction(45)), (Fraction(1),) * 4])
def test_more_or_fewer_than_three_parts_are_refused(parts: tuple[Fraction, ...]) -> None:
    assert refusal({**HOUSTON, LATITUDE: parts}) == "GPSLatitude is not three numbers"


@pytest.mark.parametrize(
    ("tag", "reference"),
    [
        (LATITUDE_REF, "E"),
        (LATITUDE_REF, "X"),
        (LATITUDE_REF, ""),
        (LONGITUDE_REF, "N"),
        (LONGITUDE_REF, "-"),
        (LONGITUDE_REF, " "),
    ],
)
def test_a_reference_that_is_no_hemisphere_is_refused(tag: int, reference: str) -> None:
    assert "Ref is " in refusal({**HOUSTON, tag: reference})


@pytest.mark.parametrize("reference", ["\n", "\x1b[2J", "\r"])
def test_a_reference_of_control_characters_does_not_reach_the_log_as_it_is(reference: str) -> None:
    # What is printable is asserted by refusal().
    assert "GPSLatitudeRef" in refusal({**HOUSTON, LATITUDE_REF: reference})


def test_seconds_that_a_camera_rounded_up_to_sixty_are_read() -> None:
    fix = ExifPosition().locate(photo({**HOUSTON, LATITUDE: (Fraction(29), Fraction(59), Fraction(60))}))
    assert fix is not None
    assert fix.latitude == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("tag", "parts"),
    [
        (LATITUDE, (91, 0, 0)),
        (LATITUDE, (90, 0, 1)),
        (LATITUDE, (29, 61, 0)),
        (LATITUDE, (29, 0, 61)),
        (LATITUDE, (4294967295, 0, 0)),
        (LONGITUDE, (181, 0, 0)),
        (LONGITUDE, (180, 0, 1)),
        (LONGITUDE, (95, 75, 0)),
    ],
)
def test_a_part_out_of_range_is_refused(tag: int, parts: tuple[int, ...]) -> None:
    refusal({**HOUSTON, tag: tuple(Fraction(part) for part in parts)})


def test_zero_zero_is_what_a_receiver_says_without_a_fix_and_is_refused() -> None:
    zero = (Fraction(0), Fraction(0), Fraction(0))

    assert refusal({**HOUSTON, LATITUDE: zero, LONGITUDE: zero}).startswith("0/0 ")


@pytest.mark.parametrize("status", ["V", "v", "V\0"])
def test_a_void_fix_is_refused(status: str) -> None:
    assert refusal({**HOUSTON, STATUS: status}) == "GPSStatus is V: the receiver had no fix"


@pytest.mark.parametrize(
    ("datum", "told"),
    [("TOKYO", "TOKYO"), ("NAD27", "NAD27"), ("WGS-72", "WGS-72"), ("X" * 50, "X" * 20), ("\x1b[2J", r"\x1b[2J")],
)
def test_a_position_in_another_datum_is_refused(datum: str, told: str) -> None:
    assert refusal({**HOUSTON, DATUM: datum}) == f"GPSMapDatum is {told}, expected WGS-84"


def test_a_stale_position_is_refused() -> None:
    with pytest.raises(ValueError) as caught:
        ExifPosition().locate(taken_after(3))

    assert str(caught.value) == "stale: measured 3.0 s from the exposure by the camera's clock, more than 2 s"


def test_how_old_a_position_may_be_is_configured() -> None:
    of_ten = Locator.from_config(PositionConfig(sources=["exif"], max_age_s=10.0))
    fix = of_ten.locate(taken_after(10))

    assert fix is not None
    assert fix.age_s == 10
    assert of_ten.locate(taken_after(11)) is None


def test_an_argument_in_the_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match="expected exif without an argument"):
        ExifPosition.parse("gps")


# Real photos


def test_the_real_photos_lie_where_they_were_taken(data: Path) -> None:
    photos = sorted((data / "drone-photos").glob("*.JPG"))
    assert len(photos) == 6
    for file in photos:
        fix = ExifPosition().locate(frame_of(decode(file.read_bytes(), (128, 128), 10**8).exif))
        # Another reader must see the same.
        gps = Image.open(file).getexif().get_ifd(0x8825)
        signs = (-1 if gps[LATITUDE_REF] == "S" else 1, -1 if gps[LONGITUDE_REF] == "W" else 1)
        latitude, longitude = (
            sign * sum(float(part) / 60**place for place, part in enumerate(gps[tag]))
            for sign, tag in zip(signs, (LATITUDE, LONGITUDE), strict=True)
        )

        assert fix is not None
        assert (fix.latitude, fix.longitude) == pytest.approx((46.84, -91.99), abs=0.01)
        assert (fix.latitude, fix.longitude) == pytest.approx((latitude, longitude), abs=1e-9)
        assert fix.altitude_m == pytest.approx(float(gps[ALTITUDE]))
