"""Damage that is only told when several of the last frames show it: what one frame shows alone may be a shadow.

What waits to be confirmed is not kept over a restart: its frames are in the journal, without an alert.
"""

from __future__ import annotations

import logging
from bisect import bisect_left, insort
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from edge.records import Frame, Place
from edge.triage.sighting import Sighting, is_near

_log = logging.getLogger(__name__)

# Several lanes finish frames out of order: so many more than are asked for are remembered.
_LATE_FRAMES = 64
# Where the configuration does not say what is one place: half of a tile's side of the shipped model.
NEAR_M = 30.0
PLACES_MAX = 2048
"""Places of a source that may wait to be confirmed; of more, what has waited longest is told as it is."""
SIGHTINGS_MAX = 16_384
"""Sightings in them."""

_Key = tuple[datetime, str]


class Confirmation:
    """Gathers sightings until k of n frames in a row show a place.

    Frames are in a row by their capture times, as far as they are classified at that moment and among the last that came:
    however wrong a clock is, the frame that came last is one of them. What a frame shows of a place counts once. Sightings
    whose place is not that of the ground are of one place where nothing says how far apart they are.
    """

    def __init__(self, k: int, n: int, merge_m: float) -> None:
        """
        Args:
            k: At least 2.
            merge_m: Closer than that is one place; 0: on the ground closer than `NEAR_M` is, and else all of a source.
        """
        self._k = k
        self._n = n
        self._merge_m = merge_m
        self._sources: dict[str, _Source] = defaultdict(_Source)
        self._has_overflowed = False

    def saw(self, frame: Frame) -> None:
        """Learn of a frame that was classified, whether it shows anything or not."""
        self._sources[frame.key.source].saw(_key(frame), self._n + _LATE_FRAMES)

    def take(self, sighting: Sighting) -> list[Sequence[Sighting]]:
        """Add a sighting of a frame that was seen.

        Returns:
            Groups to be told, by time, each of one place and with one sighting of each frame: that which this sighting
            confirms, and those for which there is no room any more. They are used up by that.
        """
        source = self._sources[sighting.observation.frame.key.source]
        near = [place for place in source.places.values() if self._is_same_place(place, sighting, 1.0)]
        if not any(self._is_same_place(place, sighting, 0.5) for place in near):
            # Places overlap, so that what lies together is together in one of them wherever the first of it was.
            near.append(source.begin(sighting))
        key = _key(sighting.observation.frame)
        for place in near:
            place.add(key, sighting)
            source.places.move_to_end(id(place))
        for place in near:
            confirmed = self._confirmed(source, place, key)
            if confirmed:
                source.use_up(confirmed)
                return [confirmed]
        return self._overflowing(source)

    def _confirmed(self, source: _Source, place: _Place, key: _Key) -> list[Sighting]:
        """The first k frames that show a place and lie within n in a row, with that frame among them; empty: there are none."""
        shown = sorted(place.shown)
        at = shown.index(key)
        for first in range(max(0, at - self._k + 1), at + 1):
            run = shown[first : first + self._k]
            if len(run) == self._k and source.index(run[-1]) - source.index(run[0]) < self._n:
                return [place.shown[each] for each in run]
        return []

    def _overflowing(self, source: _Source) -> list[Sequence[Sighting]]:
        """What has waited longest of what is too much: unconfirmed is better than lost, as where everything is damaged."""
        told: list[Sequence[Sighting]] = []
        held = sum(len(place.shown) for place in source.places.values())
        while len(source.places) > PLACES_MAX or held > SIGHTINGS_MAX:
            place = next(iter(source.places.values()))
            told.append([place.shown[each] for each in sorted(place.shown)])
            source.use_up(told[-1])
            held = sum(len(each.shown) for each in source.places.values())
        if told and not self._has_overflowed:
            self._has_overflowed = True
            _log.warning(
                "triage.confirm: more than %d places wait to be confirmed; the oldest are told as they are", PLACES_MAX
            )
        return told

    def _is_same_place(self, place: _Place, sighting: Sighting, share: float) -> bool:
        """Whether a sighting is closer to a place than that share of the limit."""
        here, there = place.first.place, sighting.place
        is_ground = _is_ground(here)
        if place.first.label != sighting.label or is_ground != _is_ground(there):
            return False
        if here is None or there is None or not (is_ground or self._merge_m):
            return True
        return is_near(here, there, share * (self._merge_m or NEAR_M))


@dataclass(slots=True)
class _Place:
    """A place that waits to be confirmed: its first sighting says where it is; the surest of each frame that shows it."""

    first: Sighting
    shown: dict[_Key, Sighting] = field(default_factory=dict)

    def add(self, key: _Key, sighting: Sighting) -> None:
        """Take a sighting of a frame."""
        other = self.shown.get(key)
        if other is None or sighting.confidence > other.confidence:
            self.shown[key] = sighting


class _Source:
    """The last frames of a source that came, by capture time, and places in them that wait.

    Attributes:
        places: By their identity, in the order in which they were touched.
    """

    def __init__(self) -> None:
        self.places: OrderedDict[int, _Place] = OrderedDict()
        self._frames: list[_Key] = []
        self._arrived: OrderedDict[_Key, None] = OrderedDict()

    def saw(self, key: _Key, most: int) -> None:
        """Remember a frame, and forget the one that came first if there are more than `most`."""
        if key not in self._arrived:
            insort(self._frames, key)
        self._arrived[key] = None
        self._arrived.move_to_end(key)
        if len(self._arrived) > most:
            forgotten, _ = self._arrived.popitem(last=False)
            del self._frames[self.index(forgotten)]
            for place in self.places.values():
                place.shown.pop(forgotten, None)
            self._drop_empty()

    def index(self, key: _Key) -> int:
        """Where a frame that is remembered is among those in a row."""
        return bisect_left(self._frames, key)

    def begin(self, sighting: Sighting) -> _Place:
        """A new place."""
        place = _Place(sighting)
        self.places[id(place)] = place
        return place

    def use_up(self, sightings: Sequence[Sighting]) -> None:
        """Forget sightings, in whichever places they are."""
        keyed = [(_key(each.observation.frame), each) for each in sightings]
        for place in self.places.values():
            for key, sighting in keyed:
                if place.shown.get(key) is sighting:
                    del place.shown[key]
        self._drop_empty()

    def _drop_empty(self) -> None:
        for number in [number for number, place in self.places.items() if not place.shown]:
            del self.places[number]


def _is_ground(place: Place | None) -> bool:
    return place is not None and place.kind == "ground"


def _key(frame: Frame) -> _Key:
    return frame.captured_at, frame.key.name
