"""Status, health and log: what comes back, what an older device leaves out, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from edge.messages import decode_health, decode_log, decode_status, encode, log_message
from tests.edge.messages.examples import HEALTH, LEFT_OUT, LOG, STATUS, changed

Decode = Callable[[bytes], msgspec.Struct]


@pytest.mark.parametrize(("decode", "example"), [(decode_status, STATUS), (decode_log, LOG)])
def test_a_message_comes_back_as_it_was_sent(decode: Decode, example: dict[str, Any]) -> None:
    assert json.loads(encode(decode(changed(example)))) == example


def test_health_of_a_device_that_does_not_know_the_newer_figures_is_read() -> None:
    content = json.loads(encode(decode_health(changed(HEALTH))))

    assert content.items() >= HEALTH.items()
    assert {key: content[key] for key in content.keys() - HEALTH.keys()} == {
        "network_sent_bytes": None,
        "network_received_bytes": None,
        "load_1min": None,
        "cpu_mhz": None,
        "memory_available_bytes": None,
        "thumbnails_waiting": 0,
        "uplink_bytes_per_s": 0.0,
        "journal_bytes": None,
        "outside_area": 0,
        "positions": {},
    }


@pytest.mark.parametrize("decode", [decode_status, decode_health, decode_log])
@pytest.mark.parametrize("payload", [b"", b"null", b"\xff", b"[" * 50_000, b" " * 70_000 + b"{}"])
def test_what_is_no_message_is_refused_in_one_line(decode: Decode, payload: bytes) -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        decode(payload)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("decode", "example", "changes"),
    [
        (decode_status, STATUS, {"state": "lost"}),
        (decode_status, STATUS, {"reasons": None}),
        (decode_status, STATUS, {"device": LEFT_OUT}),
        (decode_status, STATUS, {"schema": 2}),
        (decode_health, HEALTH, {"frames": "5"}),
        (decode_health, HEALTH, {"cpu_percent": LEFT_OUT}),
        (decode_health, HEALTH, {"load_1min": "high"}),
        (decode_log, LOG, {"level": "debug"}),
        (decode_log, LOG, {"text": "x" * 2_001}),
        (decode_log, LOG, {"room": LEFT_OUT}),
    ],
)
def test_a_wrong_value_is_refused(decode: Decode, example: dict[str, Any], changes: dict[str, Any]) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(changed(example, **changes))


def test_a_long_line_of_the_log_is_cut_to_what_the_wire_allows() -> None:
    message = log_message("uav-1", str(LOG["at"]), "error", "journal", "😀" * 3_000)

    assert decode_log(encode(message)).text == "😀" * 2_000
