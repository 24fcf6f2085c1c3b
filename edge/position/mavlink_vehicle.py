"""What the messages of one autopilot say of where it is, and when: the others on the link are not mixed up with it."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

from edge.position.mavlink_clock import AutopilotClock
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

_GPS_WORD_AGE_S = 5.0
"""Autopilots send GPS_RAW_INT every second; a receiver that is silent for longer vouches for nothing."""

_LEFT_S = 10.0
"""An autopilot says every second that it is there; who is silent for longer may go on from another address."""


@dataclass(frozen=True, slots=True)
class _GpsWord:
    """What a receiver says of itself, with the times at which it came: by whoever received it, and by the autopilot's clock."""

    fix_type: int
    accuracy_m: float | None
    received_s: float | None
    own_s: float | None

    def is_young(self, received_s: float | None, own_s: float | None) -> bool:
        """Whether it still holds; without a time of reception, by the autopilot's clock."""
        if received_s is None or self.received_s is None:
            return not _is_over(_GPS_WORD_AGE_S, own_s, self.own_s)
        return not _is_over(_GPS_WORD_AGE_S, received_s, self.received_s)


class Vehicle:
    """The first autopilot that is heard on a link: component 1 of a system whose heartbeat does not deny that it is one.

    It stays the one as long as this lives, over connections that are lost: the camera does not change its aircraft. Vehicles
    that have the same system id, as two that nobody has configured, are told apart by the address that they send from, or
    else by their clocks.
    """

    def __init__(self, *, is_recording: bool = False) -> None:
        self._is_recording = is_recording
        self._system: int | None = None
        self._no_autopilots = {_GROUND_SYSTEM}
        self._begin(None, None, None)

    def _begin(self, system: int | None, sender: Hashable, received_s: float | None) -> None:
        """Listen to one of which nothing is known yet; None: to whom comes first."""
        self._system = system
        self._sender = sender
        self._heard_s = received_s
        self._clock = AutopilotClock()
        self._gimbal = Gimbal()
        self._forget()

    def _forget(self) -> None:
        """What was known before a boot is not known after it."""
        self._own_s: float | None = None
        self._utc_at_boot_s: float | None = None
        self._heading: tuple[float, float | None, float | None] | None = None
        self._receivers: dict[str, _GpsWord] = {}

    def report(self, message: Any, received_s: float | None, sender: Hashable = None) -> Report | None:
        """What a message says; None: nothing that is of use here, or by somebody else than an autopilot.

        Args:
            message: pymavlink's, one of `MESSAGES`.
            received_s: When it came.
            sender: The address that it came from, where the link has more than one.
        """
        kind, system = message.get_type(), message.get_srcSystem()
        is_autopilot = message.get_srcComponent() == _AUTOPILOT
        if kind == "HEARTBEAT":
            if is_autopilot:
                self._hear_heartbeat(message, received_s, sender)
            return None
        if system in self._no_autopilots or not (is_autopilot or kind in GIMBAL_MESSAGES):
            return None
        if not self._is_the_one(system, received_s, sender, is_autopilot=is_autopilot):
            return Report(received_s, refused="other vehicle") if self._system is not None else None
        try:
            # Another component, such as a gimbal, has a clock of its own.
            has_time = is_autopilot and hasattr(message, "time_boot_ms")
            own_s = self._own(message.time_boot_ms, received_s) if has_time else None
            return self._read(kind, message, received_s, own_s)
        except ValueError as error:
            return Report(received_s, refused=str(error))

    def _is_the_one(self, system: int, received_s: float | None, sender: Hashable, *, is_autopilot: bool) -> bool:
        """Whether a message is of the vehicle that is listened to; if there is none, of an autopilot that becomes it.

        It keeps to its address. One that is silent may have another by then: a router that was started again has.
        """
        if self._system is None and is_autopilot:
            self._begin(system, sender, received_s)
        if system != self._system:
            return False
        if is_autopilot and sender != self._sender and _is_over(_LEFT_S, received_s, self._heard_s):
            self._begin(system, sender, received_s)
        if is_autopilot and sender == self._sender:
            self._heard_s = received_s
        return sender == self._sender

    def _hear_heartbeat(self, message: Any, received_s: float | None, sender: Hashable) -> None:
        system = message.get_srcSystem()
        if message.autopilot != _NO_AUTOPILOT and message.type != _GROUND_STATION:
            self._no_autopilots.discard(system)
            self._is_the_one(system, received_s, sender, is_autopilot=True)
        elif system != self._system:
            self._no_autopilots.add(system)
        elif sender == self._sender:
            self._no_autopilots.add(system)
            self._begin(None, None, None)

    def _own(self, boot_ms: int, received_s: float | None) -> float:
        """
        Raises:
            ValueError: It is the time of another vehicle.
        """
        own_s, is_boot = self._clock.read(boot_ms, received_s)
        if is_boot:
            self._forget()
        if self._own_s is None:  # words that came before any time are of now
            self._receivers = {kind: replace(word, own_s=own_s) for kind, word in self._receivers.items()}
        self._own_s = own_s
        return own_s

    def _read(self, kind: str, message: Any, received_s: float | None, own_s: float | None) -> Report | None:
        """
        Raises:
            ValueError: It is of no use; the message is the reason.
        """
        position = attitude = camera = None
        if kind in {"GPS_RAW_INT", "GPS2_RAW"}:
            self._receivers[kind] = _GpsWord(message.fix_type, _accuracy(message.h_acc), received_s, self._own_s)
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
            position = self._position(message, received_s, own_s)
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

    def _position(self, message: Any, received_s: float | None, own_s: float | None) -> Position:
        """
        Its accuracy is what the best of the GPS receivers says of itself (``h_acc``); ``eph`` is the geometry of the
        satellites (HDOP), which is no distance, and is not used.

        Raises:
            ValueError: No receiver has a fix, or none says that it has: the autopilot may guess where it has drifted since.
        """
        young = [word for word in self._receivers.values() if word.is_young(received_s, own_s)]
        if not young:
            raise ValueError("no GPS word")
        best = max(young, key=lambda word: word.fix_type)
        if best.fix_type < _FIX_2D:
            raise ValueError("no fix")
        return Position(
            message.lat / 1e7,
            message.lon / 1e7,
            altitude_m=message.alt / 1000,
            height_m=message.relative_alt / 1000,
            accuracy_m=best.accuracy_m,
            north_m_s=message.vx / 100,
            east_m_s=message.vy / 100,
            is_2d=best.fix_type == _FIX_2D,
        )


def _accuracy(accuracy_mm: int) -> float | None:
    """Metres, one standard deviation as receivers estimate it; None: the receiver does not say."""
    return None if accuracy_mm in _ACCURACY_UNKNOWN else accuracy_mm / 1000


def _is_over(limit_s: float, now_s: float | None, then_s: float | None) -> bool:
    """Whether more time has passed; if one of the two is not known, it has not. A recorder's clock may have been set back."""
    return now_s is not None and then_s is not None and abs(now_s - then_s) > limit_s
