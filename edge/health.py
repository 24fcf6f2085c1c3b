"""What the device knows of itself: the reasons why it is degraded, and what psutil sees of the machine."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from edge.text import one_line

_log = logging.getLogger(__name__)


class Conditions:
    """Why the device is not as it should be: one reason for each room, gone when the room works again."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """
        Args:
            changed: Is called after every change, on the thread that made it.
        """
        self._changed = changed
        self._reasons: dict[str, str] = {}
        self._lock = threading.Lock()

    def set(self, room: str, reason: str | None) -> None:
        """Say why a room does not work, or by None that it does. Only changes are logged and passed on."""
        with self._lock:
            if self._reasons.get(room) == reason:
                return
            if reason is None:
                del self._reasons[room]
            else:
                self._reasons[room] = reason
        if reason is None:
            _log.info("%s: works again", room)
        else:
            _log.warning("%s: %s", room, reason)
        self._changed()

    def announce(self) -> None:
        """Pass on a change that is no reason: another model."""
        self._changed()

    def reasons(self) -> list[str]:
        """All reasons, each in one line that begins with its room."""
        with self._lock:
            return [f"{room}: {reason}" for room, reason in sorted(self._reasons.items())]


@dataclass(frozen=True, slots=True)
class Machine:
    """A look at the machine. None where it does not say."""

    uptime_s: float
    cpu_percent: float
    memory_percent: float
    process_memory_bytes: int
    temperature_c: float | None
    disk_free_bytes: int | None


class MachineWatch:
    """Looks at the machine; percentages are means since the look before."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: The free space of its file system is reported.
        """
        self._folder = folder
        self._process = psutil.Process()
        self._started = time.monotonic()
        psutil.cpu_percent()

    def look(self) -> Machine:
        """How the machine is now."""
        return Machine(
            uptime_s=round(time.monotonic() - self._started, 1),
            cpu_percent=psutil.cpu_percent(),
            memory_percent=psutil.virtual_memory().percent,
            process_memory_bytes=self._process.memory_info().rss,
            temperature_c=_hottest(),
            disk_free_bytes=self._disk_free(),
        )

    def _disk_free(self) -> int | None:
        try:
            return psutil.disk_usage(str(self._folder)).free
        except OSError:
            return None


def _hottest() -> float | None:
    """The highest temperature that any sensor of the machine reports, degrees Celsius."""
    read = getattr(psutil, "sensors_temperatures", None)
    if read is None:
        return None
    try:
        values = [sensor.current for sensors in read().values() for sensor in sensors if sensor.current is not None]
    except (OSError, ValueError) as error:
        # A broken sensor must not cost more than its own reading.
        _log.warning("temperature cannot be read: %s", one_line(error))
        return None
    return max(values, default=None)
