"""When photos say that they were taken, and how old their positions were then: JPEG files made here with Pillow."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from PIL import Image

from edge.capture.image import decode
from edge.exif_time import capture_time, fix_age_s

EXIF_IFD, GPS_IFD = 0x8769, 0x8825
ORIGINAL, OFFSET_ORIGINAL, SUBSECOND_ORIGINAL, GPS_TIME, GPS_DATE = 0x9003, 0x9011, 0x9291, 7, 29


def tags_of(exif: dict[int, Any] | None = None, gps: dict[int, Any] | None = None) -> dict[str, Any]:
    """The tags of a photo, read as the device reads them."""
    tags, file = Image.Exif(), io.BytesIO()
    tags.get_ifd(EXIF_IFD).update(exif or {})
    tags.get_ifd(GPS_IFD).update(gps or {})
    Image.new("RGB", (32, 24)).save(file, "JPEG", exif=tags)
    return decode(file.getvalue(), (24, 32), 10**6).exif


def gps_clock(hours: int, minutes: int, seconds: Fraction | int) -> tuple[Fraction, Fraction, Fraction]:
    return Fraction(hours), Fraction(minutes), Fraction(seconds)


def time_of(**ifds: dict[int, Any]) -> datetime | None:
    return capture_time(tags_of(**ifds))


def test_capture_time_is_the_gps_time_and_not_the_clock_of_the_camera() -> None:
    gps = {GPS_DATE: "2024:02:29", GPS_TIME: gps_clock(23, 59, Fraction(59_250, 1000))}
    exif = {ORIGINAL: "2001:01:01 00:00:00", OFFSET_ORIGINAL: "+00:00"}
    assert time_of(gps=gps, exif=exif) == datetime(2024, 2, 29, 23, 59, 59, 250_000, UTC)


def test_capture_time_without_gps_is_the_original_time_with_its_offset() -> None:
    exif = {ORIGINAL: "2024:05:06 01:08:09", OFFSET_ORIGINAL: "+05:30"}
    assert time_of(exif=exif) == datetime(2024, 5, 5, 19, 38, 9, tzinfo=UTC)


def test_capture_time_has_the_fraction_of_the_original_time_where_the_gps_stamp_is_a_whole_second() -> None:
    gps = {GPS_DATE: "2024:05:05", GPS_TIME: gps_clock(19, 38, 10)}
    exif = {ORIGINAL: "2024:05:06 01:08:09", OFFSET_ORIGINAL: "+05:30", SUBSECOND_ORIGINAL: "375"}

    assert time_of(gps=gps, exif=exif) == datetime(2024, 5, 5, 19, 38, 9, 375_000, UTC)
    assert fix_age_s(tags_of(exif, gps)) == 0


@pytest.mark.parametrize(
    ("gps", "opened_at", "age_s"),
    [
        (gps_clock(10, 0, 0), "10:00:01", 0),
        (gps_clock(10, 0, 0), "10:00:02", 2),
        (gps_clock(10, 0, Fraction(1, 4)), "10:00:02", 1.75),
        (gps_clock(10, 0, 5), "10:00:00", 5),
        (gps_clock(10, 0, 0), "10:15:00", 900),
        (gps_clock(10, 0, 0), "10:15:01", 0),
        (gps_clock(10, 0, 0), "09:00:00", 0),
    ],
    ids=["the same", "stale", "fractions", "measured after", "the oldest", "a wrong clock", "a wrong zone"],
)
def test_a_gps_stamp_that_differs_a_little_is_an_old_position_and_much_a_wrong_clock(
    gps: tuple[Fraction, ...], opened_at: str, age_s: float
) -> None:
    day = datetime(2024, 5, 5, tzinfo=UTC)
    tags = tags_of({ORIGINAL: f"2024:05:05 {opened_at}", OFFSET_ORIGINAL: "+00:00"}, {GPS_DATE: "2024:05:05", GPS_TIME: gps})
    hours, minutes, seconds = map(int, opened_at.split(":")) if age_s else map(int, gps)

    assert capture_time(tags) == day.replace(hour=hours, minute=minutes, second=seconds)
    assert fix_age_s(tags) == age_s


@pytest.mark.parametrize(
    ("exif", "gps"),
    [
        ({ORIGINAL: "2024:05:05 10:00:30", OFFSET_ORIGINAL: "+00:00"}, {}),
        ({ORIGINAL: "2024:05:05 10:00:30", OFFSET_ORIGINAL: "+00:00"}, {GPS_TIME: gps_clock(10, 0, 0)}),
        ({ORIGINAL: "2024:05:05 10:00:30"}, {GPS_DATE: "2024:05:05", GPS_TIME: gps_clock(10, 0, 0)}),
        ({}, {}),
    ],
    ids=["no stamp", "no date", "no offset", "nothing"],
)
def test_a_position_is_old_only_where_both_clocks_say_so(exif: dict[int, Any], gps: dict[int, Any]) -> None:
    assert fix_age_s(tags_of(exif, gps)) == 0


@pytest.mark.parametrize(("fraction", "microsecond"), [("5", 500_000), ("050 ", 50_000), ("x", 0), ("", 0)])
def test_capture_time_has_fractions_as_far_as_they_are_any(fraction: str, microsecond: int) -> None:
    exif = {ORIGINAL: "2024:05:06 01:08:09", OFFSET_ORIGINAL: "+05:30", SUBSECOND_ORIGINAL: fraction}

    assert time_of(exif=exif) == datetime(2024, 5, 5, 19, 38, 9, microsecond, UTC)


def test_capture_time_falls_back_on_the_original_time_when_the_gps_date_is_nonsense() -> None:
    gps = {GPS_DATE: "2024:32:01", GPS_TIME: gps_clock(1, 2, 3)}
    exif = {ORIGINAL: "2024:05:06 07:08:09", OFFSET_ORIGINAL: "+00:00"}
    assert time_of(gps=gps, exif=exif) == datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


def test_gps_time_may_name_a_leap_second() -> None:
    gps = {GPS_DATE: "2016:12:31", GPS_TIME: gps_clock(23, 59, 60)}
    assert time_of(gps=gps) == datetime(2017, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "exif",
    [
        {ORIGINAL: "2024:05:06 07:08:09"},
        {OFFSET_ORIGINAL: "+00:00"},
        {ORIGINAL: "2024:32:06 07:08:09", OFFSET_ORIGINAL: "+00:00"},
        {ORIGINAL: "2024:05:06 25:08:09", OFFSET_ORIGINAL: "+00:00"},
        {ORIGINAL: "0000:00:00 00:00:00", OFFSET_ORIGINAL: "+00:00"},
        {ORIGINAL: "    :  :     :  :  ", OFFSET_ORIGINAL: "   :  "},
        {ORIGINAL: "0001:01:01 00:00:00", OFFSET_ORIGINAL: "+14:00"},
        {ORIGINAL: 7, OFFSET_ORIGINAL: 7},
        {ORIGINAL: "9999:12:31 23:59:59", OFFSET_ORIGINAL: "+00:00", SUBSECOND_ORIGINAL: "9" * 30},
    ],
)
def test_capture_time_is_unknown_without_an_offset_or_with_nonsense(exif: dict[int, Any]) -> None:
    assert time_of(exif=exif) is None


@pytest.mark.parametrize(
    "gps",
    [
        {GPS_TIME: gps_clock(1, 2, 3)},
        {GPS_DATE: "2024:05:06"},
        {GPS_DATE: "2024:32:01", GPS_TIME: gps_clock(1, 2, 3)},
        {GPS_DATE: "", GPS_TIME: gps_clock(1, 2, 3)},
        {GPS_DATE: "2024:05:06", GPS_TIME: gps_clock(1, 2, 3)[:2]},
        # A receiver without a fix writes such; a time of day that does not exist must not become some other day.
        {GPS_DATE: "2024:05:06", GPS_TIME: gps_clock(99, 99, 99)},
    ],
)
def test_capture_time_is_unknown_with_gps_nonsense(gps: dict[int, Any]) -> None:
    assert time_of(gps=gps) is None
