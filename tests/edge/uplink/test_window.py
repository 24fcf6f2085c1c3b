"""How many messages may be under way: it grows with what the link carries, and falls with it."""

from __future__ import annotations

import pytest

from edge.uplink.window import Window
from tests.edge.uplink.clock import Clock

ANY = 65_535


@pytest.fixture
def clock() -> Clock:
    return Clock()


def carry(window: Window, clock: Clock, per_s: int, seconds: int) -> None:
    """Have so many acknowledged each second."""
    for _ in range(seconds):
        for _ in range(per_s):
            clock.pass_s(1.0 / per_s)
            window.acknowledged()


def test_it_begins_small(clock: Clock) -> None:
    assert Window(clock).size(ANY) == 8


def test_it_grows_at_once_with_what_is_acknowledged_up_to_a_bound(clock: Clock) -> None:
    window = Window(clock)
    sizes = []
    for _ in range(200):
        window.acknowledged()
        sizes.append(window.size(ANY))
    assert sizes[:3] == [10, 12, 14]
    assert sizes == sorted(sizes)
    assert sizes[-1] == 250


def test_it_follows_a_link_that_becomes_slow(clock: Clock) -> None:
    window = Window(clock)
    carry(window, clock, 100, 3)
    assert window.size(ANY) > 200
    carry(window, clock, 5, 3)
    assert window.size(ANY) <= 8 + 2 * 6


def test_after_a_black_out_it_begins_anew(clock: Clock) -> None:
    window = Window(clock)
    carry(window, clock, 100, 2)
    clock.pass_s(30)
    assert window.size(ANY) == 8


def test_what_lies_in_a_steady_link_is_about_two_seconds_worth(clock: Clock) -> None:
    window = Window(clock)
    carry(window, clock, 20, 5)
    assert 2 * 18 <= window.size(ANY) <= 8 + 2 * 21


def test_it_leaves_room_for_status_messages_within_what_the_broker_takes(clock: Clock) -> None:
    window = Window(clock)
    carry(window, clock, 100, 2)
    assert [window.size(most) for most in (20, 10, 3, 2, 1)] == [18, 8, 1, 1, 1]
