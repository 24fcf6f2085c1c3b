"""Messages are found in any bytes, and what was damaged costs itself alone."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymavlink.dialects.v20 import ardupilotmega as dialect

from edge.position.mavlink_packets import Packet, Packets
from edge.position.mavlink_vehicle import MESSAGES, Vehicle
from edge.position.report import Report

from .autopilot import Autopilot, as_log, attitude, encoded_flight, position

FLIGHT = encoded_flight(3)
WANTED = {"GLOBAL_POSITION_INT"}


def found(data: bytes, *, stamp_bytes: int = 0, names: set[str] = WANTED) -> list[Packet]:
    return list(Packets(names, stamp_bytes).feed(data, is_end=True))


def boot_times(packets: list[Packet]) -> list[int]:
    return [packet.message.time_boot_ms for packet in packets if packet.message is not None]


def refusals(packets: list[Packet]) -> list[str]:
    return [packet.refused for packet in packets if packet.refused is not None]


def positions(count: int, *, is_v1: bool = False) -> list[bytes]:
    aircraft = Autopilot(is_v1=is_v1)
    return [aircraft.packet(position(1000 * number)) for number in range(1, count + 1)]


@pytest.mark.parametrize("is_v1", [False, True], ids=["version 2", "version 1"])
@pytest.mark.parametrize("stamp_bytes", [0, 8], ids=["stream", "log"])
def test_messages_are_found_however_they_are_cut(is_v1: bool, stamp_bytes: int) -> None:
    packets = positions(20, is_v1=is_v1)
    data = as_log(packets) if stamp_bytes else b"".join(packets)
    cuts = sorted(random.Random(1).sample(range(len(data)), 60))
    finder, together = Packets(WANTED, stamp_bytes), []
    for start, end in pairwise([0, *cuts, len(data)]):
        together += finder.feed(data[start:end])

    assert boot_times(together) == [1000 * number for number in range(1, 21)]
    assert refusals(together) == []


def test_a_message_is_given_as_soon_as_its_last_byte_is_there() -> None:
    finder = Packets(WANTED)
    (packet,) = positions(1)

    assert list(finder.feed(packet[:-1])) == []
    assert boot_times(list(finder.feed(packet[-1:]))) == [1000]


@pytest.mark.parametrize("stamp_bytes", [0, 8], ids=["stream", "log"])
@pytest.mark.parametrize("byte", [-1, 12], ids=["in its checksum", "in its content"])
def test_a_damaged_message_is_refused_alone(stamp_bytes: int, byte: int) -> None:
    packets = positions(5)
    damaged = bytearray(packets[2])
    damaged[byte] ^= 0x10
    packets[2] = bytes(damaged)
    data = as_log(packets) if stamp_bytes else b"".join(packets)

    assert boot_times(found(data, stamp_bytes=stamp_bytes)) == [1000, 2000, 4000, 5000]
    assert refusals(found(data, stamp_bytes=stamp_bytes)) == ["checksum"]


def test_a_message_with_a_damaged_length_does_not_take_the_next_ones_with_it() -> None:
    packets = positions(8)
    packets[2] = packets[2][:1] + b"\xf0" + packets[2][2:]

    assert boot_times(found(b"".join(packets))) == [1000, 2000, 4000, 5000, 6000, 7000, 8000]
    assert refusals(found(b"".join(packets))) == ["garbage"]


def test_a_damaged_length_that_ends_where_a_later_message_begins_does_not_take_the_one_between() -> None:
    packets = positions(5)
    length = packets[1][1] + len(packets[2])
    packets[1] = packets[1][:1] + bytes([length]) + packets[1][2:]

    assert boot_times(found(b"".join(packets))) == [1000, 3000, 4000, 5000]
    assert refusals(found(b"".join(packets))) == ["checksum"]


@pytest.mark.parametrize("stamp_bytes", [0, 8], ids=["stream", "log"])
def test_garbage_between_messages_is_passed_over_and_refused_once(stamp_bytes: int) -> None:
    packets = positions(2)
    garbage = b"Booting ArduCopter V4.5\r\n\xfd\x09\x00\xfe\xff\xfd"
    first, second = (as_log([packet]) if stamp_bytes else packet for packet in packets)

    assert boot_times(found(first + garbage + second, stamp_bytes=stamp_bytes)) == [1000, 2000]
    assert refusals(found(first + garbage + second, stamp_bytes=stamp_bytes)) == ["garbage"]


def test_after_garbage_a_message_of_a_log_has_its_own_time_again() -> None:
    data = as_log(positions(1)) + b"\xfd garbage \xfe" + as_log(positions(1), start_us=1_600_000_000_000_000)

    stamps = [packet.stamp for packet in found(data, stamp_bytes=8) if packet.message is not None]
    assert int.from_bytes(stamps[1], "big") == 1_600_000_000_000_000


def test_messages_of_an_unknown_kind_are_nothing_to_refuse() -> None:
    unknown = bytearray(positions(1)[0])
    unknown[7:10] = b"\xff\xff\x7f"
    packets = positions(3)

    assert boot_times(found(packets[0] + bytes(unknown) + packets[1] + bytes(unknown))) == [1000, 2000]
    assert refusals(found(packets[0] + bytes(unknown) + packets[1] + bytes(unknown))) == []


def test_known_messages_that_nobody_wants_are_passed_over() -> None:
    data = b"".join([Autopilot().packet(attitude(5)), *positions(1)])

    assert boot_times(found(data)) == [1000]
    assert refusals(found(data)) == []


def test_a_message_that_was_cut_off_is_refused_and_the_next_one_found() -> None:
    packets = positions(3)

    assert boot_times(found(packets[0] + packets[1][:15] + packets[2])) == [1000, 3000]


def test_what_the_end_cuts_off_is_no_message_but_one_may_lie_within() -> None:
    packets = positions(2)
    endless = b"\xfd\xff\x00\x00"

    assert boot_times(found(packets[0] + endless + packets[1])) == [1000, 2000]
    assert boot_times(found(packets[0] + packets[1][:-1])) == [1000]


def test_signed_messages_are_read_without_their_signature() -> None:
    encoder = dialect.MAVLink(None, 1, 1)
    encoder.signing.secret_key = bytes(32)
    encoder.signing.sign_outgoing = True
    data = position(1000).pack(encoder) + position(2000).pack(encoder)

    assert boot_times(found(data)) == [1000, 2000]


def test_bytes_with_a_flag_that_nobody_knows_are_no_message() -> None:
    packets = positions(2)

    assert boot_times(found(packets[0][:2] + b"\x02" + packets[0][3:] + packets[1])) == [2000]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.binary(max_size=60) | st.sampled_from(FLIGHT), max_size=12), st.sampled_from([0, 8]), st.booleans())
def test_any_bytes_give_reports_and_nothing_else(parts: list[bytes], stamp_bytes: int, is_end: bool) -> None:
    finder, vehicle = Packets(MESSAGES, stamp_bytes), Vehicle()
    for part in parts:
        for packet in finder.feed(part, is_end=is_end):
            assert (packet.refused is None) or (packet.message is None)
            if packet.message is not None:
                assert isinstance(vehicle.report(packet.message, 1.0), Report | None)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_a_flipped_byte_costs_the_message_that_it_is_in_and_no_other(data: st.DataObject) -> None:
    packets = positions(6)
    number = data.draw(st.integers(0, 5))
    damaged = bytearray(packets[number])
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] ^= data.draw(st.integers(1, 255))
    packets[number] = bytes(damaged)

    assert boot_times(found(b"".join(packets))) == [1000 * (other + 1) for other in range(6) if other != number]
