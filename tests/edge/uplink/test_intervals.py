"""Sets of numbers as intervals: whatever is done, they agree with a set, and they are as few as can be."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.uplink.intervals import Intervals

_NUMBER = st.integers(-30, 60)
_STEPS = st.lists(st.one_of(st.tuples(st.just("add"), _NUMBER, _NUMBER), st.tuples(st.just("cut"), _NUMBER, st.just(0))))


@given(_STEPS)
def test_intervals_agree_with_a_set(steps: list[tuple[str, int, int]]) -> None:
    intervals, numbers = Intervals(), set[int]()
    for action, first, last in steps:
        if action == "add":
            intervals.add(first, last)
            numbers |= set(range(first, last + 1))
        else:
            intervals.cut_above(first)
            numbers = {number for number in numbers if number <= first}
        parts = list(intervals._all)
        assert [number for low, high in parts for number in range(low, high + 1)] == sorted(numbers)
        # None is empty, and two that touch are one.
        assert all(low <= high for low, high in parts)
        assert all(earlier[1] + 1 < later[0] for earlier, later in pairwise(parts))
        assert bool(intervals) == bool(numbers)
        if numbers:
            assert intervals.highest[1] == max(numbers)


def test_there_is_no_highest_of_none() -> None:
    with pytest.raises(IndexError):
        _ = Intervals().highest
