"""When a frame was taken, and which clock says so: the image's own, the file's name, or the time of the file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from edge.clock import Moment
from edge.config import ConfigError
from edge.exif_time import capture_time
from edge.records import FrameKey
from edge.text import one_line

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# No two parts of it are alike: a format that leaves one out does not give it back.
_PROBE = datetime(2018, 11, 25, 13, 46, 57, tzinfo=UTC)
# A camera of before GPS, or of after what file systems hold, has a number in its name that is no time.
_YEARS = range(1980, 2200)
# Times that say by their Z that they are UTC (ISO 8601), at the end of a name: without separators, or with all of them.
_IN_UTC = (
    re.compile(r"(?:^|.*[_-])(?P<day>\d{8})T?(?P<clock>\d{6})(?:\.?(?P<fraction>\d{1,9}))?Z", re.ASCII | re.DOTALL),
    re.compile(
        r"(?:^|.*[_-])(?P<day>\d{4}-\d\d-\d\d)T(?P<clock>\d\d([-:.])\d\d\3\d\d)(?:[.,](?P<fraction>\d{1,9}))?Z",
        re.ASCII | re.DOTALL,
    ),
)


FileTime = Callable[[int], Moment]
"""When a file was written, by its modification time in nanoseconds since 1970-01-01 UTC: `Clock.of_file` in the daemon."""


def file_time(modified_ns: int) -> Moment:
    """When a file was written, by the clock that the machine had then."""
    return Moment(_EPOCH + timedelta(microseconds=modified_ns // 1000), "system", None)


class CaptureTimes:
    """Asks the image, then the file's name, then the file."""

    def __init__(self, name_time: str = "", file_time: FileTime = file_time) -> None:
        """
        Args:
            name_time: How names say it, as `capture.name_time`.
            file_time: What is asked last.

        Raises:
            ConfigError: No time can be read by it.
        """
        if name_time:
            _check_format(name_time)
        self._name_time = name_time
        self._file_time = file_time

    def of(self, key: FrameKey, exif: Mapping[str, Any]) -> Moment:
        """When a frame was taken, as far as anything tells."""
        if (at := capture_time(exif)) is not None:
            return Moment(at, "image", None)
        if (at := self._of_name(key.name)) is not None:
            return Moment(at, "name", None)
        return self._file_time(key.modified_ns)

    def _of_name(self, name: str) -> datetime | None:
        if not self._name_time and "Z" not in name:
            return None
        stem = os.path.splitext(os.path.basename(name))[0]
        try:
            return _by_format(stem, self._name_time) if self._name_time else _in_utc(stem)
        except (ValueError, OverflowError):
            return None


def _in_utc(stem: str) -> datetime | None:
    """The time in a name that says that it is UTC; None if it says none, or one that may be something else.

    Raises:
        ValueError: There is no such day or time.
    """
    if not stem.endswith("Z"):
        return None
    match = next((match for pattern in _IN_UTC if (match := pattern.fullmatch(stem))), None)
    if match is None:
        return None
    day, clock = (re.sub(r"\D", "", match[name]) for name in ("day", "clock"))
    if int(day[:4]) not in _YEARS or int(clock[4:]) > 60:
        return None
    start = datetime.strptime(day + clock[:4], "%Y%m%d%H%M").replace(tzinfo=UTC)
    fraction = match["fraction"] or "0"
    # The sixtieth is a leap second, which datetime does not know.
    return start + timedelta(seconds=int(clock[4:]), microseconds=int(fraction) * 10**6 // 10 ** len(fraction))


def _by_format(stem: str, form: str) -> datetime:
    at = datetime.strptime(stem, form)  # noqa: DTZ007 - what has no zone is UTC
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _check_format(form: str) -> None:
    """
    Raises:
        ConfigError: It does not give back the time that was written by it.
    """
    try:
        given = _by_format(_PROBE.strftime(form), form)
    except (ValueError, OverflowError, IndexError, re.error) as error:
        raise ConfigError(f"capture.name_time: not a format that strptime knows: {one_line(error)}") from error
    if given != _PROBE:
        raise ConfigError(f"capture.name_time: {form}: expected year, month, day, hour, minute and second in it")
