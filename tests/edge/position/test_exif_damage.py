"""Positions from EXIF that holds anything at all."""

from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.capture.image import ImageError, decode
from edge.position.exif import ExifPosition
from edge.records import Frame
from tests.edge.position.photos import ALTITUDE, ALTITUDE_REF, ERROR_M, HOUSTON, frame_of, jpeg


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
        "GPS GPSStatus": st.sampled_from(["A", "V"]) | _values,
        "GPS GPSMeasureMode": st.sampled_from(["2", "3", [2]]) | _values,
        "GPS GPSMapDatum": st.just("WGS-84") | _values,
        "GPS GPSDate": st.just("2026:11:21") | _values,
        "GPS GPSTimeStamp": _values,
        "EXIF DateTimeOriginal": st.just("2026:11:21 10:00:00") | _values,
        "EXIF OffsetTimeOriginal": st.just("+00:00") | _values,
        "EXIF SubSecTimeOriginal": _values,
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
