"""Damage that is only told when several of the last frames show it: what one frame shows alone may be a shadow.

What waits to be confirmed is not kept over a restart: its frames are in the journal, without an alert.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from edge.records import Frame
from edge.triage.sighting import Sighting, is_near

# Several lanes finish frames out of order: so many more than are asked for are remembered.
_LATE_FRAMES = 64
PENDING_MAX = 2048
"""Sightings of a source that may wait for others; of more, the oldest are forgotten."""

_Key = tuple[datetime, str]


class Confirmation:
    """Gathers sightings until k of n frames in a row show a place, or, where places are not told apart, show anything.

    Frames are in a row by their capture times, as far as they are classified at that moment. Tiles of a frame count once.
    """

    def __init__(self, k: int, n: int, near_m: float) -> None:
        """
        Args:
            near_m: Closer than that is one place; 0: all that one source shows is.
        """
        self._k = k
        self._n = n
        self._near_m = near_m
        self._sources: dict[str, _Source] = defaultdict(_Source)

    def saw(self, frame: Frame) -> None:
        """Learn of a frame that was classified, whether it shows anything or not."""
        source = self._sources[frame.key.source]
        key = _key(frame)
        if _index(source.frames, key) is None:
            insort(source.frames, key)
            del source.frames[: -(self._n + _LATE_FRAMES)]

    def take(self, sighting: Sighting) -> Sequence[Sighting]:
        """Add a sighting of a frame that was seen.

        Returns:
            Those that confirm each other, this one among them, by time; they are used up by that. Empty: they are too few.
        """
        source = self._sources[sighting.observation.frame.key.source]
        source.forget()
        source.pending.append(sighting)
        own = _index(source.frames, _key(sighting.observation.frame))
        if own is None:
            # It came so late that the frames around it are forgotten.
            return ()
        near: dict[int, list[Sighting]] = defaultdict(list)
        for other in source.pending:
            if self._is_same_place(sighting, other):
                index = _index(source.frames, _key(other.observation.frame))
                if index is not None and abs(index - own) < self._n:
                    near[index].append(other)
        for indices in self._runs(sorted(near), own):
            confirmed = [each for index in indices for each in near[index]]
            used = {id(each) for each in confirmed}
            source.pending = [each for each in source.pending if id(each) not in used]
            return confirmed
        return ()

    def _runs(self, shown: list[int], own: int) -> list[list[int]]:
        """Each k frames of `shown` that lie within n in a row, with one of them among them."""
        at = shown.index(own)
        runs = (shown[first : first + self._k] for first in range(max(0, at - self._k + 1), at + 1))
        return [run for run in runs if len(run) == self._k and run[-1] - run[0] < self._n]

    def _is_same_place(self, one: Sighting, other: Sighting) -> bool:
        if one.label != other.label:
            return False
        here, there = one.place, other.place
        if not self._near_m or here is None or there is None:
            return True
        return is_near(here, there, self._near_m)


class _Source:
    """The last frames of a source, by capture time, and sightings in them that wait for others."""

    def __init__(self) -> None:
        self.frames: list[_Key] = []
        self.pending: list[Sighting] = []

    def forget(self) -> None:
        """Let go of sightings whose frames are forgotten, and of the oldest of those that are too many."""
        oldest = self.frames[0]
        if len(self.pending) >= PENDING_MAX or (self.pending and _key(self.pending[0].observation.frame) < oldest):
            kept = [each for each in self.pending if _key(each.observation.frame) >= oldest]
            # Some more than need be, so that it is not done again for each.
            self.pending = kept if len(kept) < PENDING_MAX else kept[PENDING_MAX // 4 :]


def _key(frame: Frame) -> _Key:
    return frame.captured_at, frame.key.name


def _index(frames: list[_Key], key: _Key) -> int | None:
    at = bisect_left(frames, key)
    return at if at < len(frames) and frames[at] == key else None
