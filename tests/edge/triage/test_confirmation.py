"""Damage that is only told when k of n frames in a row show it."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.records import Alert
from edge.triage import Sightings
from edge.triage.confirmation import PLACES_MAX
from tests.edge.triage.observing import HOUSTON, east_of, newest, observe, tell, triage_of

NOTHING = 0.1


def counts(alerts: list[Alert]) -> list[int]:
    return [alert.count for alert in alerts]


def test_one_frame_alone_is_not_told() -> None:
    triage = triage_of(Sightings(confirm=(2, 3)))

    assert tell(triage, [observe(0), *(observe(number, share=NOTHING) for number in range(1, 9)), observe(9)]) == []


def test_k_of_n_frames_are_told_as_one_alert_of_the_surest() -> None:
    frames = [observe(0, share=0.7), observe(1, share=NOTHING), observe(2, share=0.8), observe(3, share=0.6)]
    (alert,) = tell(triage_of(Sightings(confirm=(3, 4))), frames)

    assert (alert.count, alert.revision, alert.confidence) == (3, 0, 0.8)
    assert alert.observation is frames[2]
    assert alert.latest is frames[3]
    assert (alert.first_at, alert.last_at) == (frames[0].frame.captured_at, frames[3].frame.captured_at)


def test_frames_that_are_further_apart_do_not_confirm_each_other() -> None:
    frames = [observe(0), observe(1, share=NOTHING), observe(2, share=NOTHING), observe(3), observe(4)]

    assert tell(triage_of(Sightings(confirm=(3, 4))), frames) == []


def test_tiles_of_one_frame_count_once() -> None:
    triage = triage_of(Sightings(confirm=(2, 3)))

    assert triage.decide_all([observe(0, tile=tile) for tile in range(5)]) == ()
    assert counts(list(triage.decide_all([observe(1)]))) == [2]


def test_another_place_or_label_or_source_confirms_nothing() -> None:
    triage = triage_of(Sightings(confirm=(2, 5), merge_m=50))
    others = [observe(1, east_of(HOUSTON, 60)), observe(2, label="flooded"), observe(2, source="/other")]

    assert tell(triage, [observe(0), *others]) == []
    assert counts(tell(triage, [observe(2.5, east_of(HOUSTON, 10))])) == [2]


def test_where_the_ground_is_not_known_a_source_is_one_place() -> None:
    assert counts(tell(triage_of(Sightings(confirm=(2, 3))), [observe(0), observe(1, east_of(HOUSTON, 5000))])) == [2]
    merging = triage_of(Sightings(confirm=(2, 3), merge_m=50))
    assert counts(tell(merging, [observe(0, None), observe(1, None)])) == [2]


def test_what_was_told_confirms_no_other() -> None:
    told = tell(triage_of(Sightings(confirm=(2, 5))), (observe(number) for number in range(7)))

    assert counts(told) == [2, 2, 2]
    assert len({alert.id for alert in told}) == 3


def test_a_place_that_is_confirmed_goes_on_as_one_alert() -> None:
    sightings = Sightings(confirm=(3, 5), merge_m=50)
    told = tell(triage_of(sightings), (observe(number) for number in range(20)))

    assert counts(told) == [3, 6, 12]
    assert counts(sightings.flush()) == [20]


def test_frames_are_in_a_row_by_their_capture_times_in_whatever_order_lanes_finish_them() -> None:
    frames = [observe(number, share=0.9 if number in {20, 21, 22} else NOTHING) for number in range(40)]
    random.Random(3).shuffle(frames)

    assert counts(tell(triage_of(Sightings(confirm=(3, 3))), frames)) == [3]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.booleans(), max_size=40), st.integers(1, 4), st.integers(0, 4))
def test_it_tells_exactly_when_k_of_the_last_n_that_were_not_told_show_it(shows: list[bool], k: int, more: int) -> None:
    n = k + more
    frames = (observe(number, share=0.9 if shown else NOTHING) for number, shown in enumerate(shows))
    triage = triage_of(Sightings(confirm=(k, n)))
    told_at = [number for number, frame in enumerate(frames) if triage.decide_all([frame])]

    expected, waiting = [], []
    for number, shown in enumerate(shows):
        waiting = [other for other in waiting if other > number - n] + [number] * shown
        if shown and len(waiting) == k:
            expected.append(number)
            waiting = []
    assert told_at == expected


@settings(deadline=None, max_examples=40)
@given(st.permutations(list(range(12))), st.integers(1, 3))
def test_whatever_the_order_a_sighting_is_told_once_at_most(order: list[int], k: int) -> None:
    sightings = Sightings(confirm=(k, 4), merge_m=50)
    told = tell(triage_of(sightings), (observe(number, east_of(HOUSTON, 100 * (number % 2))) for number in order))
    kept = newest([*told, *sightings.flush()])

    assert sum(alert.count for alert in kept.values()) <= 12
    assert k > 1 or sum(alert.count for alert in kept.values()) == 12


# Whatever the clocks say

OLDER_THAN_A_YEAR_S = -400 * 86_400


@pytest.mark.parametrize(
    "at_s",
    [lambda number: OLDER_THAN_A_YEAR_S + number, lambda number: -number, lambda number: 0.0],
    ids=["after a flight with a later clock", "backwards", "all at once"],
)
def test_no_clock_mutes_what_comes_after(at_s: Callable[[int], float]) -> None:
    triage = triage_of(Sightings(confirm=(2, 3)))
    assert tell(triage, (observe(number, share=NOTHING, name=f"a{number}") for number in range(200))) == []

    told = tell(triage, (observe(at_s(number), name=f"b{number:03}") for number in range(200)))
    assert counts(told) == [2] * 100


def test_one_of_one_is_told_in_whatever_order_frames_come() -> None:
    order = list(range(500))
    random.Random(1).shuffle(order)

    assert len(tell(triage_of(Sightings(confirm=(1, 1))), (observe(number) for number in order))) == 500


# Places on the ground


def test_without_merging_places_on_the_ground_are_told_apart() -> None:
    triage = triage_of(Sightings(confirm=(2, 3)))
    far = east_of(HOUSTON, 1100)
    pairs = [
        [observe(number, is_of_ground=True), observe(number, far, share=0.8, tile=1, is_of_ground=True)] for number in range(2)
    ]

    assert triage.decide_all(pairs[0]) == ()
    assert [alert.observation for alert in triage.decide_all(pairs[1])] == [pairs[0][0], pairs[0][1]]


@pytest.mark.parametrize(("metres", "told"), [(29, [2]), (31, []), (1100, [])])
def test_without_merging_what_is_within_30_m_on_the_ground_is_one_place(metres: float, told: list[int]) -> None:
    frames = [observe(0, is_of_ground=True), observe(1, east_of(HOUSTON, metres), is_of_ground=True)]

    assert counts(tell(triage_of(Sightings(confirm=(2, 3))), frames)) == told


def test_an_aircraft_confirms_nothing_on_the_ground() -> None:
    frames = [observe(0, is_of_ground=True), observe(1), observe(2, None)]

    assert [alert.observation for alert in tell(triage_of(Sightings(confirm=(2, 3), merge_m=50)), frames)] == [frames[1]]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 14), min_size=3, max_size=3), st.lists(st.integers(-200, 200), max_size=6))
def test_what_lies_together_confirms_each_other_whatever_lies_around(steps: list[int], others: list[int]) -> None:
    triage = triage_of(Sightings(confirm=(3, 3), merge_m=30))
    earlier = [observe(-1, east_of(HOUSTON, each), tile=number, is_of_ground=True) for number, each in enumerate(others)]
    triage.decide_all(earlier or [observe(-1, share=NOTHING)])

    # All within half of what is one place.
    told = tell(triage, (observe(number, east_of(HOUSTON, each), is_of_ground=True) for number, each in enumerate(steps)))
    assert len(told) >= 1


def test_where_everything_is_damaged_every_place_is_confirmed() -> None:
    triage = triage_of(Sightings(confirm=(9, 12), merge_m=10))
    told = [
        alert
        for number in range(9)
        for alert in triage.decide_all(
            [observe(number, east_of(HOUSTON, 100 * tile), tile=tile, is_of_ground=True) for tile in range(256)]
        )
    ]

    assert counts(told) == [9] * 256


def test_what_is_too_much_to_wait_is_told_before_it_is_confirmed(caplog: pytest.LogCaptureFixture) -> None:
    triage = triage_of(Sightings(confirm=(2, 2), merge_m=1))
    places = [east_of(HOUSTON, 10 * number) for number in range(PLACES_MAX + 20)]
    with caplog.at_level(logging.WARNING):
        told = tell(triage, (observe(0, place, tile=number, is_of_ground=True) for number, place in enumerate(places)))

    assert [(alert.observation.fix.latitude, alert.observation.fix.longitude) for alert in told if alert.observation.fix] == (
        places[:20]
    )
    assert counts(told) == [1] * 20
    assert [record.getMessage() for record in caplog.records] == [
        f"triage.confirm: more than {PLACES_MAX} places wait to be confirmed; the oldest are told as they are"
    ]


def test_what_is_seen_once_in_many_frames_is_forgotten_without_a_word() -> None:
    triage = triage_of(Sightings(confirm=(2, 3)))
    frames = [
        observe(number, east_of(HOUSTON, 100 * number + 5000 * tile), tile=tile, is_of_ground=True)
        for number in range(300)
        for tile in range(8)
    ]

    assert tell(triage, frames) == []
