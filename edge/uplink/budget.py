"""How much may be sent: a thin link is shared, and what matters most must find it free."""

from __future__ import annotations

import time
from collections.abc import Callable

# What TCP, IP, TLS and MQTT put around a message (measured with tcpdump: 40 + 12 + 29 + about 10).
OVERHEAD_BYTES = 90
# So many seconds' worth may be sent at once after a pause.
_BURST_S = 1.0


class Budget:
    """A token bucket. What is urgent may run it into debt, and is only held up by what was urgent before."""

    def __init__(self, bytes_per_s: float | None, largest: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            bytes_per_s: None: all that the link can carry.
            largest: Size of the largest message that waits until it can be paid for.
        """
        self._rate = bytes_per_s
        self._clock = clock
        self._most = max(_BURST_S * (bytes_per_s or 0), largest + OVERHEAD_BYTES)
        self._left = self._most
        self._at = clock()
        self.spent_bytes = 0

    def wait_s(self, payload_bytes: int = 0) -> float:
        """Seconds until a message may be sent; 0: now.

        Args:
            payload_bytes: What must be there beforehand; 0: for what is urgent, no debt is enough.
        """
        if self._rate is None:
            return 0.0
        self._fill()
        needed = min(payload_bytes + OVERHEAD_BYTES, self._most) if payload_bytes else 0.0
        return max(0.0, (needed - self._left) / self._rate)

    def spend(self, payload_bytes: int) -> None:
        """Count a message that is sent."""
        self.spent_bytes += payload_bytes + OVERHEAD_BYTES
        if self._rate is not None:
            self._fill()
            self._left -= payload_bytes + OVERHEAD_BYTES

    def _fill(self) -> None:
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * (self._rate or 0))
        self._at = now
