"""When a photo was taken, and how old its position was then, by its EXIF (Exif 2.32, sections 4.6.5 and 4.6.6).

Two clocks write into a photo. The GPS stamp is when the receiver measured the position, by a clock that is right. The original
time is when the shutter opened, by the camera's clock, which is as right as somebody set it. Where both are known:

- They differ by no more than 1.5 s: they say the same, since most stamps are whole seconds.
- By no more than 15 minutes: the receiver had lost its satellites, and the camera wrote the last position that it had. The
  photo was taken at the original time, and its position is as much older as the two differ.
- By more: the camera's clock is wrong. One that was never set is off by years, one in another time zone by half an hour or more
  nearly everywhere, while no camera keeps a position for long. The photo was taken when the GPS stamp says.

A clock that was set by hand and is some minutes off looks the same as a position that is some minutes old. It is taken for the
latter, because a position that is wrong by miles does more harm than one that is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

SAME_TIME = timedelta(seconds=1.5)
"""A stamp of whole seconds may be of the second before or after."""

WRONG_CLOCK = timedelta(minutes=15)
"""Two times that differ by more are not those of one flight."""


def capture_time(exif: Mapping[str, Any]) -> datetime | None:
    """When the shutter opened, UTC; None: EXIF does not say.

    That is the GPS stamp or the original time, as described above. An original time without its offset from UTC is some local
    time; which one, nothing tells, and it does not count. Where both say the same, one with a fraction is the better one.

    Args:
        exif: Tags by exifread's names.
    """
    if not exif:
        return None
    measured_at, opened_at = _gps_time(exif), _original_time(exif)
    if measured_at is None or opened_at is None:
        return measured_at or opened_at
    apart = abs(measured_at - opened_at)
    if apart > WRONG_CLOCK:
        return measured_at
    return opened_at if apart > SAME_TIME or opened_at.microsecond else measured_at


def fix_age_s(exif: Mapping[str, Any]) -> float:
    """How old the position was when the shutter opened; 0 where nothing says that it was not new."""
    measured_at, opened_at = _gps_time(exif), capture_time(exif)
    if measured_at is None or opened_at is None:
        return 0.0
    apart = abs(measured_at - opened_at)
    return apart.total_seconds() if apart > SAME_TIME else 0.0


def _gps_time(exif: Mapping[str, Any]) -> datetime | None:
    try:
        day, clock = exif["GPS GPSDate"].values, exif["GPS GPSTimeStamp"].values
        start = datetime.strptime(day, "%Y:%m:%d").replace(tzinfo=UTC)
        hours, minutes, seconds = (float(part) for part in clock)
        if not (0 <= hours < 24 and 0 <= minutes < 60 and 0 <= seconds < 61):
            return None
        return start + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    except (KeyError, ValueError, TypeError, ZeroDivisionError, OverflowError):
        return None


def _original_time(exif: Mapping[str, Any]) -> datetime | None:
    try:
        text = exif["EXIF DateTimeOriginal"].values + exif["EXIF OffsetTimeOriginal"].values
        at = datetime.strptime(text, "%Y:%m:%d %H:%M:%S%z").astimezone(UTC)
        fraction = str(getattr(exif.get("EXIF SubSecTimeOriginal"), "values", "")).strip("\0 ")
        return at + timedelta(seconds=float(f"0.{fraction}")) if fraction.isascii() and fraction.isdigit() else at
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
