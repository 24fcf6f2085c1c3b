"""What the messages of one autopilot say of where it is, and when: the others on the link are not mixed up with it."""

from __future__ import annotations

import math
from typing import Any

from edge.position.mavlink_gimbal import GIMBAL_MESSAGES, Gimbal, checked_attitude
from edge.position.report import Position, Report
from edge.position.utc import plausible_utc

MESSAGES = frozenset(
    {"HEARTBEAT", "GLOBAL_POSITION_INT", "ATTITUDE", "GPS_RAW_INT", "GPS2_RAW", "SYSTEM_TIME", *GIMBAL_MESSAGES}
)
"""The messages that say something here."""

_AUTOPILOT = 1  # the component of a system that flies it
_NO_AUTOPILOT = 8
_GROUND_STATION = 6
_GROUND_SYSTEM = 255
_FIX_2D = 2
_HEADING_UNKNOWN = 0xFFFF
_ACCURACY_UNKNOWN = (0, 0xFFFF_FFFF)

_HEADING_AGE_S = 1.0
"""A heading that was told longer ago is not the one of now."""

_REBOOT_S = 1.0
"""Messages overtake each other by less than this; a clock that goes back by more has started again."""


class BootClock:
    """Seconds since the autopilot's boot from its milliseconds, which start again at zero after 49.7 days."""

    _TURN_MS = 1 << 32
    _NEAR_MS = 600_000

    def __init__(self) -> None:
        self._turns = 0
        self._last_ms = 0

    def seconds(self, boot_ms: int) -> float:
        """The seconds; less than before where the autopilot has booted again."""
        behind_ms = self._last_ms - boot_ms
        if behind_ms > self._TURN_MS - self._NEAR_MS:
            self._turns += 1
        elif self._turns and behind_ms < self._NEAR_MS - self._TURN_MS:  # from before the turn, overtaken by one from behind it
            return ((self._turns - 1) * self._TURN_MS + boot_ms) / 1000
        self._last_ms = boot_ms
        return (self._turns * self._TURN_MS + boot_ms) / 1000


class Vehicle:
    """The first autopilot that is heard on a link: component 1 of a system whose heartbeat does not deny that it is one.

    It stays the one as long as this lives, over connections that are lost: the camera does not change its aircraft.
    """

    def __init__(self, *, is_recording: bool = False) -> None:
        self._is_recording = is_recording
        self._system: int | None = None
        self._no_autopilots = {_GROUND_SYSTEM}
        self._clock = BootClock()
        self._gimbal = Gimbal()
        self._forget(0.0)

    def _forget(self, own_s: float) -> None:
        """What was known before a boot is not known after it."""
        self._own_s = own_s
        self._utc_at_boot_s: float | None = None
        self._heading: tuple[float, float | None, float | None] | None = None
        self._receivers: dict[str, tuple[int, float | None]] = {}

    def report(self, message: Any, received_s: float | None) -> Report | None:
        """What a message says; None: nothing that is of use here, or by somebody else than an autopilot.

        Args:
            message: pymavlink's, one of `MESSAGES`.
            received_s: When it came.
        """
        kind, system = message.get_type(), message.get_srcSystem()
        is_autopilot = message.get_srcComponent() == _AUTOPILOT
        if kind == "HEARTBEAT":
            if is_autopilot:
                self._hear_heartbeat(message)
            return None
        if system in self._no_autopilots or not (is_autopilot or kind in GIMBAL_MESSAGES):
            return None
        if self._system is None and is_autopilot:
            self._system = system
        if system != self._system:
            return Report(received_s, refused="other vehicle") if self._system is not None else None
        # Another component, such as a gimbal, has a clock of its own.
        own_s = self._own(message.time_boot_ms) if is_autopilot and hasattr(message, "time_boot_ms") else None
        try:
            return self._read(kind, message, received_s, own_s)
        except ValueError as error:
            return Report(received_s, refused=str(error))

    def _hear_heartbeat(self, message: Any) -> None:
        system = message.get_srcSystem()
        if message.autopilot != _NO_AUTOPILOT and message.type != _GROUND_STATION:
            self._no_autopilots.discard(system)
            if self._system is None:
                self._system = system
            return
        self._no_autopilots.add(system)
        if system == self._system:
            self._system = None
            self._clock = BootClock()
            self._forget(0.0)

    def _own(self, boot_ms: int) -> float:
        own_s = self._clock.seconds(boot_ms)
        if own_s < self._own_s - _REBOOT_S:
            self._forget(own_s)
        self._own_s = max(own_s, self._own_s)
        return own_s

    def _read(self, kind: str, message: Any, received_s: float | None, own_s: float | None) -> Report | None:
        """
        Raises:
            ValueError: It is of no use; the message is the reason.
        """
        position = attitude = camera = None
        if kind in {"GPS_RAW_INT", "GPS2_RAW"}:
            self._receivers[kind] = (message.fix_type, _accuracy(message.h_acc))
            return None
        if kind == "SYSTEM_TIME":
            if message.time_unix_usec == 0:  # the autopilot does not know
                return None
            self._hear_time(message.time_unix_usec / 1e6, own_s)
        elif kind == "ATTITUDE":
            attitude = checked_attitude(*(math.degrees(angle) for angle in (message.yaw, message.pitch, message.roll)))
            self._heading = (attitude.yaw_deg, received_s, own_s)
        elif kind == "GLOBAL_POSITION_INT":
            if message.hdg != _HEADING_UNKNOWN:
                self._heading = (message.hdg / 100, received_s, own_s)
            position = self._position(message)
        else:
            camera = self._gimbal.attitude(message, self._heading_at(received_s, own_s))
            if camera is None:
                return None
        utc_s = None if own_s is None or self._utc_at_boot_s is None else self._utc_at_boot_s + own_s
        return Report(received_s, own_s, utc_s, position, attitude, camera)

    def _hear_time(self, utc_s: float, own_s: float | None) -> None:
        if own_s is None or plausible_utc(utc_s, is_recording=self._is_recording) is None:
            self._utc_at_boot_s = None
            raise ValueError("implausible time")
        self._utc_at_boot_s = utc_s - own_s

    def _heading_at(self, received_s: float | None, own_s: float | None) -> float | None:
        """The aircraft's yaw, unless it was told too long ago."""
        if self._heading is None:
            return None
        heading_deg, heading_received_s, heading_own_s = self._heading
        for now_s, then_s in ((own_s, heading_own_s), (received_s, heading_received_s)):
            if now_s is not None and then_s is not None:
                return heading_deg if abs(now_s - then_s) <= _HEADING_AGE_S else None
        return None

    def _position(self, message: Any) -> Position:
        """
        Its accuracy is what the best of the GPS receivers says of itself (``h_acc``); ``eph`` is the geometry of the
        satellites (HDOP), which is no distance, and is not used.

        Raises:
            ValueError: No receiver has a fix, and the autopilot guesses where it has drifted since.
        """
        fix, accuracy_m = max(self._receivers.values(), key=lambda receiver: receiver[0], default=(None, None))
        if fix is not None and fix < _FIX_2D:
            raise ValueError("no fix")
        return Position(
            message.lat / 1e7,
            message.lon / 1e7,
            altitude_m=message.alt / 1000,
            height_m=message.relative_alt / 1000,
            accuracy_m=accuracy_m,
            north_m_s=message.vx / 100,
            east_m_s=message.vy / 100,
            is_2d=fix == _FIX_2D,
        )


def _accuracy(accuracy_mm: int) -> float | None:
    """Metres, one standard deviation as receivers estimate it; None: the receiver does not say."""
    return None if accuracy_mm in _ACCURACY_UNKNOWN else accuracy_mm / 1000
