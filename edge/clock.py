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
# How the system's clock lies to the monotonic one is noted anew when it has drifted, or was turned, by so much.
_NOTED_S = 0.02
# It is turned at a tenth of time's own speed at most (chrony); what is faster was a step.
_TURN, _STEP_S = 0.1, 0.05
# Who asks about a file that was written longer ago gets no moment.
_KEPT_S = 3600.0
# Readings of a file's time that lie closer do not contradict each other.
_SAME_S = 0.5
# The kernel is asked again whether its clock is synchronised.
_LOOK_S = 1.0
# What came with the smallest delay in so long counts: clocks of boards drift by a second in three hours.
_WINDOW_S = 120.0
# A clock that was set is noticed when everything of the last while came with so much more delay.
_SHORT_S, _SET_S, _SET_MESSAGES = 10.0, 0.5, 5
# GPS times that contradict the one in use by more are only believed when so many in a row agree with each other.
_DISAGREE_S = 1.0
_BELIEVED = 5

# timex.h: adjtimex returns TIME_ERROR while nobody has set the clock by a better one.
_TIME_ERROR = 5
_TIMEX_BYTES = 512


class SmallestDelay:
    """What lies between two clocks, by those messages from one to the other that were on the way for the shortest time.

    A radio or a serial line holds a message up, and never brings it early: the least difference of a while is the nearest to
    the truth (as NTP's clock filter, RFC 5905, section 10). Where all come later than they did before, a clock was set.
    """

    def __init__(self, window_s: float = _WINDOW_S) -> None:
        self._smallest = _SlidingMinimum(window_s)
        self._lately = _SlidingMinimum(_SHORT_S)

    def add(self, at_s: float, difference_s: float) -> float:
        """Take a message.

        Args:
            at_s: When it was received; each later than the one before.
            difference_s: Between when it was received and when it was sent, each by its own clock.

        Returns:
            What to add to a time of the sender's clock, for the same moment by the receiver's.
        """
        smallest_s = self._smallest.add(at_s, difference_s)
        lately_s = self._lately.add(at_s, difference_s)
        if lately_s - smallest_s > _SET_S and self._lately.count >= _SET_MESSAGES:
            self._smallest.clear()
            return self._smallest.add(at_s, lately_s)
        return smallest_s

    def clear(self) -> None:
        """Forget: one of the clocks was set."""
        self._smallest.clear()
        self._lately.clear()


class _SlidingMinimum:
    """The least of the values of a while; kept are those that can still become it.

    Attributes:
        count: How many values there were in that while.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._values: deque[tuple[float, float]] = deque()
        self._times_s: deque[float] = deque()

    @property
    def count(self) -> int:
        return len(self._times_s)

    def add(self, at_s: float, value: float) -> float:
        while self._values and self._values[-1][1] >= value:
            self._values.pop()
        self._values.append((at_s, value))
        self._times_s.append(at_s)
        while self._values[0][0] < at_s - self._window_s:
            self._values.popleft()
        while self._times_s[0] < at_s - self._window_s:
            self._times_s.popleft()
        return self._values[0][1]

    def clear(self) -> None:
        self._values.clear()
        self._times_s.clear()


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
        self._ahead_s = realtime() - now_s
        self._eras = deque([_Era(0.0, self._ahead_s)])
        self._looked_s = now_s
        self._asked_s, self._is_synchronised = now_s, self._ask()
        self._gps = SmallestDelay()
        self._gps_ahead_s: float | None = None
        self._doubts: list[float] = []

    def look(self) -> None:
        """See whether the system's clock was set. To be called about every second, or a jump is noticed late."""
        with self._lock:
            self._look()

    def learn(self, gps_utc_s: float, received_s: float) -> None:
        """Take GPS time, seconds since 1970-01-01 UTC, and when it came by the monotonic clock."""
        with self._lock:
            known, ahead_s = self._gps_ahead_s, gps_utc_s - received_s
            if known is not None and abs(ahead_s - known) > _DISAGREE_S:
                if self._doubts and abs(ahead_s - self._doubts[0]) > _DISAGREE_S:
                    self._doubts.clear()
                self._doubts.append(ahead_s)
                if len(self._doubts) < _BELIEVED:
                    return
                _log.warning("GPS time has changed by %.1f s", ahead_s - known)
                self._gps.clear()
            self._doubts.clear()
            self._gps_ahead_s = -self._gps.add(received_s, -ahead_s)

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
        """When a file was written, by the modification time that the system's clock of then gave it.

        No moment of the monotonic clock has one that is older than an hour or than this machine's start, that comes from the
        future, or that the clock showed twice because it was set back.
        """
        with self._lock:
            self._look()
            written_s = modified_ns / 1e9
            by_file = _EPOCH + timedelta(microseconds=modified_ns // 1000)
            found_s = self._written_at(written_s)
            ahead_s, name = self._ahead()
            if found_s is None:
                return Moment(by_file, self._name(), None)
            if name != "gps" and abs(written_s - ahead_s - found_s) <= _NOTED_S:
                return Moment(by_file, name, found_s)
            return self._at(found_s)

    def _written_at(self, written_s: float) -> float | None:
        """When the monotonic clock was where the system's clock showed a time; None: never, or more than once."""
        # Between two looks a step may have been a little earlier.
        end_s, found = self._looked_s + _STEP_S, []
        for era in reversed(self._eras):
            at_s = written_s - era.ahead_s
            if era.since_s - _LOOK_S <= at_s <= end_s:
                found.append(at_s)
            end_s = era.since_s + _STEP_S
        if not found or found[0] < 0 or (len(found) > 1 and max(found) - min(found) > _SAME_S):
            return None
        return found[0]

    def _at(self, monotonic_s: float) -> Moment:
        ahead_s, name = self._ahead()
        return Moment(_EPOCH + timedelta(seconds=monotonic_s + ahead_s), name, monotonic_s)

    def _name(self) -> ClockName:
        return "system" if self._is_synchronised else "unsynchronised"

    def _ahead(self) -> tuple[float, ClockName]:
        """By how much UTC is ahead of the monotonic clock, and who says so."""
        if not self._is_synchronised and self._gps_ahead_s is not None:
            return self._gps_ahead_s, "gps"
        return self._ahead_s, self._name()

    def _look(self) -> None:
        now_s = self._monotonic()
        self._ahead_s, passed_s = self._realtime() - now_s, now_s - self._looked_s
        self._looked_s = now_s
        changed_s = self._ahead_s - self._eras[-1].ahead_s
        if abs(changed_s) > _NOTED_S:
            self._eras.append(_Era(now_s, self._ahead_s))
        if abs(changed_s) > _NOTED_S + _STEP_S + _TURN * passed_s:
            _log.warning("the system's clock was set by %+.3f s", changed_s)
            self._asked_s = now_s - _LOOK_S
        while len(self._eras) > 1 and self._eras[1].since_s < now_s - _KEPT_S:
            self._eras.popleft()
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
