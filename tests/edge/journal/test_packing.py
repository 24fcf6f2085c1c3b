"""Packing: any message comes back to the byte, an alert becomes small, and what is damaged is refused."""

from __future__ import annotations

import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.journal import packing
from edge.journal.packing import pack, pack_corners, unpack, unpack_corners
from edge.messages import alert_message, encode, uuid7
from edge.records import Alert
from tests.edge.journal.frames import observe


def real_alert(number: int = 1) -> bytes:
    """An alert as it goes over the wire."""
    return encode(alert_message(Alert(uuid7(), observe(f"{number:08}.jpeg"), "damaged", 0.75), "uav-1", uuid7(), number))


@given(st.binary(max_size=5000))
def test_any_bytes_come_back(message: bytes) -> None:
    assert unpack(pack(message)) == message


def test_an_alert_becomes_less_than_a_third() -> None:
    message = real_alert()
    assert unpack(pack(message)) == message
    assert len(pack(message)) < len(message) / 3


def test_a_message_that_is_cut_off_is_refused_wherever_that_is() -> None:
    packed = pack(real_alert())
    for length in range(len(packed)):
        with pytest.raises(zlib.error):
            unpack(packed[:length])


def test_what_was_never_packed_is_refused() -> None:
    with pytest.raises(zlib.error):
        unpack(b"\xff" * 100)


def test_a_message_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(zlib.error, match="too large"):
        unpack(pack(bytes(packing.MAX_MESSAGE_BYTES + 1)))


def test_the_dictionaries_are_those_that_older_journals_were_written_with() -> None:
    # Who changes one makes every undelivered alert on every device unreadable: a new one needs a new schema.
    first, second = (hashlib.sha256(each).hexdigest() for each in (packing._FIRST_DICTIONARY, packing._DICTIONARY))
    assert first == "15bb22e9d620c87f179d4919ca7212823da7c510bdf8338fdc9872cf155d84ba"
    assert second == "89c568987816d537f9feb875989ee178a686d9c25000a91d5892a8fe8fe370d6"


def test_a_message_of_an_older_program_is_read() -> None:
    packed = bytes.fromhex("2335b91920802146d2ab0500")
    assert unpack(packed) == b'{"type":"Feature","id":"0198f1c2-0000-7000-8000-000000000001","geometry":null}'


@given(st.integers(0, 32).flatmap(lambda length: st.binary(min_size=length, max_size=length)))
def test_what_is_of_another_length_is_no_footprint(packed: bytes) -> None:
    if len(packed) == 32:
        assert len(unpack_corners(packed)) == 4
        return
    with pytest.raises(ValueError, match="no corners of a footprint"):
        unpack_corners(packed)


@given(st.lists(st.tuples(st.floats(-180, 180), st.floats(-90, 90)), min_size=4, max_size=4))
def test_corners_come_back_to_the_centimetre(corners: list[tuple[float, float]]) -> None:
    packed = pack_corners(corners)
    assert len(packed) == 32
    for corner, again in zip(corners, unpack_corners(packed), strict=True):
        assert again == pytest.approx(corner, abs=6e-8)
