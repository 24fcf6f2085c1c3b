"""What the messages of an autopilot say, and whose they are."""

from __future__ import annotations

import math

import pytest
from pymavlink.dialects.v20 import ardupilotmega as dialect

from edge.position.mavlink_clock import BootClock
from edge.position.mavlink_vehicle import Vehicle
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


def heard_by(
    vehicle: Vehicle, *messages: object, sender: Autopilot = AIRCRAFT, at_s: float | None = 5.0, address: object = None
) -> Report | None:
    report = None
    for message in messages:
        report = vehicle.report(sender.heard(message), at_s, address)
    return report


def why_not(report: Report | None) -> str | None:
    """Why there is no position; None: there is one."""
    assert report is not None
    assert (report.position is None) is (report.refused is not None)
    return report.refused


def test_a_position_has_its_heights_its_speed_and_the_autopilot_s_time() -> None:
    there = Position(-35.36, 149.16, 667.0, 76.231, 0.239, 9.5, -1.1)

    assert said(gps(), position(12_345)) == Report(5.0, 12.345, position=there)


def test_a_position_of_zero_is_passed_on_for_the_track_to_refuse() -> None:
    report = said(gps(), position(1000, 0.0, 0.0))

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


def test_without_a_word_of_a_receiver_no_position_is_believed() -> None:
    assert said(position(1000)) == refused("no GPS word")


@pytest.mark.parametrize("clock", ["ours", "the autopilot's"])
def test_a_word_of_a_receiver_holds_for_five_seconds(clock: str) -> None:
    """As under trees, where a receiver is silent and the autopilot guesses."""
    vehicle, received = Vehicle(), clock == "ours"
    heard_by(vehicle, gps(), position(20_000), at_s=100.0 if received else None)
    told = [
        why_not(heard_by(vehicle, position(20_000 + after_ms), at_s=100.0 + after_ms / 1000 if received else None))
        for after_ms in (2500, 4900, 5100, 7000)
    ]

    assert told == [None, None, "no GPS word", "no GPS word"]
    assert why_not(heard_by(vehicle, gps(), position(27_200), at_s=107.2 if received else None)) is None


def test_of_two_receivers_the_one_that_went_silent_does_not_count() -> None:
    second = dialect.MAVLink_gps2_raw_message(0, 3, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, h_acc=700)
    vehicle = Vehicle()
    heard_by(vehicle, second, at_s=100.0)
    heard_by(vehicle, gps(1), at_s=104.0)

    assert why_not(heard_by(vehicle, position(20_000), at_s=104.5)) is None
    assert why_not(heard_by(vehicle, position(20_600), at_s=105.1)) == "no fix"


def test_a_boot_that_nobody_heard_is_noticed_when_the_link_is_back() -> None:
    time = dialect.MAVLink_system_time_message(START_US, 20_000)
    vehicle = Vehicle()
    heard_by(vehicle, time, attitude(20_000), gps(), position(20_000), at_s=100.0)

    # Nobody hears it for 26 s. It has booted meanwhile, and is on for longer than it was before.
    report = heard_by(vehicle, attitude(24_000), at_s=126.0)
    assert report is not None
    assert (report.own_s, report.utc_s) == (24.0, None)
    assert why_not(heard_by(vehicle, position(24_100), at_s=126.1)) == "no GPS word"


def test_after_a_boot_the_heading_of_before_is_not_the_one_of_now() -> None:
    looking_down = dialect.MAVLink_mount_orientation_message(20_400, 0.0, -90.0, 0.0, 0.0)
    vehicle = Vehicle()
    heard_by(vehicle, attitude(20_000), at_s=100.0)

    assert heard_by(vehicle, looking_down, at_s=130.0) == Report(130.0, refused="no heading")


@pytest.mark.parametrize("gap_s", [2.0, 8.0, 60.0])
def test_a_link_that_was_lost_for_a_while_is_no_boot(gap_s: float) -> None:
    vehicle = Vehicle()
    heard_by(vehicle, dialect.MAVLink_system_time_message(START_US, 20_000), at_s=100.0)
    report = heard_by(vehicle, attitude(20_000 + round(1000 * gap_s)), at_s=100.5 + gap_s)

    assert report is not None
    assert report.utc_s == pytest.approx(START_US / 1e6 + gap_s)


def test_the_time_ties_the_autopilot_s_clock_to_utc_also_in_later_messages() -> None:
    time = dialect.MAVLink_system_time_message(START_US, 1000)
    vehicle, start_s = Vehicle(), START_US / 1e6

    assert heard_by(vehicle, time) == Report(5.0, 1.0, start_s)
    report = heard_by(vehicle, attitude(3500), at_s=7.5)
    assert report is not None
    assert report.utc_s == start_s + 2.5


@pytest.mark.parametrize(
    "unix_us", [1_000, 1_700_000_000_000_000, 29_618_095_652_006_494], ids=["since boot", "too old", "year 2908"]
)
def test_a_time_that_cannot_be_is_refused(unix_us: int) -> None:
    vehicle = Vehicle()

    assert heard_by(vehicle, dialect.MAVLink_system_time_message(unix_us, 1000)) == refused("implausible time")
    report = heard_by(vehicle, attitude(2000))
    assert report is not None
    assert (report.own_s, report.utc_s) == (2.0, None)


def test_a_time_that_the_autopilot_does_not_know_is_nothing() -> None:
    assert said(dialect.MAVLink_system_time_message(0, 1000)) is None


def test_time_that_goes_back_is_passed_on_and_what_was_known_before_is_forgotten() -> None:
    time = dialect.MAVLink_system_time_message(START_US, 500_000)
    vehicle = Vehicle()
    heard_by(vehicle, time, gps(), position(500_200))

    assert heard_by(vehicle, position(4000), at_s=8.1) == Report(8.1, refused="no GPS word")
    report = heard_by(vehicle, gps(), position(4200), at_s=8.3)
    assert report is not None
    assert (report.own_s, report.utc_s, why_not(report)) == (4.2, None, None)


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
    heard_by(vehicle, heartbeat(), gps())

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
    heard_by(vehicle, attitude(900_000), sender=OTHER)
    heard_by(vehicle, heartbeat(dialect.MAV_AUTOPILOT_INVALID), sender=OTHER)

    report = heard_by(vehicle, attitude(1000))
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


@pytest.mark.parametrize("ahead_s", [-400, -3, 3, 400])
@pytest.mark.parametrize("has_time", [True, False], ids=["live", "recorded without a clock"])
def test_clocks_that_alternate_are_two_vehicles_and_not_one_that_boots(ahead_s: int, has_time: bool) -> None:
    vehicle = Vehicle()
    heard_by(vehicle, gps(), at_s=100.0 if has_time else None)
    said = []
    for step in range(20):
        for boot_ms in (500_000 + 200 * step, 500_000 + 1000 * ahead_s + 200 * step):
            report = heard_by(vehicle, attitude(boot_ms), at_s=100.0 + 0.2 * step if has_time else None)
            assert report is not None
            said.append(report.refused)

    # Whoever is ahead may have been unheard for a while, where nobody says when a message came; then it is the one.
    followed = 0 if has_time or ahead_s < 0 else 1
    assert said[1:] == [None if number % 2 == followed else "other vehicle" for number in range(1, 40)]


@pytest.mark.parametrize("has_time", [True, False], ids=["live", "recorded without a clock"])
def test_a_clock_that_has_begun_anew_is_believed_when_the_first_is_not_heard_any_more(has_time: bool) -> None:
    vehicle = Vehicle()
    heard_by(vehicle, attitude(500_000), at_s=100.0 if has_time else None)
    said = [
        report.refused
        for boot_ms in range(0, 5000, 500)
        if (report := heard_by(vehicle, attitude(boot_ms), at_s=100.2 + boot_ms / 1000 if has_time else None))
    ]

    assert said == ["other vehicle"] * (6 if has_time else 7) + [None] * (4 if has_time else 3)


def test_a_recorder_s_clock_that_is_set_costs_no_message() -> None:
    vehicle = Vehicle()
    heard = [
        heard_by(vehicle, attitude(20_000 + 200 * step), at_s=1000.0 + 0.2 * step + set_s)
        for step, set_s in enumerate([0, 0, -3600, -3600, 7200, 7200])
    ]

    assert [report and report.own_s for report in heard] == pytest.approx([20.0, 20.2, 20.4, 20.6, 20.8, 21.0])


def test_a_vehicle_keeps_to_its_address_until_it_was_silent_for_ten_seconds() -> None:
    vehicle = Vehicle()
    heard_by(vehicle, heartbeat(), gps(), position(20_000), at_s=100.0, address="a")
    heard_by(vehicle, gps(1), heartbeat(), heartbeat(dialect.MAV_AUTOPILOT_INVALID), at_s=100.1, address="b")
    assert why_not(heard_by(vehicle, position(20_200), at_s=100.2, address="a")) is None

    heard_by(vehicle, heartbeat(), at_s=105.0, address="a")
    assert heard_by(vehicle, position(34_900), at_s=114.9, address="b") == Report(114.9, refused="other vehicle")
    assert heard_by(vehicle, position(35_100), at_s=115.1, address="b") == Report(115.1, refused="no GPS word")
    assert why_not(heard_by(vehicle, gps(), position(35_200), at_s=115.2, address="b")) is None
    assert heard_by(vehicle, position(35_300), at_s=115.3, address="a") == Report(115.3, refused="other vehicle")


def test_a_gimbal_at_another_address_may_be_that_of_another_vehicle() -> None:
    mount = dialect.MAVLink_mount_orientation_message(2000, 0.0, -90.0, 0.0, 45.0)
    vehicle, gimbal = Vehicle(), Autopilot(component=154)
    heard_by(vehicle, heartbeat(), address="a")

    assert heard_by(vehicle, mount, sender=gimbal, address="b") == refused("other vehicle")
    assert heard_by(vehicle, mount, sender=gimbal, at_s=60.0, address="b") == Report(60.0, refused="other vehicle")
    assert heard_by(vehicle, mount, sender=gimbal, address="a") == Report(5.0, camera=Attitude(45.0, -90.0, 0.0))
