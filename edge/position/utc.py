"""Which times a GPS can have told: a receiver or an autopilot that does not know the time says some other one."""

from __future__ import annotations

from datetime import UTC, datetime

_BUILT = datetime(2024, 1, 1, tzinfo=UTC).timestamp()
_OLDEST_RECORDING = datetime(1990, 1, 1, tzinfo=UTC).timestamp()
_END = datetime(2100, 1, 1, tzinfo=UTC).timestamp()


def plausible_utc(utc_s: float, *, recording: bool) -> bool:
    """Whether a time can be the right one.

    A live time is not from before this program was written, which also finds the receivers whose 10-bit week number of GPS
    has come round and that are 1024 weeks behind. A recording may be old.

    Args:
        utc_s: Seconds since 1970-01-01 UTC.
        recording: It comes from a recording.
    """
    return (_OLDEST_RECORDING if recording else _BUILT) <= utc_s < _END
