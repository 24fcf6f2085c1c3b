"""Where the device was between two fixes, after the last one, and when it is better not to say."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymap3d.vincenty import vdist, vreckon

from edge.position.report import Position, Report
from edge.position.track import Track
from edge.records import Attitude


def report(at_s: float, latitude: float = 29.76, longitude: float = -95.37, **more: float) -> Report:
    return Report(received_s=at_s, position=Position(latitude, longitude, **more))


def track_of(*reports: Report, max_age_s: float = 2.0, max_speed_m_s: float = 150.0) -> Track:
    track = Track(max_age_s=max_age_s, max_speed_m_s=max_speed_m_s)
    for each in reports:
        track.add(each)
    return track


def where(track: Track, at_s: float) -> tuple[float, float]:
    place = track.at(at_s)
    assert place is not None
    return place.position.latitude, place.position.longitude


def way_m(start: Sequence[float], end: Sequence[float]) -> float:
    return float(vdist(*start, *end)[0])


def test_between_two_fixes_it_is_interpolated() -> None:
    track = track_of(report(10, 29.0, -95.0, altitude_m=30.0), report(11, 29.0002, -95.0001, altitude_m=34.0))

    place = track.at(10.25)

    assert place is not None
    assert way_m((place.position.latitude, place.position.longitude), (29.00005, -95.000025)) < 0.001
    assert place.position.altitude_m == pytest.approx(31.0)
    assert place.age_s == pytest.approx(0.25)


@given(st.floats(-89.9999, 89.9999), st.floats(-180, 180), st.floats(0, 360), st.floats(0.05, 0.95))
def test_interpolation_lies_on_the_way_anywhere(latitude: float, longitude: float, course: float, share: float) -> None:
    end = [float(value) for value in vreckon(latitude, longitude, 100.0, course)]
    end[1] = (end[1] + 180) % 360 - 180
    track = track_of(report(0, latitude, longitude), report(1, *end))

    found = where(track, share)

    if latitude == longitude == 0 or end == [0, 0]:
        return
    assert -180 <= found[1] <= 180
    assert way_m((latitude, longitude), found) == pytest.approx(100 * share, abs=0.01)
    assert way_m(found, end) == pytest.approx(100 * (1 - share), abs=0.01)


def test_across_the_date_line_it_does_not_go_around_the_earth() -> None:
    track = track_of(report(0, -17.0, 179.9999), report(1, -17.0, -179.9999))

    assert abs(where(track, 0.5)[1]) == pytest.approx(180.0)


def test_after_the_last_fix_it_goes_on_with_the_speed_that_was_said() -> None:
    track = track_of(report(0, 29.0, -95.0, north_m_s=10.0, east_m_s=0.0))

    assert way_m((29.0, -95.0), where(track, 1.5)) == pytest.approx(15.0, abs=0.01)
    assert where(track, 1.5)[0] > 29.0


def test_after_the_last_fix_it_goes_on_as_it_came_where_no_speed_was_said() -> None:
    track = track_of(report(0, 29.0, -95.0), report(1, 29.0001, -95.0))

    assert where(track, 2)[0] == pytest.approx(29.0002, abs=1e-7)


def test_no_position_is_guessed_beyond_the_age_that_is_allowed() -> None:
    track = track_of(report(10, north_m_s=5.0, east_m_s=5.0), max_age_s=2.0)

    assert track.at(12.0) is not None
    assert track.at(12.001) is None
    assert track.at(7.999) is None
    assert Track(max_age_s=2, max_speed_m_s=150).at(0) is None


def test_a_gap_is_not_bridged() -> None:
    track = track_of(report(0, 29.0, -95.0), report(100, 29.01, -95.0), max_age_s=2.0)

    assert track.at(50) is None
    assert where(track, 1) == (29.0, -95.0)


def test_angles_turn_the_short_way_round() -> None:
    track = track_of(report(0), report(1))
    track.add(Report(0.0, attitude=Attitude(350, 5, -175)))
    track.add(Report(1.0, attitude=Attitude(20, -5, 175)))

    place = track.at(0.5)

    assert place is not None
    assert place.attitude is not None
    assert place.attitude.yaw_deg == pytest.approx(5)
    assert place.attitude.pitch_deg == pytest.approx(0)
    assert abs(place.attitude.roll_deg) == pytest.approx(180)


def test_an_old_attitude_is_none() -> None:
    track = track_of(report(0), report(1), report(2), report(3))
    track.add(Report(0.0, attitude=Attitude(0, 0, 0)))
    track.add(Report(0.5, camera=Attitude(90, -90, 0)))

    place = track.at(2.9)

    assert place is not None
    assert (place.attitude, place.camera) == (None, None)
    early = track.at(0.75)
    assert early is not None
    assert early.camera == Attitude(90, -90, 0)


def test_a_jump_that_no_aircraft_can_make_is_refused_and_counted() -> None:
    track = track_of(report(0, 29.0, -95.0), report(1, 30.0, -95.0), report(2, 29.0001, -95.0))

    assert dict(track.refused) == {"jump": 1}
    assert where(track, 1)[0] == pytest.approx(29.00005)


def test_fixes_that_agree_with_each_other_for_long_enough_are_believed_against_the_track() -> None:
    track = track_of(report(0, 10.0, 10.0), *(report(at_s, 29.0 + at_s / 1e5, -95.0) for at_s in (1, 2, 3, 4)))

    assert dict(track.refused) == {"jump": 2}
    assert dict(track.marked) == {"jump": 1}
    assert where(track, 3.5)[0] == pytest.approx(29.000035)
    # What lies between the wrong place and the right one is no way.
    assert where(track, 1.4) == (10.0, 10.0)


@pytest.mark.parametrize("fixes_per_s", [1, 5, 10])
def test_an_excursion_of_a_second_is_refused_however_many_fixes_it_has(fixes_per_s: int) -> None:
    track = Track(max_age_s=2, max_speed_m_s=150)
    for number in range(10 * fixes_per_s):
        at_s = number / fixes_per_s
        track.add(report(at_s, 29.05 if 5 <= at_s < 6 else 29.0, -95.0))

    assert dict(track.refused) == {"jump": fixes_per_s}
    assert where(track, 5.5) == pytest.approx((29.0, -95.0))


def test_a_speed_that_no_aircraft_has_carries_it_nowhere() -> None:
    track = track_of(report(0, 29.0, -95.0, north_m_s=5000.0, east_m_s=0.0))

    assert where(track, 1.9) == (29.0, -95.0)


def test_a_reboot_during_a_silence_is_noticed_though_the_clock_is_further_than_before() -> None:
    track = Track(max_age_s=2, max_speed_m_s=150)
    for second in range(60):
        track.add(Report(1000.0 + second, own_s=float(second), position=Position(29.0 + second / 1e4, -95.0)))
    # Started again at 1070, heard again at 1140.
    for second in range(70, 90):
        track.add(Report(1070.0 + second, own_s=float(second), position=Position(29.03, -95.0)))

    assert track.at(1075) is None
    assert where(track, 1145) == (29.03, -95.0)


def test_fast_aircraft_need_another_limit() -> None:
    fixes = [report(at_s, 29.0 + at_s * 0.01, -95.0) for at_s in range(2)]

    assert dict(track_of(*fixes).refused) == {"jump": 1}
    assert dict(track_of(*fixes, max_speed_m_s=1200).refused) == {}


@pytest.mark.parametrize(
    ("latitude", "longitude", "reason"),
    [(0.0, 0.0, "0/0"), (91.0, 5.0, "no place"), (math.nan, 5.0, "no place"), (5.0, 180.5, "no place")],
)
def test_what_is_no_place_is_refused_and_counted(latitude: float, longitude: float, reason: str) -> None:
    track = track_of(report(0, latitude, longitude))

    assert dict(track.refused) == {reason: 1}
    assert track.at(0) is None


def test_a_2d_fix_is_used_and_marked() -> None:
    track = track_of(Report(0.0, position=Position(29.0, -95.0, is_2d=True)))

    place = track.at(0)

    assert place is not None
    assert place.position.is_2d
    assert dict(track.marked) == {"2D": 1}


def test_a_fix_that_is_said_again_is_stale() -> None:
    same = Position(29.0, -95.0)
    track = track_of(Report(10.0, own_s=3.0, position=same), Report(11.0, own_s=3.0, position=same))

    assert dict(track.refused) == {"stale": 1}
    assert track.at(12.5) is None


def test_a_reason_that_the_stream_gave_is_counted() -> None:
    track = track_of(Report(0.0, refused="checksum"), Report(1.0, refused="checksum"), Report(1.0, refused="no fix"))

    assert dict(track.refused) == {"checksum": 2, "no fix": 1}


def test_fixes_from_before_a_reboot_do_not_mix_with_those_after() -> None:
    track = track_of(
        Report(100.0, own_s=5000.0, position=Position(29.0, -95.0)),
        Report(101.0, own_s=1.0, position=Position(29.0001, -95.0)),
    )

    assert where(track, 100.4) == (29.0, -95.0)
    assert where(track, 100.6) == (29.0001, -95.0)


def test_messages_that_a_radio_holds_up_are_placed_when_they_were_measured() -> None:
    # One metre a second to the north; each held up by another time.
    held_up_s = (0.1, 0.05, 0.8, 0.0, 0.4, 0.3)
    metre = 1 / 110_855
    track = track_of(
        *(
            Report(1000 + own_s + held_up, own_s=float(own_s), position=Position(29.0 + own_s * metre, -95.0))
            for own_s, held_up in enumerate(held_up_s)
        )
    )

    # By the least of them, once it has come.
    assert where(track, 1004.5)[0] == pytest.approx(29.0 + 4.5 * metre, abs=0.001 * metre)


def test_what_comes_late_is_refused() -> None:
    track = track_of(report(10), report(9.5))

    assert dict(track.refused) == {"late": 1}


def test_a_report_without_any_time_is_refused() -> None:
    track = track_of(Report(None, position=Position(29.0, -95.0)))

    assert dict(track.refused) == {"no time": 1}


def test_what_is_old_is_forgotten() -> None:
    track = Track(max_age_s=2, max_speed_m_s=150, kept_s=60)
    for at_s in range(1000):
        track.add(report(at_s))

    assert track.at(10) is None
    assert track.at(950) is not None
    assert len(track._positions.times_s) < 130
