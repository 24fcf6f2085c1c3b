"""Sightings of one place are one alert, which is told again only when there is something to say.

A hundred updates are no better than a hundred alerts. So an alert is told anew when twice as many frames show it as when it was
told last, when its best sighting is clearly surer, and once more when nothing has come for a while.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from edge.messages import uuid7
from edge.records import Alert, Frame, Place, Tile
from edge.triage.sighting import Sighting, distance_m, is_near

_CLEAR_RISE = 0.1
OPEN_MAX = 2048
"""Alerts that may be updated; of more, the one that was left alone for longest becomes final."""


@dataclass(slots=True)
class OpenAlert:
    """An alert that may be updated.

    Attributes:
        place: Of its first sighting, which decides what is near; it does not move, so that alerts do not wander.
        tile: Of the same.
        touched_s: When the last sighting came, by the clock of `Merging`.
        count: How many frames show it.
        told: The count when it was told last; 0: it was not.
    """

    id: str
    place: Place | None
    tile: Tile
    best: Sighting
    latest: Sighting
    first_at: datetime
    last_at: datetime
    touched_s: float
    count: int = 1
    told: int = 0
    told_confidence: float = 0.0
    revision: int = 0

    def add(self, sighting: Sighting) -> None:
        """Take one more sighting; of two that are as sure the earlier one that came stays."""
        # The tiles of a frame come one after another.
        if sighting.observation.frame.key != self.latest.observation.frame.key:
            self.count += 1
        self.first_at, self.last_at = min(self.first_at, sighting.at), max(self.last_at, sighting.at)
        self.latest = sighting
        if sighting.confidence > self.best.confidence:
            self.best = sighting

    @property
    def is_due(self) -> bool:
        """Whether the ground is to be told now."""
        return self.count >= 2 * self.told or self.best.confidence - self.told_confidence >= _CLEAR_RISE

    def is_of(self, place: Place, tile: Tile) -> bool:
        """Whether a sighting there can be one of it.

        Different tiles of a frame show different ground, though all that is known of it is where the aircraft was.
        """
        if self.place is None or self.place.kind != place.kind:
            return False
        return place.kind == "ground" or _overlap(self.tile, tile)

    def tell(self) -> Alert:
        """It as it is now, as its next revision."""
        best, latest = self.best.observation, self.latest.observation
        several = self.count > 1
        alert = Alert(
            self.id,
            best,
            self.best.label,
            self.best.confidence,
            self.count,
            self.revision,
            self.first_at if several else None,
            self.last_at if several else None,
            None if latest is best else latest,
        )
        self.told, self.told_confidence, self.revision = self.count, self.best.confidence, self.revision + 1
        return alert


class Merging:
    """The alerts that may be updated. Not for several threads at once."""

    def __init__(
        self,
        merge_m: float,
        merge_s: float,
        new_id: Callable[[], str] = uuid7,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            merge_m: Closer than that is one place; 0: every sighting is an alert. The ground that is shown and the aircraft
                are never one place.
            merge_s: As long as no more lies between two capture times.
            clock: Of this machine, seconds: what is over is told as long after the last sighting came.
        """
        self._merge_m = merge_m
        self._merge_s = merge_s
        self._merge = timedelta(seconds=merge_s)
        self._new_id = new_id
        self._clock = clock
        # In the order in which they were touched; those with something that was not told are in both.
        self._open: OrderedDict[str, OpenAlert] = OrderedDict()
        self._untold: OrderedDict[str, OpenAlert] = OrderedDict()
        self._late: list[Alert] = []
        self._newest_at: datetime | None = None

    def saw(self, captured_at: datetime) -> None:
        """Learn how far the flight is."""
        if self._newest_at is None or captured_at > self._newest_at:
            self._newest_at = captured_at

    def join(self, sighting: Sighting) -> OpenAlert | None:
        """Add a sighting to the alert of its place, the nearest of several; None: there is none."""
        place = sighting.place
        if not self._merge_m or place is None:
            return None
        near = [
            (distance_m(alert.place, place), alert)
            for alert in self._open.values()
            if alert.place is not None
            and is_near(alert.place, place, self._merge_m)
            and alert.best.label == sighting.label
            and alert.is_of(place, sighting.observation.tile)
            and alert.first_at - self._merge <= sighting.at <= alert.last_at + self._merge
        ]
        if not near:
            return None
        _, alert = min(near, key=lambda pair: pair[0])
        alert.add(sighting)
        alert.touched_s = self._clock()
        self._open.move_to_end(alert.id)
        self._untold[alert.id] = alert
        self._untold.move_to_end(alert.id)
        return alert

    def begin(self, sightings: Sequence[Sighting], latest: Sighting) -> OpenAlert:
        """An alert of a new place.

        Args:
            sightings: At least one; the first whose place is known says where it is.
            latest: The one of them that came last.
        """
        first = sightings[0]
        placed = next((each for each in sightings if each.place is not None), first)
        tile = placed.observation.tile
        alert = OpenAlert(self._new_id(), placed.place, tile, first, first, first.at, first.at, self._clock())
        for sighting in sightings[1:]:
            alert.add(sighting)
        alert.latest = latest
        if self._merge_m and placed.place is not None:
            self._forget()
            self._open[alert.id] = alert
            self._untold[alert.id] = alert
        return alert

    def tell_if_due(self, alert: OpenAlert) -> Alert | None:
        """What the ground is told of an alert that was begun or joined; None: nothing yet."""
        if not alert.is_due:
            return None
        self._untold.pop(alert.id, None)
        return alert.tell()

    def best_in(self, frame: Frame) -> list[tuple[str, Tile]]:
        """Alerts that may be updated and that a frame shows best, and in which of its tiles."""
        return [
            (alert.id, alert.best.observation.tile)
            for alert in self._open.values()
            if alert.best.observation.frame.key == frame.key
        ]

    def due_s(self) -> float | None:
        """Seconds until `close_due` has something to tell; None: there is nothing."""
        if self._late:
            return 0.0
        first = next(iter(self._untold.values()), None)
        return None if first is None else max(0.0, first.touched_s + self._merge_s - self._clock())

    def close_due(self) -> list[Alert]:
        """The last revisions of alerts to which nothing has come for `merge_s`, where something is not told."""
        due, self._late = self._late, []
        limit_s = self._clock() - self._merge_s
        while self._untold and (first := next(iter(self._untold.values()))).touched_s <= limit_s:
            del self._untold[first.id]
            due.append(first.tell())
        return due

    def flush(self) -> list[Alert]:
        """The last revisions of all alerts of which something is not told; none is open any more."""
        last = [*self._late, *(alert.tell() for alert in self._untold.values())]
        self._open.clear()
        self._untold.clear()
        self._late = []
        return last

    def _forget(self) -> None:
        """Close what can be updated no more, by this machine's clock and by that of the flight, and what is too many.

        A backlog is classified faster or slower than it was photographed: either clock alone would part what belongs together.
        """
        limit_s = self._clock() - self._merge_s
        while self._open:
            oldest = next(iter(self._open.values()))
            is_over = self._newest_at is not None and self._newest_at - oldest.last_at > self._merge
            if len(self._open) < OPEN_MAX and not (is_over and oldest.touched_s < limit_s):
                return
            del self._open[oldest.id]
            if self._untold.pop(oldest.id, None) is not None:
                self._late.append(oldest.tell())


def _overlap(one: Tile, other: Tile) -> bool:
    """Whether tiles share pixels."""
    across = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    down = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    return across > 0 and down > 0
