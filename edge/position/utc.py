"""What can be a UTC time that a receiver says: some are years off, and none is believed that cannot be.

A GPS receiver counts weeks in 10 bits, so one with old firmware is 1024 weeks (19.6 years) behind; one that was just switched
on tells the date that it was made with, or 1980. A wrong time is worse than none, because photos are placed by it.
"""

from __future__ import annotations

import calendar
from datetime import datetime

EARLIEST_LIVE_S = float(calendar.timegm((2024, 1, 1, 0, 0, 0)))
"""No receiver that is read by this program lives before it was written: 2024-01-01."""

EARLIEST_RECORDED_S = float(calendar.timegm((1990, 1, 1, 0, 0, 0)))
"""A recording may be older: 1990-01-01, when receivers began to be carried around."""

LATEST_S = float(calendar.timegm((2100, 1, 1, 0, 0, 0)))


def plausible_utc(utc_s: float | None, *, is_recording: bool) -> float | None:
    """A time if it can be one.

    Args:
        utc_s: Seconds since 1970-01-01 UTC, as a receiver said it; None: it did not.
        is_recording: It was said at any time since there are receivers, and not just now.
    """
    if utc_s is None:
        return None
    return utc_s if (EARLIEST_RECORDED_S if is_recording else EARLIEST_LIVE_S) <= utc_s < LATEST_S else None


def seconds_of(text: str) -> float:
    """Seconds since 1970-01-01 UTC of a time as ISO 8601 writes it; without a zone it is UTC. Leap seconds are understood.

    Raises:
        ValueError: It is none.
    """
    text = text.strip()
    # In the count of seconds since 1970 a leap second has the number of the second after it; datetime knows none.
    is_leap_second = text[16:19] == ":60"
    moment = datetime.fromisoformat(f"{text[:17]}59{text[19:]}" if is_leap_second else text)
    offset = moment.utcoffset()
    whole_s = calendar.timegm(moment.timetuple()) - (0.0 if offset is None else offset.total_seconds())
    return whole_s + moment.microsecond / 1e6 + is_leap_second
