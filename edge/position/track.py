"""Fixes over time: where the device was at the moment of an exposure.

Between two fixes it is interpolated, beyond the newest one it is carried on with its last speed, and never for longer than is
allowed. What cannot be is refused, with a reason that is counted.

Times are seconds of one clock: the monotonic one for what comes live, so that nothing that sets a clock can misplace anything;
UTC for a recording.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from edge.clock import SmallestDelay
from edge.position.coordinates import check_coordinates
from edge.position.geodesy import distance_m, move
from edge.position.report import Position, Report
from edge.records import Attitude

# An aircraft turns faster than it moves: an attitude says nothing about a second later.
ATTITUDE_AGE_S = 1.0
# Of two fixes that follow each other closely, noise alone makes a speed.
_NOISE_M = 10.0
# So many fixes that agree with each other, and not with the track, for as long as a fix may be old, are believed: then the
# track was wrong.
_BELIEVED = 3
# The clock of a device that goes back by more has begun anew; by less, its messages came in another order.
_REBOOT_S = 1.0
# After a silence its clock may have begun anew and be further than before: then it lies otherwise to ours by more than this.
_SILENCE_S, _OTHERWISE_S = 3.0, 2.0

Value = TypeVar("Value", Position, Attitude)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the device was at one moment.

    Attributes:
        age_s: Between the moment and the nearest at which the position was measured.
        attitude: Of the aircraft; camera: of its camera. None: not known for that moment.
    """

    position: Position
    age_s: float
    attitude: Attitude | None
    camera: Attitude | None


@dataclass(slots=True)
class _Series(Generic[Value]):
    """Values in the order of their times. Values of different parts do not belong together: the device began anew between."""

    times_s: list[float] = field(default_factory=list)
    values: list[tuple[Value, int]] = field(default_factory=list)

    def add(self, at_s: float, value: Value, part: int) -> None:
        self.times_s.append(at_s)
        self.values.append((value, part))

    def forget_before(self, at_s: float) -> None:
        count = bisect_right(self.times_s, at_s)
        # Not one by one: that would move the whole list each time.
        if count > len(self.times_s) // 2:
            del self.times_s[:count], self.values[:count]

    def around(self, at_s: float) -> tuple[int, int]:
        """Indices of the last value until then and of the first one after; -1, or the length, where there is none."""
        after = bisect_right(self.times_s, at_s)
        return after - 1, after


class Track:
    """One device's positions and attitudes. Any thread may ask; one adds."""

    def __init__(self, *, max_age_s: float, max_speed_m_s: float, kept_s: float | None = None) -> None:
        """
        Args:
            max_age_s: No position is given for a moment that is further from the nearest fix.
            max_speed_m_s: A fix that asks for more is refused.
            kept_s: What is older than the newest by more is forgotten; None: nothing is.
        """
        self._max_age_s = max_age_s
        self._max_speed_m_s = max_speed_m_s
        self._kept_s = kept_s
        self._lock = threading.Lock()
        self._positions: _Series[Position] = _Series()
        self._attitudes: _Series[Attitude] = _Series()
        self._cameras: _Series[Attitude] = _Series()
        self._part = 0
        self._suspects: list[tuple[float, Position]] = []
        self._delay = SmallestDelay()
        self._own_s: float | None = None
        self._heard: tuple[float, float] | None = None
        self._position_own_s: float | None = None
        self.fixes = 0
        self.marked: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def add(self, report: Report, at_s: float | None = None) -> bool:
        """Take a report.

        Args:
            at_s: When it was measured, by the clock of this track; None: found out from when it was received.

        Returns:
            Whether it brought a position that is used.
        """
        with self._lock:
            if report.refused is not None:
                self.refused[report.refused] += 1
                return False
            self._notice_reboot(report)
            if at_s is None:
                at_s = self._measured_s(report)
            if at_s is None:
                self.refused["no time"] += 1
                return False
            if report.attitude is not None:
                self._add(self._attitudes, at_s, report.attitude)
            if report.camera is not None:
                self._add(self._cameras, at_s, report.camera)
            if report.position is None:
                return False
            reason = self._why_not(report, report.position, at_s)
            if reason is not None:
                self.refused[reason] += 1
                return False
            self.fixes += 1
            if report.position.is_2d:
                self.marked["2D"] += 1
            self._position_own_s = report.own_s
            self._add(self._positions, at_s, report.position)
            return True

    def refuse(self, reason: str) -> None:
        """Count a report that somebody else refused."""
        with self._lock:
            self.refused[reason] += 1

    def counts(self) -> tuple[int, dict[str, int], dict[str, int]]:
        """Positions that are used; how many of them are marked, and how many were refused, by reason."""
        with self._lock:
            return self.fixes, dict(self.marked), dict(self.refused)

    def at(self, moment_s: float) -> Place | None:
        """Where the device was; None: there is no fix near enough."""
        with self._lock:
            found = self._position_at(moment_s)
            if found is None:
                return None
            position, age_s = found
            return Place(position, age_s, _turned(self._attitudes, moment_s), _turned(self._cameras, moment_s))

    def _measured_s(self, report: Report) -> float | None:
        if report.own_s is None or report.received_s is None:
            return report.received_s if report.own_s is None else report.own_s
        return report.own_s + self._delay.add(report.received_s, report.received_s - report.own_s)

    def _notice_reboot(self, report: Report) -> None:
        """A device whose clock begins anew has been started again: what it said before has nothing to do with what it says."""
        if report.own_s is None:
            return
        if self._own_s is not None and (report.own_s < self._own_s - _REBOOT_S or self._lies_otherwise(report)):
            self._part += 1
            self._delay.clear()
            self._suspects.clear()
            self._position_own_s = None
            self._own_s = report.own_s
        self._own_s = report.own_s if self._own_s is None else max(self._own_s, report.own_s)
        if report.received_s is not None:
            self._heard = report.received_s, report.received_s - report.own_s

    def _lies_otherwise(self, report: Report) -> bool:
        if self._heard is None or report.received_s is None or report.own_s is None:
            return False
        heard_s, difference_s = self._heard
        is_after_silence = report.received_s - heard_s > _SILENCE_S
        return is_after_silence and abs(report.received_s - report.own_s - difference_s) > _OTHERWISE_S

    def _why_not(self, report: Report, position: Position, at_s: float) -> str | None:
        """Why a position is refused; None: it is not."""
        try:
            check_coordinates(position.latitude, position.longitude)
        except ValueError:
            return "0/0" if position.latitude == position.longitude == 0 else "no place"
        if report.own_s is not None and report.own_s == self._position_own_s:
            return "stale"
        if self._positions.times_s and at_s <= self._positions.times_s[-1]:
            return "late"
        return "jump" if self._is_jump(position, at_s) else None

    def _is_jump(self, position: Position, at_s: float) -> bool:
        if not self._positions.values:
            return False
        last, part = self._positions.values[-1]
        if part != self._part:
            return False
        if self._is_near(self._positions.times_s[-1], last, at_s, position):
            self._suspects.clear()
            return False
        if self._suspects and not self._is_near(*self._suspects[-1], at_s, position):
            self._suspects.clear()
        self._suspects.append((at_s, position))
        if len(self._suspects) < _BELIEVED or at_s - self._suspects[0][0] < self._max_age_s:
            return True
        self._suspects.clear()
        self.marked["jump"] += 1
        self._part += 1
        return False

    def _is_near(self, from_s: float, start: Position, to_s: float, end: Position) -> bool:
        way_m = distance_m(start.latitude, start.longitude, end.latitude, end.longitude)
        noise_m = _NOISE_M + 3 * ((start.accuracy_m or 0.0) + (end.accuracy_m or 0.0))
        return way_m <= noise_m + self._max_speed_m_s * (to_s - from_s)

    def _add(self, series: _Series[Value], at_s: float, value: Value) -> None:
        if series.times_s and at_s <= series.times_s[-1]:
            self.refused["late"] += 1
            return
        series.add(at_s, value, self._part)
        if self._kept_s is not None:
            series.forget_before(at_s - self._kept_s)

    def _position_at(self, moment_s: float) -> tuple[Position, float] | None:
        series = self._positions
        before, after = series.around(moment_s)
        if before >= 0 and after < len(series.times_s) and series.values[before][1] == series.values[after][1]:
            start_s, end_s = series.times_s[before], series.times_s[after]
            if end_s - start_s <= 2 * self._max_age_s:
                share = (moment_s - start_s) / (end_s - start_s)
                age_s = min(moment_s - start_s, end_s - moment_s)
                return _between(series.values[before][0], series.values[after][0], share), age_s
        near = [index for index in (before, after) if 0 <= index < len(series.times_s)]
        if not near:
            return None
        nearest = min(near, key=lambda index: abs(moment_s - series.times_s[index]))
        away_s = moment_s - series.times_s[nearest]
        if abs(away_s) > self._max_age_s:
            return None
        return self._carried_on(nearest, away_s), abs(away_s)

    def _carried_on(self, index: int, away_s: float) -> Position:
        """The position some time after a fix, or before it, by its own speed or that from the fix before."""
        position, part = self._positions.values[index]
        north_m_s, east_m_s = position.north_m_s, position.east_m_s
        if north_m_s is None or east_m_s is None or math.hypot(north_m_s, east_m_s) > self._max_speed_m_s:
            if index == 0 or self._positions.values[index - 1][1] != part:
                return position
            passed_s = self._positions.times_s[index] - self._positions.times_s[index - 1]
            if passed_s > self._max_age_s:
                return position
            # Mirrored, the fix before is where this speed leads to in the same time.
            return _between(self._positions.values[index - 1][0], position, 1 + away_s / passed_s)
        latitude, longitude = move(position.latitude, position.longitude, east_m_s * away_s, north_m_s * away_s)
        return Position(
            latitude,
            longitude,
            position.altitude_m,
            position.height_m,
            position.accuracy_m,
            north_m_s,
            east_m_s,
            position.is_2d,
        )


def _between(start: Position, end: Position, share: float) -> Position:
    """The position when `share` of the way is done; beyond 1: further on.

    By the vectors that stand upright on the Earth (n-vectors: Gade, A Non-singular Horizontal Position Representation, Journal
    of Navigation 63, 2010), which know neither poles nor a date line.
    """
    vector = [a + (b - a) * share for a, b in zip(_upright(start), _upright(end), strict=True)]
    latitude = math.degrees(math.atan2(vector[2], math.hypot(vector[0], vector[1])))
    longitude = math.degrees(math.atan2(vector[1], vector[0]))
    accuracies = [each.accuracy_m for each in (start, end) if each.accuracy_m is not None]
    return Position(
        latitude,
        longitude,
        _mix(start.altitude_m, end.altitude_m, share),
        _mix(start.height_m, end.height_m, share),
        max(accuracies, default=None),
        _mix(start.north_m_s, end.north_m_s, share),
        _mix(start.east_m_s, end.east_m_s, share),
        start.is_2d or end.is_2d,
    )


def _upright(position: Position) -> tuple[float, float, float]:
    latitude, longitude = math.radians(position.latitude), math.radians(position.longitude)
    return math.cos(latitude) * math.cos(longitude), math.cos(latitude) * math.sin(longitude), math.sin(latitude)


def _mix(start: float | None, end: float | None, share: float) -> float | None:
    return None if start is None or end is None else start + (end - start) * share


def _turned(series: _Series[Attitude], moment_s: float) -> Attitude | None:
    """The attitude at a moment: between two the short way round, else the nearest; None: there is none near enough."""
    before, after = series.around(moment_s)
    near = [
        index
        for index in (before, after)
        if 0 <= index < len(series.times_s) and abs(moment_s - series.times_s[index]) <= ATTITUDE_AGE_S
    ]
    if len(near) == 2 and series.values[before][1] == series.values[after][1]:
        start_s, end_s = series.times_s[before], series.times_s[after]
        return _turn(series.values[before][0], series.values[after][0], (moment_s - start_s) / (end_s - start_s))
    if not near:
        return None
    return series.values[min(near, key=lambda index: abs(moment_s - series.times_s[index]))][0]


def _turn(start: Attitude, end: Attitude, share: float) -> Attitude:
    return Attitude(
        _angle(start.yaw_deg, end.yaw_deg, share) % 360,
        _angle(start.pitch_deg, end.pitch_deg, share),
        _signed(_angle(start.roll_deg, end.roll_deg, share)),
    )


def _angle(start_deg: float, end_deg: float, share: float) -> float:
    return start_deg + _signed(end_deg - start_deg) * share


def _signed(angle_deg: float) -> float:
    """The same angle within -180..180."""
    return (angle_deg + 180) % 360 - 180
