"""Sets of whole numbers that lie close together."""

from __future__ import annotations

from bisect import bisect_left, insort


class Intervals:
    """Disjoint intervals of whole numbers, both ends included, in ascending order; few of them for many numbers."""

    def __init__(self) -> None:
        self._all: list[tuple[int, int]] = []

    def __bool__(self) -> bool:
        return bool(self._all)

    @property
    def highest(self) -> tuple[int, int]:
        """The last interval.

        Raises:
            IndexError: There is none.
        """
        return self._all[-1]

    def add(self, low: int, high: int) -> None:
        """Add the numbers from `low` to `high`; nothing if that is none."""
        if high < low:
            return
        first = bisect_left(self._all, low, key=lambda interval: interval[1] + 1)
        last = first
        while last < len(self._all) and self._all[last][0] <= high + 1:
            low, high = min(low, self._all[last][0]), max(high, self._all[last][1])
            last += 1
        del self._all[first:last]
        insort(self._all, (low, high))

    def cut_above(self, number: int) -> None:
        """Take out all numbers above one."""
        while self._all and self._all[-1][1] > number:
            low, _ = self._all.pop()
            if low <= number:
                self._all.append((low, number))
