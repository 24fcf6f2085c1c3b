"""What time it was: capture times and GPS times are brought together on the monotonic clock, which nobody sets.

A drone's clock is wrong after boot and jumps when the time comes in. What happens on board is therefore kept by the monotonic
clock, and turned into UTC as late as possible: by the system's clock where it is synchronised, else by GPS time where it is
known, else by the system's clock, and then said to be unsynchronised.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from edge.records import Clock as ClockName

_log = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# NTP turns the clock by less between two looks; more is a jump. Chrony slews at 0.1 at most.
_JUMP_S = 0.05
_JUMPS_KEPT = 64
# Readings of a file's time that lie closer do not contradict each other.
_SAME_S = 0.5
# The kernel is asked again whether its clock is synchronised.
_LOOK_S = 1.0
# GPS time is taken from what came with the smallest delay in so long: clocks of boards drift by a second in three hours.
_WINDOW_S = 120.0
# GPS times that contradict the one in use by more are only believed when so many in a row agree.
_DISAGREE_S = 1.0
_BELIEVED = 5

# timex.h: adjtimex returns TIME_ERROR while nobody has set the clock by a better one.
_TIME_ERROR = 5
_TIMEX_BYTES = 512


class SmallestDelay:
    """What lies between two clocks, by those messages from one to the other that were on the way for the shortest time.

    A radio or a serial line holds a message up, and never brings it early: the least difference of a while is the nearest to
    the truth (as NTP's clock filter, RFC 5905, section 10).
    """

    def __init__(self, window_s: float = _WINDOW_S) -> None:
        self._window_s = window_s
        self._differences: deque[tuple[float, float]] = deque()

    def add(self, at_s: float, difference_s: float) -> float:
        """Take a message.

        Args:
            at_s: When it was received; each later than the one before.
            difference_s: Between when it was received and when it was sent, each by its own clock.

        Returns:
            What to add to a time of the sender's clock, for the same moment by the receiver's.
        """
        while self._differences and self._differences[-1][1] >= difference_s:
            self._differences.pop()
        self._differences.append((at_s, difference_s))
        while self._differences[0][0] < at_s - self._window_s:
            self._differences.popleft()
        return self._differences[0][1]

    def clear(self) -> None:
        """Forget: one of the clocks was set."""
        self._differences.clear()


@dataclass(frozen=True, slots=True)
class _Era:
    """From `since_s` of the monotonic clock on, the system's clock was ahead of it by `ahead_s`."""

    since_s: float
    ahead_s: float


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment, and which clock says so.

    Attributes:
        monotonic_s: None where that is not known.
    """

    utc: datetime
    clock: ClockName
    monotonic_s: float | None


class Clock:
    """Brings the system's clock, the monotonic clock and GPS time together. Any thread may call it."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        realtime: Callable[[], float] = time.time,
        synchronised: Callable[[], bool] | None = None,
    ) -> None:
        """
        Args:
            synchronised: Says whether the system's clock is set by a better one; by default the kernel is asked.
        """
        self._monotonic = monotonic
        self._realtime = realtime
        self._ask = synchronised or is_synchronised
        self._lock = threading.Lock()
        now_s = monotonic()
        self._eras = deque([_Era(0.0, realtime() - now_s)], maxlen=_JUMPS_KEPT)
        self._asked_s, self._is_synchronised = now_s, self._ask()
        self._gps = SmallestDelay()
        self._gps_ahead_s: float | None = None
        self._doubts = 0

    def look(self) -> None:
        """See whether the system's clock was set. To be called about every second, or a jump is noticed late."""
        with self._lock:
            self._look()

    def learn(self, gps_utc_s: float, received_s: float) -> None:
        """Take GPS time, seconds since 1970-01-01 UTC, and when it came by the monotonic clock."""
        with self._lock:
            known = self._gps_ahead_s
            if known is not None and abs(gps_utc_s - received_s - known) > _DISAGREE_S:
                self._doubts += 1
                if self._doubts < _BELIEVED:
                    return
                _log.warning("GPS time has changed by %.1f s", gps_utc_s - received_s - known)
                self._gps.clear()
            self._doubts = 0
            self._gps_ahead_s = -self._gps.add(received_s, received_s - gps_utc_s)

    def at(self, monotonic_s: float) -> Moment:
        """A moment of the monotonic clock in UTC, as well as it is known now."""
        with self._lock:
            self._look()
            return self._at(monotonic_s)

    def monotonic_of(self, utc: datetime) -> float:
        """When something was by the monotonic clock that is known in UTC; below 0: before this machine was started."""
        with self._lock:
            self._look()
            return (utc - _EPOCH).total_seconds() - self._ahead()[0]

    def of_file(self, modified_ns: int) -> Moment:
        """When a file was written, by the modification time that the system's clock of then gave it."""
        with self._lock:
            self._look()
            written_s, now_s = modified_ns / 1e9, self._monotonic()
            ends = [*(era.since_s for era in list(self._eras)[1:]), now_s]
            # Between two looks a jump may have been a little earlier.
            found = [
                written_s - era.ahead_s
                for era, end in zip(self._eras, ends, strict=True)
                if era.since_s - _LOOK_S <= written_s - era.ahead_s <= end + _JUMP_S
            ]
            if not found or max(found) - min(found) > _SAME_S or found[-1] < 0:
                # Older than this machine's start, from another machine, or written while the clock was set back.
                return Moment(_EPOCH + timedelta(microseconds=modified_ns // 1000), self._name(), None)
            moment = self._at(found[-1])
            if moment.clock == "gps" or len(self._eras) > 1:
                return moment
            return Moment(_EPOCH + timedelta(microseconds=modified_ns // 1000), moment.clock, found[-1])

    def _at(self, monotonic_s: float) -> Moment:
        ahead_s, name = self._ahead()
        return Moment(_EPOCH + timedelta(seconds=monotonic_s + ahead_s), name, monotonic_s)

    def _name(self) -> ClockName:
        return "system" if self._is_synchronised else "unsynchronised"

    def _ahead(self) -> tuple[float, ClockName]:
        """By how much UTC is ahead of the monotonic clock, and who says so."""
        if not self._is_synchronised and self._gps_ahead_s is not None:
            return self._gps_ahead_s, "gps"
        return self._eras[-1].ahead_s, self._name()

    def _look(self) -> None:
        now_s = self._monotonic()
        ahead_s = self._realtime() - now_s
        last = self._eras[-1]
        if abs(ahead_s - last.ahead_s) > _JUMP_S:
            _log.warning("the system's clock was set by %+.3f s", ahead_s - last.ahead_s)
            self._eras.append(_Era(now_s, ahead_s))
            self._asked_s = now_s - _LOOK_S
        else:
            self._eras[-1] = _Era(last.since_s, ahead_s)
        if now_s - self._asked_s >= _LOOK_S:
            self._asked_s, self._is_synchronised = now_s, self._ask()


def is_synchronised() -> bool:
    """Whether the kernel knows of anybody who keeps its clock right (adjtimex(2)); False where it cannot be asked."""
    try:
        adjust = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return False
    # All zero asks without changing anything.
    state: int = adjust(ctypes.create_string_buffer(_TIMEX_BYTES))
    return 0 <= state < _TIME_ERROR
