"""What becomes of tiles that reach the threshold: left out, held back until confirmed, merged into an alert, or a new one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from edge.config import TriageConfig
from edge.messages import uuid7
from edge.records import Alert, Frame, Place, Tile
from edge.triage.area import Area
from edge.triage.confirmation import Confirmation
from edge.triage.merging import Merging, OpenAlert
from edge.triage.sighting import Sighting

DEVICE_MARGIN_M = 1000.0
"""A camera looks so far: what an aircraft sees that is no further from the area may lie within."""


class Sightings:
    """One for a device, whatever model serves: places stay where they are. Any thread may call it.

    Attributes:
        outside_area: How many sightings lay outside of the area, or were of an aircraft far from it.
    """

    def __init__(
        self,
        *,
        merge_m: float = 0.0,
        merge_s: float = 60.0,
        confirm: tuple[int, int] | None = None,
        area: Area | None = None,
        new_id: Callable[[], str] = uuid7,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            merge_m: As in the configuration, as is `merge_s`.
            confirm: k and n: of n frames in a row k must show it; None: one is enough.
            area: Outside of it nothing is alerted about, nor, where only the aircraft's place is known, further from it
                than `DEVICE_MARGIN_M`; None: everywhere.
            clock: Seconds.
        """
        self._area = area
        # One frame confirms itself.
        self._confirmation = None if confirm is None or confirm[0] == 1 else Confirmation(*confirm, merge_m)
        self._merging = Merging(merge_m, merge_s, new_id, clock)
        self._new_id = new_id
        # Then each sighting is an alert, and nothing is remembered.
        self._is_plain = area is None and self._confirmation is None and not merge_m
        self._lock = threading.Lock()
        self.outside_area = 0

    @classmethod
    def from_config(cls, config: TriageConfig) -> Sightings:
        """
        Raises:
            ConfigError: ``triage.area`` is no area.
        """
        area = Area.load(config.area) if config.area else None
        return cls(merge_m=config.merge_m, merge_s=config.merge_s, confirm=config.confirm, area=area)

    def take(self, frame: Frame, sightings: Sequence[Sighting]) -> tuple[Alert, ...]:
        """What the ground is to be told after a frame.

        Args:
            sightings: In tiles of it; none counts, too, where frames are counted.
        """
        if self._is_plain:
            return tuple(Alert(self._new_id(), each.observation, each.label, each.confidence) for each in sightings)
        with self._lock:
            self._merging.saw(frame.captured_at)
            if self._confirmation is not None:
                self._confirmation.saw(frame)
            if not sightings:
                return ()
            touched = {id(alert): alert for each in sightings for alert in self._place(each)}
            told = (self._merging.tell_if_due(alert) for alert in touched.values())
            return tuple(alert for alert in told if alert is not None)

    def best_in(self, frame: Frame) -> list[tuple[str, Tile]]:
        """Alerts that may be told again and that a frame shows best, as far as is known now, and in which of its tiles."""
        with self._lock:
            return self._merging.best_in(frame)

    def due_s(self) -> float | None:
        """Seconds until `close_due` has something to tell; None: there is nothing."""
        with self._lock:
            return self._merging.due_s()

    def close_due(self) -> list[Alert]:
        """The last revisions of alerts to which nothing has come for long enough."""
        with self._lock:
            return self._merging.close_due()

    def flush(self) -> list[Alert]:
        """The last revisions of all alerts, at the end."""
        with self._lock:
            return self._merging.flush()

    def _place(self, sighting: Sighting) -> list[OpenAlert]:
        """The alerts that a sighting belongs to or lets be told; none: not yet, or never."""
        if not self._is_wanted(sighting.place):
            self.outside_area += 1
            return []
        joined = self._merging.join(sighting)
        if joined is not None:
            return [joined]
        if self._confirmation is None:
            return [self._merging.begin([sighting], sighting)]
        # One that could wait no longer has nothing to do with this sighting.
        groups = self._confirmation.take(sighting)
        return [self._merging.begin(each, next((one for one in each if one is sighting), each[-1])) for each in groups]

    def _is_wanted(self, place: Place | None) -> bool:
        # Where nobody knows the place, an alert too many is better than one that is lost.
        if self._area is None or place is None:
            return True
        return self._area.contains(place.latitude, place.longitude, 0.0 if place.kind == "ground" else DEVICE_MARGIN_M)
