"""How many messages may be under way at once."""

from __future__ import annotations

import time
from collections.abc import Callable

_LEAST, _MOST = 8, 250
# Of what the broker acknowledged within a second, so many times as much: it grows until the link carries no more.
_GROWTH = 2
# Left for status messages.
_SPARE = 2


class Window:
    """Follows what the link carries: what lies before a new alert in a slow link is two seconds' worth at most."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._second = clock()
        self._before = 0
        self._now = 0

    def acknowledged(self) -> None:
        """Count a message that the broker has acknowledged."""
        self._turn()
        self._now += 1

    def size(self, receive_maximum: int) -> int:
        """How many messages may be under way.

        Args:
            receive_maximum: How many the broker takes.
        """
        self._turn()
        carried = max(self._before, self._now)
        return max(1, min(receive_maximum - _SPARE, _MOST, _LEAST + _GROWTH * carried))

    def _turn(self) -> None:
        passed = self._clock() - self._second
        if passed >= 1.0:
            self._before = self._now if passed < 2.0 else 0
            self._now = 0
            self._second = self._clock()
