"""Sightings of one place are one alert, which is told again only when there is something to say."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.records import Alert, Footprint, Observation
from edge.triage import Sightings
from edge.triage.merging import OPEN_MAX
from tests.edge.triage.observing import BEGIN, HOUSTON, Clock, east_of, newest, observe, tell, triage_of


def test_a_slow_pass_over_one_ruin_is_one_alert_that_is_told_a_few_times() -> None:
    sightings = Sightings(merge_m=150)
    told = tell(triage_of(sightings), (observe(number, east_of(HOUSTON, number)) for number in range(100)))
    told += sightings.flush()

    assert [(alert.count, alert.revision) for alert in told] == [
        *((1, 0), (2, 1), (4, 2), (8, 3), (16, 4), (32, 5), (64, 6)),
        (100, 7),
    ]
    assert len({alert.id for alert in told}) == 1
    assert (told[-1].first_at, told[-1].last_at) == (BEGIN, BEGIN + timedelta(seconds=99))
    assert (told[0].first_at, told[0].last_at) == (None, None)


def test_by_default_each_stands_alone() -> None:
    sightings = Sightings()
    told = tell(triage_of(sightings), (observe(number) for number in range(10)))

    assert [(alert.count, alert.revision) for alert in told] == [(1, 0)] * 10
    assert len({alert.id for alert in told}) == 10
    assert (sightings.flush(), sightings.due_s()) == ([], None)


def test_what_has_no_position_stands_alone() -> None:
    told = tell(triage_of(Sightings(merge_m=50)), (observe(number, None) for number in range(10)))

    assert len({alert.id for alert in told}) == 10


@pytest.mark.parametrize(("metres", "alerts"), [(49.5, 1), (50.5, 2), (-49.5, 1), (-50.5, 2)])
@pytest.mark.parametrize("place", [HOUSTON, (-16.5, 179.99999), (0.0, -179.9999), (89.99, 12.0), (-70.0, 0.0)])
def test_closer_than_merge_m_is_one_place_also_across_the_date_line(
    place: tuple[float, float], metres: float, alerts: int
) -> None:
    told = tell(triage_of(Sightings(merge_m=50)), [observe(0, place), observe(1, east_of(place, metres))])

    assert len({alert.id for alert in told}) == alerts


def test_around_the_pole_all_longitudes_are_near() -> None:
    told = tell(triage_of(Sightings(merge_m=50)), (observe(number, (89.9999, 36.0 * number)) for number in range(10)))

    assert len({alert.id for alert in told}) == 1


def test_the_first_sighting_says_where_an_alert_is_so_that_it_does_not_wander() -> None:
    told = tell(triage_of(Sightings(merge_m=50)), (observe(number, east_of(HOUSTON, 30 * number)) for number in range(10)))

    assert len({alert.id for alert in told}) == 5


def test_the_nearest_of_several_alerts_is_joined() -> None:
    triage = triage_of(Sightings(merge_m=50))
    west, east = tell(triage, [observe(0), observe(1, east_of(HOUSTON, 70))])
    (joined,) = tell(triage, [observe(2, east_of(HOUSTON, 40))])

    assert (joined.id, joined.count) == (east.id, 2)
    assert west.id != east.id


@pytest.mark.parametrize(("at_s", "alerts"), [(100, 1), (160, 1), (161, 2), (40, 1), (39, 2)])
def test_merge_s_is_between_capture_times_in_both_directions(at_s: float, alerts: int) -> None:
    told = tell(triage_of(Sightings(merge_m=50, merge_s=60)), [observe(100, name="first"), observe(at_s, name="second")])

    assert len({alert.id for alert in told}) == alerts


def test_each_sighting_lets_an_alert_last_longer() -> None:
    told = tell(triage_of(Sightings(merge_m=50, merge_s=60)), (observe(50 * number) for number in range(8)))

    assert len({alert.id for alert in told}) == 1


def test_labels_are_apart() -> None:
    told = tell(triage_of(Sightings(merge_m=50)), [observe(0), observe(1, label="flooded"), observe(2), observe(3)])

    assert sorted((alert.label, alert.count) for alert in newest(told).values()) == [("damaged", 2), ("flooded", 1)]


def test_an_alert_tells_of_the_surest_sighting() -> None:
    shares = [0.6, 0.65, 0.9, 0.7, 0.85, 0.6, 0.6, 0.6]
    observations = [observe(number, share=share) for number, share in enumerate(shares)]
    sightings = Sightings(merge_m=50)
    tell(triage_of(sightings), observations)
    (last,) = sightings.flush()

    assert (last.count, last.confidence) == (8, 0.9)
    assert last.observation is observations[2]
    assert last.latest is observations[7]


def test_a_clear_rise_is_told_at_once_and_a_small_one_later() -> None:
    shares = [0.6, 0.6, 0.71, 0.75, 0.79]
    sightings = Sightings(merge_m=50)
    told = tell(triage_of(sightings), (observe(number, share=share) for number, share in enumerate(shares)))

    assert [(alert.count, alert.confidence) for alert in told] == [(1, 0.6), (2, 0.6), (3, 0.71)]
    assert [(alert.count, alert.confidence) for alert in sightings.flush()] == [(5, 0.79)]


def test_the_tiles_of_a_frame_are_told_together() -> None:
    triage = triage_of(Sightings(merge_m=50))
    here = [observe(0, tile=tile, share=0.8 + tile / 100, is_of_ground=True) for tile in range(5)]
    far = [
        observe(0, east_of(HOUSTON, metres), tile=7, share=share, is_of_ground=True)
        for metres, share in ((500, 0.9), (900, 0.2))
    ]
    first, second = triage.decide_all([*here, *far])

    # They count as one frame.
    assert (first.count, first.revision, second.count) == (1, 0, 1)
    assert first.observation is here[4]
    assert second.observation is far[0]
    again = triage.decide_all([observe(1, tile=tile, is_of_ground=True) for tile in (0, 1)])
    assert [(alert.id, alert.count) for alert in again] == [(first.id, 2)]


def test_the_ground_and_the_aircraft_are_never_one_place() -> None:
    triage = triage_of(Sightings(merge_m=50))
    (ground,) = triage.decide_all([observe(0, share=0.8, is_of_ground=True)])
    (device,) = triage.decide_all([observe(1, share=0.95)])

    assert device.id != ground.id
    assert [(alert.id, alert.count) for alert in triage.decide_all([observe(2, is_of_ground=True)])] == [(ground.id, 2)]


def test_different_tiles_of_frames_without_a_footprint_are_different_places() -> None:
    triage = triage_of(Sightings(merge_m=50))
    tiles = [triage.decide_all([observe(at_s, tile=tile) for tile in range(4)]) for at_s in (0, 1)]

    assert [[alert.count for alert in told] for told in tiles] == [[1] * 4, [2] * 4]
    assert [alert.id for alert in tiles[0]] == [alert.id for alert in tiles[1]]
    assert len({alert.id for alert in tiles[0]}) == 4


def test_the_place_is_the_middle_of_the_footprint_where_it_is_known() -> None:
    def seen(number: int) -> Observation:
        observation = observe(number, east_of(HOUSTON, 1000 * number))
        footprint = Footprint(((0, 0),) * 4, *HOUSTON)
        return Observation(observation.frame, observation.tile, observation.prediction, observation.fix, footprint)

    assert len({alert.id for alert in tell(triage_of(Sightings(merge_m=50)), map(seen, range(4)))}) == 1


# The last word


def test_what_is_not_told_is_told_when_nothing_has_come_for_merge_s() -> None:
    clock = Clock()
    sightings = Sightings(merge_m=50, merge_s=60, clock=clock)
    triage = triage_of(sightings)
    tell(triage, [observe(0), observe(1)])
    assert sightings.due_s() is None
    tell(triage, [observe(2)])
    assert (sightings.due_s(), sightings.close_due()) == (60, [])
    clock.now_s += 59
    tell(triage, [observe(3, (0.0, 1.0)), observe(4, share=0.1)])
    assert (sightings.due_s(), sightings.close_due()) == (1, [])
    clock.now_s += 1
    assert [(alert.count, alert.revision) for alert in sightings.close_due()] == [(3, 2)]
    assert (sightings.due_s(), sightings.close_due(), sightings.flush()) == (None, [], [])


def test_a_backlog_that_is_classified_slower_than_it_was_photographed_is_merged_all_the_same() -> None:
    clock = Clock()
    sightings = Sightings(merge_m=50, merge_s=60, clock=clock)
    triage = triage_of(sightings)
    told: list[Alert] = []
    for number in range(8):
        told += [*tell(triage, [observe(number)]), *sightings.close_due()]
        told += tell(triage, [observe(number + 0.5, (0.0, number))])
        clock.now_s += 1000

    assert max(alert.count for alert in told) == 8


def test_what_can_be_updated_no_more_is_forgotten_and_its_last_word_is_told() -> None:
    sightings = Sightings(merge_m=1)
    triage = triage_of(sightings)
    tell(triage, (observe(number) for number in range(3)))
    tell(triage, (observe(3, east_of(HOUSTON, 10 * number)) for number in range(1, OPEN_MAX + 2)))

    assert sightings.due_s() == 0
    assert [(alert.count, alert.revision) for alert in sightings.close_due()] == [(3, 2)]
    # It is gone: what is seen there is a new one.
    assert [alert.count for alert in tell(triage, [observe(4)])] == [1]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 300), st.floats(0, 1), st.sampled_from(["damaged", "flooded"]))),
    st.sampled_from([0.0, 20.0, 100.0]),
)
def test_merging_conserves_what_was_seen(seen: list[tuple[int, int, float, str]], merge_m: float) -> None:
    clock = Clock()
    sightings = Sightings(merge_m=merge_m, merge_s=20, clock=clock)
    triage = triage_of(sightings)
    told: list[Alert] = []
    for number, (at_s, metres, share, label) in enumerate(seen):
        told += tell(triage, [observe(at_s, east_of(HOUSTON, metres), share, name=f"{number}", label=label)])
        clock.now_s += at_s % 7
        told += sightings.close_due()
    told += sightings.flush()
    kept = newest(told)

    assert sum(alert.count for alert in kept.values()) == sum(share >= 0.5 for _, _, share, _ in seen)
    for alert_id in kept:
        own = [alert for alert in told if alert.id == alert_id]
        assert [alert.revision for alert in own] == list(range(len(own)))
        assert [alert.count for alert in own] == sorted(alert.count for alert in own)
        assert [alert.confidence for alert in own] == sorted(alert.confidence for alert in own)
    assert max((alert.confidence for alert in kept.values()), default=0.0) == max(
        (share for _, _, share, _ in seen if share >= 0.5), default=0.0
    )


def test_several_threads_may_decide_at_once() -> None:
    sightings = Sightings(merge_m=50, merge_s=3600)
    # As after a change of the model: the alerts stay open.
    triages = [triage_of(sightings) for _ in range(4)]
    told: list[Alert] = []

    def work(lane: int) -> None:
        for number in range(200):
            told.extend(triages[lane].decide_all([observe(number, name=f"{lane}-{number}")]))

    threads = [threading.Thread(target=work, args=(lane,)) for lane in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told += sightings.flush()

    (last,) = newest(told).values()
    assert last.count == 800
    assert sorted(alert.revision for alert in told) == list(range(len(told)))
    assert len(told) == 11
