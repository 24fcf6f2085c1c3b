"""What the device knows of itself: the reasons why it is degraded, and what psutil sees of the machine."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from edge.text import one_line

_log = logging.getLogger(__name__)

_LOOPBACK = "lo"


class Conditions:
    """Why the device is not as it should be: one reason for each room, gone when the room works again."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """
        Args:
            changed: Is called after every change, by one thread at a time: by the one that made the change, or by one that
                is calling already and then calls once more. So the last call sees the last change. It may set a condition.
        """
        self._changed = changed
        self._reasons: dict[str, str] = {}
        self._lock = threading.Lock()
        self._untold = False
        self._telling = threading.Lock()

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
        self.announce()

    def announce(self) -> None:
        """Pass on a change; also one that is no reason: another model."""
        self._untold = True
        # Who does not get the lock leaves the change to its holder, who looks again after it let go.
        while self._untold and self._telling.acquire(blocking=False):
            try:
                self._untold = False
                self._changed()
            finally:
                self._telling.release()

    def reasons(self) -> list[str]:
        """All reasons, each in one line that begins with its room."""
        with self._lock:
            return [f"{room}: {reason}" for room, reason in sorted(self._reasons.items())]


@dataclass(frozen=True, slots=True)
class Machine:
    """A look at the machine. None where it does not say.

    Attributes:
        load_1min: Processes that ran or waited for a processor or a disk, averaged over a minute.
        cpu_mhz: Clock of the processor, a mean over its cores.
        memory_available_bytes: What programs can still get without swapping.
        network_sent_bytes: What left through all interfaces but loopback since the watch began; what goes through a tunnel
            counts in the tunnel and below it.
        network_received_bytes: What came in, likewise.
    """

    uptime_s: float
    cpu_percent: float
    cpu_mhz: float | None
    load_1min: float | None
    memory_percent: float
    memory_available_bytes: int
    process_memory_bytes: int
    temperature_c: float | None
    disk_free_bytes: int | None
    network_sent_bytes: int | None
    network_received_bytes: int | None


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
        self._traffic = _Traffic()
        psutil.cpu_percent()

    def look(self) -> Machine:
        """How the machine is now."""
        memory = psutil.virtual_memory()
        sent, received = self._traffic.look()
        return Machine(
            uptime_s=round(time.monotonic() - self._started, 1),
            cpu_percent=psutil.cpu_percent(),
            cpu_mhz=_clock_mhz(),
            load_1min=_load(),
            memory_percent=memory.percent,
            memory_available_bytes=memory.available,
            process_memory_bytes=self._process.memory_info().rss,
            temperature_c=_hottest(),
            disk_free_bytes=self._disk_free(),
            network_sent_bytes=sent,
            network_received_bytes=received,
        )

    def _disk_free(self) -> int | None:
        try:
            return psutil.disk_usage(str(self._folder)).free
        except OSError:
            return None


class _Traffic:
    """Bytes through the network since it was made.

    The counters of an interface vanish with it: a modem that is plugged in again begins at zero. So what each one counted
    since the look before is added up.
    """

    def __init__(self) -> None:
        self._sent = self._received = 0
        self._last = _interface_counters() or {}

    def look(self) -> tuple[int | None, int | None]:
        """Bytes sent and received until now."""
        counters = _interface_counters()
        if counters is None:
            return None, None
        for name, (sent, received) in counters.items():
            sent_before, received_before = self._last.get(name, (0, 0))
            self._sent += sent - sent_before
            self._received += received - received_before
        self._last = counters
        return self._sent, self._received


def _interface_counters() -> dict[str, tuple[int, int]] | None:
    """Bytes sent and received by interface; psutil makes them grow even where the kernel's wrap around."""
    try:
        counters = psutil.net_io_counters(pernic=True)
    except OSError:
        return None
    return {name: (count.bytes_sent, count.bytes_recv) for name, count in counters.items() if name != _LOOPBACK}


def _load() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def _clock_mhz() -> float | None:
    """The processor's clock; virtual machines and some boards do not tell."""
    try:
        frequency = psutil.cpu_freq()
    except (OSError, NotImplementedError):
        return None
    return round(frequency.current, 1) if frequency and frequency.current else None


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
