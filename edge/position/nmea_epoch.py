"""What the sentences of an NMEA 0183 receiver say together: it spreads one fix over several sentences of one time of day.

The sentences and their fields: NMEA 0183, as e.g. u-blox and Trimble publish them with their receivers, and
https://gpsd.gitlab.io/gpsd/NMEA.html.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date, time
from typing import Any

from edge.position.report import Position, Report
from edge.position.utc import plausible_utc

RANGE_ERROR_M = {1: 6.1, 2: 1.5}
"""User equivalent range error by the quality of a fix (1: alone, 2: with differential corrections), one standard deviation:
what HDOP is multiplied by. They are gpsd's 15 m and 3.75 m for 95 % (`gpsd_error_model` in its libgpsd_core.c), divided by the
2.45 between both. With RTK the error is not in the range, and only GST knows it."""

_KNOT_M_S = 1852 / 3600
_DAY_S = 86_400.0
_DAYS_TO_1970 = date(1970, 1, 1).toordinal()

_NO_FIX = "no fix"
_QUALITIES = {0: _NO_FIX, 6: "estimated", 7: "manual", 8: "simulated"}
_MODES = {"N": _NO_FIX, "E": "estimated", "M": "manual", "S": "simulated"}
"""Why a fix is none, by the quality of GGA, and by the mode of RMC, GLL and GNS."""

_TRUST = {"GGA": 3, "GNS": 2, "RMC": 1, "GLL": 0}
"""The sentences with a place; those first whose places have more digits, and an altitude."""


@dataclass(slots=True)
class _Epoch:
    """What was said for one time of day.

    Attributes:
        seen: The sentences with a place, by talker and kind.
        day: Days since 1970-01-01.
        place: Latitude and longitude, degrees, and the kind of sentence that said them.
        deviation_m: Standard deviation of the place, from GST.
    """

    received_s: float | None
    time_of_day_s: float | None
    seen: set[str] = field(default_factory=set)
    refused: str | None = None
    day: int | None = None
    place: tuple[float, float] | None = None
    place_of: str = ""
    altitude_m: float | None = None
    quality: int = 1
    hdop: float | None = None
    deviation_m: float | None = None
    speed_m_s: float | None = None
    track_deg: float | None = None


class Epochs:
    """Puts sentences together to reports. An epoch ends with the first sentence of another one, or when the receiver rests."""

    def __init__(self, *, is_recording: bool) -> None:
        self._is_recording = is_recording
        self._epoch: _Epoch | None = None
        # Of GSA, which says no time and comes more rarely than fixes with some receivers.
        self._dimensions: int | None = None
        self._calendar = _Calendar()

    def add(self, sentence: Any, received_s: float | None) -> Report | None:
        """Take a sentence.

        Args:
            sentence: As pynmeagps parses it.
            received_s: When it came, as in `Report`.

        Returns:
            The report that this sentence completed, because it belongs to the next one already.
        """
        kind = sentence.msgID
        if kind == "GSA":
            self._dimensions = _whole(sentence, "navMode")
            return None
        if kind == "VTG":
            if self._epoch is not None:
                _add_velocity(self._epoch, sentence, "sogn", "cogt")
            return None
        time_of_day_s, finished = _time_of_day(sentence), None
        epoch = self._epoch
        if epoch is None or epoch.time_of_day_s != time_of_day_s or (kind in _TRUST and sentence.identity in epoch.seen):
            finished = self.finish()
            self._epoch = epoch = _Epoch(received_s, time_of_day_s)
        if kind in _TRUST:
            epoch.seen.add(sentence.identity)
        _add(epoch, sentence)
        return finished

    def finish(self) -> Report | None:
        """The report of what came so far; None if that says nothing of a place."""
        epoch, self._epoch = self._epoch, None
        if epoch is None:
            return None
        if epoch.seen and (epoch.refused is not None or epoch.place is None):
            return Report(epoch.received_s, refused=epoch.refused or _NO_FIX)
        own_s = utc_s = None
        if epoch.time_of_day_s is not None:
            own_s, utc_s = self._calendar.moment(epoch.time_of_day_s, epoch.day)
        if epoch.place is None:
            return None
        utc_s = plausible_utc(utc_s, is_recording=self._is_recording)
        return Report(epoch.received_s, own_s, utc_s, self._position(epoch, epoch.place))

    def _position(self, epoch: _Epoch, place: tuple[float, float]) -> Position:
        accuracy_m = epoch.deviation_m
        if accuracy_m is None and epoch.hdop and epoch.quality in RANGE_ERROR_M:
            accuracy_m = epoch.hdop * RANGE_ERROR_M[epoch.quality]
        north_m_s = east_m_s = None
        if epoch.speed_m_s is not None and epoch.track_deg is not None:
            track_rad = math.radians(epoch.track_deg)
            north_m_s, east_m_s = epoch.speed_m_s * math.cos(track_rad), epoch.speed_m_s * math.sin(track_rad)
        is_2d = self._dimensions == 2
        return Position(
            *place,
            altitude_m=None if is_2d else epoch.altitude_m,
            accuracy_m=accuracy_m,
            north_m_s=north_m_s,
            east_m_s=east_m_s,
            is_2d=is_2d,
        )


class _Calendar:
    """Makes moments of times of day: over midnight, and before and after the receiver has said the date."""

    def __init__(self) -> None:
        self._time_of_day_s = 0.0
        self._own_day: int | None = None
        self._utc_days_ahead: int | None = None

    def moment(self, time_of_day_s: float, day: int | None) -> tuple[float, float | None]:
        """The receiver's own clock, and the same as UTC, which is None before the first date.

        The own clock begins with the first time of day; if the date is known then, it is UTC. A date that comes later does not
        make it jump.

        Args:
            day: Days since 1970-01-01; None: it was not said with this time.
        """
        if self._own_day is None:
            self._own_day = day or 0
            self._utc_days_ahead = None if day is None else 0
        elif day is not None and self._utc_days_ahead is not None:
            self._own_day = day - self._utc_days_ahead
        else:
            # The nearest: forward over midnight, or back over it for a sentence that comes late.
            self._own_day += round((self._time_of_day_s - time_of_day_s) / _DAY_S)
            if day is not None:
                self._utc_days_ahead = day - self._own_day
        self._time_of_day_s = time_of_day_s
        own_s = self._own_day * _DAY_S + time_of_day_s
        return own_s, None if self._utc_days_ahead is None else own_s + self._utc_days_ahead * _DAY_S


def _add(epoch: _Epoch, sentence: Any) -> None:
    """Take what a sentence that says its time says else."""
    kind = sentence.msgID
    if kind == "ZDA":
        epoch.day = _day_of_zda(sentence)
        return
    if kind == "GST":
        north_m, east_m = _number(sentence, "stdLat"), _number(sentence, "stdLong")
        epoch.deviation_m = None if north_m is None or east_m is None else math.hypot(north_m, east_m)
        return
    refused = _refusal(kind, sentence)
    if refused is not None:
        epoch.refused = epoch.refused or refused
        return
    if kind in {"GGA", "GNS"}:
        epoch.altitude_m = _number(sentence, "alt") if epoch.altitude_m is None else epoch.altitude_m
        epoch.hdop = epoch.hdop or _number(sentence, "HDOP")
    if kind == "GGA":
        epoch.quality = _whole(sentence, "quality") or 0
    if kind == "RMC":
        _add_velocity(epoch, sentence, "spd", "cog")
        stated = getattr(sentence, "date", None)
        epoch.day = stated.toordinal() - _DAYS_TO_1970 if isinstance(stated, date) else epoch.day
    _add_place(epoch, sentence)


def _refusal(kind: str, sentence: Any) -> str | None:
    """Why a sentence's place is none; None: it is one."""
    if kind == "GGA":
        quality = _whole(sentence, "quality")
        return _NO_FIX if quality is None else _QUALITIES.get(quality)
    modes = set(str(getattr(sentence, "posMode", "")))
    if kind == "GNS":
        # One letter for each system; it is enough that one of them has a fix.
        modes = modes - {"N"} or {"N"}
    elif getattr(sentence, "status", "") != "A":
        return _NO_FIX
    return _MODES.get(modes.pop()) if len(modes) == 1 else None


def _add_place(epoch: _Epoch, sentence: Any) -> None:
    """Take a sentence's place if it is better than what there is. A place without its hemisphere is none."""
    kind = sentence.msgID
    if epoch.place is not None and _TRUST[epoch.place_of] >= _TRUST[kind]:
        return
    latitude, longitude = _number(sentence, "lat"), _number(sentence, "lon")
    has_hemispheres = getattr(sentence, "NS", "") in {"N", "S"} and getattr(sentence, "EW", "") in {"E", "W"}
    if latitude is not None and longitude is not None and has_hemispheres:
        epoch.place, epoch.place_of = (latitude, longitude), kind


def _add_velocity(epoch: _Epoch, sentence: Any, speed_name: str, track_name: str) -> None:
    speed_knots, track_deg = _number(sentence, speed_name), _number(sentence, track_name)
    if epoch.speed_m_s is None and speed_knots is not None and track_deg is not None:
        epoch.speed_m_s, epoch.track_deg = speed_knots * _KNOT_M_S, track_deg


def _time_of_day(sentence: Any) -> float | None:
    stated = getattr(sentence, "time", None)
    if not isinstance(stated, time):
        return None
    return stated.hour * 3600.0 + stated.minute * 60.0 + stated.second + stated.microsecond / 1e6


def _day_of_zda(sentence: Any) -> int | None:
    """Days since 1970-01-01; None where the date is empty or cannot be."""
    parts = [_whole(sentence, name) for name in ("year", "month", "day")]
    try:
        return date(*(part or 0 for part in parts)).toordinal() - _DAYS_TO_1970
    except (ValueError, OverflowError):
        return None


def _number(sentence: Any, name: str) -> float | None:
    """A field that is a finite number; an empty one is a text."""
    value = getattr(sentence, name, None)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _whole(sentence: Any, name: str) -> int | None:
    value = getattr(sentence, name, None)
    return value if isinstance(value, int) else None
