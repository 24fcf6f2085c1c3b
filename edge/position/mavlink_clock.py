"""The clock of the one autopilot that is listened to, told from one that has booted again and from that of another vehicle."""

from __future__ import annotations

from copy import copy

_OVERTAKEN_S = 1.0
"""Messages overtake each other by less than this; a clock that is behind by more is not the one that went before."""

_HELD_UP_S = 2.0
"""Delays of a link vary by less than this, unless it is lost for a while."""

_SILENT_S = 3.0
"""An autopilot says several times a second what time it is, and needs longer than this to boot."""


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


class AutopilotClock:
    """Says of each message whether its time is of the clock that was heard before.

    A clock goes on, or has begun anew after some seconds of silence. One that shows another time while the first still ticks
    is that of another vehicle, with the same system id. What lies between the clock and that of whoever receives shows a boot
    that nobody heard, because the link was lost meanwhile: the difference grows by as much as the autopilot had been on.
    A link that holds messages up for seconds after a silence looks the same; then little is lost by forgetting.
    """

    def __init__(self) -> None:
        self._boot = BootClock()
        self._newest_s: float | None = None
        self._received_s: float | None = None
        self._least_s: float | None = None  # of what lay between the two clocks
        self._last_s: float | None = None  # the latest of it
        self._other_s: float | None = None

    def read(self, boot_ms: int, received_s: float | None) -> tuple[float, bool]:
        """Seconds since the autopilot's boot, and whether it has booted since the message before.

        Args:
            boot_ms: As a message says it.
            received_s: When it came; None: the recording does not say.

        Raises:
            ValueError: It is another vehicle's; the message is the reason.
        """
        boot = copy(self._boot)
        own_s = boot.seconds(boot_ms)
        is_silent = self._is_silent(own_s, received_s)
        is_boot = not self._goes_on(own_s, received_s, is_silent)
        if is_boot:
            if not is_silent:
                raise ValueError("other vehicle")
            self._newest_s = self._least_s = None
        self._boot, self._other_s = boot, None
        self._newest_s = own_s if self._newest_s is None else max(own_s, self._newest_s)
        self._received_s = received_s
        self._last_s = None if received_s is None else received_s - own_s
        if self._last_s is not None:
            self._least_s = self._last_s if self._least_s is None else min(self._last_s, self._least_s)
        return own_s, is_boot

    def _goes_on(self, own_s: float, received_s: float | None, is_silent: bool) -> bool:
        if self._newest_s is None:
            return True
        if own_s < self._newest_s - _OVERTAKEN_S:
            return False
        if received_s is None or self._least_s is None or self._last_s is None:
            return True
        between_s = received_s - own_s
        if between_s < self._least_s - _HELD_UP_S:
            return False
        return not is_silent or between_s <= self._last_s + _HELD_UP_S

    def _is_silent(self, own_s: float, received_s: float | None) -> bool:
        """Whether the clock was not heard for a while; a recorder's clock that was set says nothing else either."""
        if received_s is not None and self._received_s is not None:
            return not 0 <= received_s - self._received_s <= _SILENT_S
        # Without a time of reception: for as long as another clock alone went on.
        if self._other_s is None or own_s < self._other_s:
            self._other_s = own_s
        return own_s - self._other_s > _SILENT_S
