"""How the device does, in numbers: for the ground, for Prometheus and for `overflight status`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict

from edge.daemon.counters import Counters
from edge.health import MachineWatch
from edge.journal import Journal
from edge.messages import HealthMessage, PositionHealth, rfc3339, utc_now
from edge.position import Locator
from edge.triage import Sightings
from edge.uplink import Uplink


class Vitals:
    """Makes health messages; rates are means since the last one that was made for the ground."""

    def __init__(
        self,
        device: str,
        *,
        machine: MachineWatch,
        counters: Counters,
        journal: Journal,
        uplink: Uplink,
        queues: Callable[[], dict[str, int]],
        sightings: Sightings,
        locator: Locator,
    ) -> None:
        """
        Args:
            queues: How many wait before which stage.
        """
        self._device = device
        self._machine = machine
        self._counters = counters
        self._journal = journal
        self._uplink = uplink
        self._queues = queues
        self._sightings = sightings
        self._locator = locator
        self._lock = threading.Lock()
        self._frames, self._sent_bytes, self._at = 0, 0, time.monotonic()
        self._frames_per_s = self._bytes_per_s = 0.0

    def measure(self) -> HealthMessage:
        """How it does, with the rates since the last call."""
        with self._lock:
            now, frames, sent_bytes = time.monotonic(), self._counters.frames, self._uplink.sent_bytes
            passed = max(now - self._at, 1e-3)
            self._frames_per_s = (frames - self._frames) / passed
            self._bytes_per_s = (sent_bytes - self._sent_bytes) / passed
            self._frames, self._sent_bytes, self._at = frames, sent_bytes, now
        return self.look()

    def look(self) -> HealthMessage:
        """How it does, with the rates of the last call of `measure`."""
        counters = self._counters
        return HealthMessage(
            device=self._device,
            at=rfc3339(utc_now()),
            **asdict(self._machine.look()),
            frames=counters.frames,
            rejected=counters.rejected_count,
            alerts=counters.alerts,
            alerts_waiting=self._journal.alerts.waiting,
            thumbnails_waiting=self._journal.thumbnails.waiting,
            uplink_bytes_per_s=round(self._bytes_per_s, 1),
            journal_bytes=self._journal.size_bytes,
            frames_per_s=round(self._frames_per_s, 2),
            queues=self._queues(),
            fix=counters.last_fix,
            outside_area=self._sightings.outside_area,
            positions={source: PositionHealth(**asdict(health)) for source, health in self._locator.health().items()},
        )
