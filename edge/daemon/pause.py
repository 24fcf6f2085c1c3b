"""A pause of the classification, by a command."""

from __future__ import annotations

import threading

from edge.health import Conditions


class Pause:
    """Lanes wait here while the device is paused."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._goes_on = threading.Event()
        self._goes_on.set()

    def set(self, *, paused: bool) -> None:
        """Pause, or go on."""
        if paused:
            self._goes_on.clear()
        else:
            self._goes_on.set()
        self._conditions.set("paused", "by a command; nothing is classified until resume" if paused else None)

    @property
    def is_set(self) -> bool:
        """Whether the device is paused."""
        return not self._goes_on.is_set()

    def wait(self, seconds: float) -> bool:
        """Whether it goes on, after waiting for that for so long at most."""
        return self._goes_on.wait(seconds)
