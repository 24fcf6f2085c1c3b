"""Positions from the EXIF of real JPEG files: made here with Pillow, and taken by a drone."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from edge.capture.image import ImageError, decode
from edge.position.exif import ExifPosition
from edge.records import Fix, Frame, FrameKey

EXPOSED_AT = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)

# Tags of the GPS directory (Exif 2.32, table 15).
LATITUDE_REF, LATITUDE, LONGITUDE_REF, LONGITUDE, ALTITUDE_REF, ALTITUDE, ERROR_M = 1, 2, 3, 4, 5, 6, 31

# 29° 45' 37.44" N, 95° 22' 11.28" W: the place of the example in DESIGN.md.
LATITUDE_PARTS = (Fraction(29), Fraction(45), Fraction(3744, 100))
LONGITUDE_PARTS = (Fraction(95), Fraction(22), Fraction(1128, 100))
HOUSTON: dict[int, Any] = {LATITUDE_REF: "N", LATITUDE: LATITUDE_PARTS, LONGITUDE_REF: "W", LONGITUDE: LONGITUDE_PARTS}


def jpeg(gps: Mapping[int, Any]) -> bytes:
    """A JPEG file with these tags in its GPS directory."""
    exif = Image.Exif()
    exif[0x010F] = "Overflight"
    exif.get_ifd(0x8825).update(gps)
    file = io.BytesIO()
    Image.new("RGB", (32, 24)).save(file, "JPEG", exif=exif)
    return file.getvalue()


def frame_of(exif: Mapping[str, Any]) -> Frame:
    """A frame with these tags."""
    return Frame(FrameKey("/in", "a.jpeg", 1, 1), EXPOSED_AT, 32, 24, np.zeros((24, 32, 3), np.uint8), exif)


def photo(gps: Mapping[int, Any]) -> Frame:
    """The frame of a photo with these tags, read as the device reads it."""
    exif = decode(jpeg(gps), (24, 32), 10**6).exif
    assert exif, "the photo's tags were not read at all"
    return frame_of(exif)


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


# Anything at all


def check(frame: Frame) -> None:
    """A position is a place on Earth, unknown, or refused by a ValueError of one printable line."""
    try:
        fix = ExifPosition().locate(frame)
    except ValueError as error:
        assert str(error).isprintable(), repr(str(error))
        return
    if fix is not None:
        assert -90 <= fix.latitude <= 90
        assert -180 <= fix.longitude <= 180
        # JSON has no NaN and no infinity: the ground could not read the alert.
        assert fix.altitude_m is None or math.isfinite(fix.altitude_m)
        assert fix.accuracy_m is None or math.isfinite(fix.accuracy_m)


class _Ratio(Fraction):
    """What exifread makes of a rational: its denominator may be zero, and is noticed only when it is used."""

    def __new__(cls, numerator: int, denominator: int) -> _Ratio:
        ratio = super().__new__(cls, numerator, denominator or 1)
        ratio._denominator = ratio._denominator if denominator else 0  # type: ignore[misc]
        return ratio


_ratios = st.builds(_Ratio, st.integers(-(2**31), 2**32 - 1), st.integers(-(2**31), 2**32 - 1))
_numbers = st.integers(-(2**63), 2**64) | _ratios | st.floats() | st.none() | st.text(max_size=3) | st.tuples(st.floats())
_small = st.builds(_Ratio, st.integers(0, 100), st.integers(0, 3))
_values = (
    st.lists(_numbers, max_size=4) | st.lists(_small, min_size=3, max_size=3) | st.text(max_size=4) | st.binary(max_size=4)
)
_references = st.sampled_from(["N", "S", "E", "W", "n\0", " W"]) | _values
_tags = st.fixed_dictionaries(
    {},
    optional={
        "GPS GPSLatitudeRef": _references,
        "GPS GPSLatitude": _values,
        "GPS GPSLongitudeRef": _references,
        "GPS GPSLongitude": _values,
        "GPS GPSAltitudeRef": st.sampled_from([[0], [1], [], "1", ""]) | _values,
        "GPS GPSAltitude": _values,
        "GPS GPSHPositioningError": _values,
        "GPS Tag 0x001F": _values,
    },
)


@settings(deadline=None, max_examples=500)
@given(_tags)
def test_no_tags_whatever_raise_anything_but_a_value_error(tags: dict[str, Any]) -> None:
    check(frame_of({name: SimpleNamespace(values=values) for name, values in tags.items()}))


@settings(deadline=None)
@given(_numbers, _numbers, st.sampled_from(["GPS GPSHPositioningError", "GPS Tag 0x001F"]))
def test_no_altitude_or_accuracy_spoils_a_good_position(altitude: Any, accuracy: Any, accuracy_tag: str) -> None:
    good = decode(jpeg(HOUSTON), (24, 32), 10**6).exif
    odd = {"GPS GPSAltitude": SimpleNamespace(values=[altitude]), accuracy_tag: SimpleNamespace(values=[accuracy])}
    frame = frame_of({**good, **odd})

    check(frame)
    assert ExifPosition().locate(frame) is not None


_PHOTO = jpeg({**HOUSTON, ALTITUDE_REF: b"\1", ALTITUDE: Fraction(312, 10), ERROR_M: Fraction(21, 10)})
_EXIF_AT = _PHOTO.index(b"Exif\0\0") + 6
_EXIF_END = _EXIF_AT + int.from_bytes(_PHOTO[_EXIF_AT - 8 : _EXIF_AT - 6], "big") - 8


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(_EXIF_AT, _EXIF_END - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_exif_is_a_place_unknown_or_refused(damage: list[tuple[int, int]]) -> None:
    content = bytearray(_PHOTO)
    for at, byte in damage:
        content[at] = byte
    try:
        exif = decode(bytes(content), (24, 32), 10**6).exif
    except ImageError:
        return
    check(frame_of(exif))
