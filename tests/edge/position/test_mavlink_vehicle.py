"""What the messages of an autopilot say, and whose they are."""

from __future__ import annotations

import math

import pytest
from pymavlink.dialects.v20 import ardupilotmega as dialect

from edge.position.mavlink_vehicle import BootClock, Vehicle
from edge.position.report import Position, Report
from edge.records import Attitude

from .autopilot import START_US, Autopilot, attitude, gps, heartbeat, position

AIRCRAFT = Autopilot()
OTHER = Autopilot(system=2)
GROUND = Autopilot(system=255, component=190)


def refused(reason: str) -> Report:
    return Report(5.0, refused=reason)


def said(*messages: object, sender: Autopilot = AIRCRAFT) -> Report | None:
    """What the last of these messages says, each heard at 5 s by this machine's clock."""
    return heard_by(Vehicle(), *messages, sender=sender)


def heard_by(vehicle: Vehicle, *messages: object, sender: Autopilot = AIRCRAFT) -> Report | None:
    report = None
    for message in messages:
        report = vehicle.report(sender.heard(message), 5.0)
    return report


def test_a_position_has_its_heights_its_speed_and_the_autopilot_s_time() -> None:
    there = Position(-35.36, 149.16, 667.0, 76.231, None, 9.5, -1.1)

    assert said(position(12_345)) == Report(5.0, 12.345, position=there)


def test_a_position_of_zero_is_passed_on_for_the_track_to_refuse() -> None:
    report = said(position(1000, 0.0, 0.0))

    assert report is not None
    assert report.position is not None
    assert (report.position.latitude, report.position.longitude) == (0, 0)


def test_an_attitude_is_in_degrees_with_its_yaw_from_north() -> None:
    report = said(attitude(1000, roll=math.pi / 6, pitch=-math.pi / 4, yaw=-math.pi / 2))

    assert report is not None
    assert report.attitude is not None
    turned = (report.attitude.yaw_deg, report.attitude.pitch_deg, report.attitude.roll_deg)
    assert turned == pytest.approx((270, -45, 30), abs=1e-4)


def test_a_yaw_a_hair_west_of_north_is_not_a_full_turn() -> None:
    report = said(attitude(1000, yaw=-1e-30))

    assert report is not None
    assert report.attitude is not None
    assert report.attitude.yaw_deg == 0


@pytest.mark.parametrize("angles", [(math.nan, 0, 0), (0, math.nan, 0), (0, 0, math.nan), (0, 0, math.inf), (9, 0, 0)])
def test_an_attitude_that_cannot_be_is_refused(angles: tuple[float, float, float]) -> None:
    assert said(attitude(1000, *angles)) == refused("impossible angle")


@pytest.mark.parametrize("fix", [dialect.GPS_FIX_TYPE_NO_GPS, dialect.GPS_FIX_TYPE_NO_FIX])
def test_a_position_without_a_fix_is_a_guess_and_refused(fix: int) -> None:
    assert said(gps(fix), position(1000)) == refused("no fix")


def test_a_fix_that_comes_back_ends_the_refusal() -> None:
    report = said(gps(1), position(1000), gps(3), position(1200))

    assert report is not None
    assert report.position is not None


@pytest.mark.parametrize(("fix", "is_2d"), [(2, True), (3, False), (6, False)])
def test_a_2d_fix_is_marked(fix: int, is_2d: bool) -> None:
    report = said(gps(fix), position(1000))

    assert report is not None
    assert report.position is not None
    assert report.position.is_2d is is_2d


@pytest.mark.parametrize(("h_acc", "accuracy_m"), [(239, 0.239), (0, None), (0xFFFF_FFFF, None)])
def test_the_accuracy_is_what_the_receiver_says_of_itself(h_acc: int, accuracy_m: float | None) -> None:
    report = said(gps(3, h_acc), position(1000))

    assert report is not None
    assert report.position is not None
    assert report.position.accuracy_m == accuracy_m


def test_of_two_receivers_the_one_with_the_better_fix_counts() -> None:
    second = dialect.MAVLink_gps2_raw_message(0, 3, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, h_acc=700)
    report = said(gps(1), second, position(1000))

    assert report is not None
    assert report.position is not None
    assert report.position.accuracy_m == 0.7


def test_the_time_ties_the_autopilot_s_clock_to_utc_also_in_later_messages() -> None:
    time = dialect.MAVLink_system_time_message(START_US, 1000)
    vehicle, start_s = Vehicle(), START_US / 1e6

    assert heard_by(vehicle, time) == Report(5.0, 1.0, start_s)
    report = heard_by(vehicle, position(3500))
    assert report is not None
    assert report.utc_s == start_s + 2.5


@pytest.mark.parametrize(
    "unix_us", [1_000, 1_700_000_000_000_000, 29_618_095_652_006_494], ids=["since boot", "too old", "year 2908"]
)
def test_a_time_that_cannot_be_is_refused(unix_us: int) -> None:
    vehicle = Vehicle()

    assert heard_by(vehicle, dialect.MAVLink_system_time_message(unix_us, 1000)) == refused("implausible time")
    report = heard_by(vehicle, position(2000))
    assert report is not None
    assert report.utc_s is None


def test_a_time_that_the_autopilot_does_not_know_is_nothing() -> None:
    assert said(dialect.MAVLink_system_time_message(0, 1000)) is None


def test_time_that_goes_back_is_passed_on_and_what_was_known_before_is_forgotten() -> None:
    time = dialect.MAVLink_system_time_message(START_US, 500_000)
    report = said(time, gps(2), position(600_000), position(4000))

    assert report is not None
    assert report.position is not None
    assert (report.own_s, report.utc_s, report.position.is_2d) == (4.0, None, False)


def test_a_message_that_was_overtaken_is_no_reboot() -> None:
    report = said(gps(2), position(600_000), attitude(599_500), position(600_200))

    assert report is not None
    assert report.position is not None
    assert report.position.is_2d


def test_after_49_days_the_clock_goes_on() -> None:
    clock, turn_s = BootClock(), 2**32 / 1000

    assert clock.seconds(2**32 - 100) == turn_s - 0.1
    assert clock.seconds(50) == turn_s + 0.05
    assert clock.seconds(2**32 - 10) == turn_s - 0.01  # was overtaken
    assert clock.seconds(200) == turn_s + 0.2


def test_a_reboot_is_no_turn_of_the_clock() -> None:
    clock = BootClock()
    clock.seconds(2**31 + 2**30)

    assert clock.seconds(3000) == 3.0


def test_of_two_vehicles_the_first_is_kept_and_the_other_refused() -> None:
    vehicle = Vehicle()
    heard_by(vehicle, heartbeat())

    assert heard_by(vehicle, heartbeat(), position(1000), sender=OTHER) == refused("other vehicle")
    assert heard_by(vehicle, attitude(1000), sender=OTHER) == refused("other vehicle")
    report = heard_by(vehicle, position(1000))
    assert report is not None
    assert report.position is not None


def test_the_other_s_messages_change_nothing_of_what_is_known_of_the_first() -> None:
    vehicle = Vehicle()
    heard_by(vehicle, heartbeat(), gps(3))
    heard_by(vehicle, gps(1), attitude(1, yaw=2.0), sender=OTHER)

    report = heard_by(vehicle, position(1000))
    assert report is not None
    assert report.position is not None


def test_a_ground_station_that_tells_where_it_is_is_no_vehicle() -> None:
    vehicle = Vehicle()
    station = Autopilot(system=250, component=1)
    heard_by(vehicle, heartbeat(dialect.MAV_AUTOPILOT_INVALID, dialect.MAV_TYPE_GCS), sender=station)

    assert heard_by(vehicle, position(1000), sender=station) is None
    assert heard_by(vehicle, position(1000), sender=GROUND) is None
    assert heard_by(vehicle, heartbeat(), position(1000)) is not None


def test_who_says_later_that_it_is_no_autopilot_makes_room_for_one() -> None:
    vehicle = Vehicle()
    heard_by(vehicle, position(900_000), sender=OTHER)
    heard_by(vehicle, heartbeat(dialect.MAV_AUTOPILOT_INVALID), sender=OTHER)

    report = heard_by(vehicle, position(1000))
    assert report is not None
    assert report.own_s == 1.0


def test_another_component_of_the_vehicle_does_not_speak_for_its_autopilot() -> None:
    vehicle = Vehicle()
    heard_by(vehicle, heartbeat())

    companion = Autopilot(component=191)
    assert heard_by(vehicle, position(1000), gps(1), sender=companion) is None
    assert heard_by(vehicle, position(1000)) is not None


def test_what_a_gimbal_says_has_the_autopilot_s_time_only_from_the_autopilot() -> None:
    mount = dialect.MAVLink_mount_orientation_message(2000, 0.0, -90.0, 0.0, 45.0)
    vehicle = Vehicle()
    heard_by(vehicle, heartbeat())

    assert heard_by(vehicle, mount, sender=Autopilot(component=154)) == Report(5.0, camera=Attitude(45.0, -90.0, 0.0))
    assert said(mount) == Report(5.0, 2.0, camera=Attitude(45.0, -90.0, 0.0))
