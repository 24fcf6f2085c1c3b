"""Acknowledgements of the ground station: what it says that it has stored must be beyond doubt."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.messages import MISSING_MAX, AckMessage, decode_ack, encode
from tests.edge.messages.examples import ACK, LEFT_OUT, changed


@pytest.mark.parametrize(
    ("through", "missing"),
    [(0, []), (1, []), (1, [1]), (9, [2, 5, 9]), (MISSING_MAX, list(range(1, MISSING_MAX + 1))), (2**53 - 1, [2**53 - 1])],
)
def test_an_acknowledgement_comes_back_as_it_was_sent(through: int, missing: list[int]) -> None:
    message = AckMessage(schema=1, journal="7f3a", through=through, missing=missing)

    assert decode_ack(encode(message)) == message


@pytest.mark.parametrize("field", list(ACK))
def test_an_acknowledgement_without_a_field_is_refused(field: str) -> None:
    with pytest.raises(msgspec.DecodeError, match=field):
        decode_ack(changed(ACK, **{field: LEFT_OUT}))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema": 2}, "schema"),
        ({"journal": ""}, "journal"),
        ({"journal": "x" * 65}, "journal"),
        ({"journal": None}, "journal"),
        ({"through": -1, "missing": []}, "through"),
        ({"through": 9.5}, "through"),
        ({"through": "9"}, "through"),
        ({"through": True}, "through"),
        ({"through": 2**53}, "through"),
        ({"missing": None}, "missing"),
        ({"missing": [0]}, "missing"),
        ({"missing": [10]}, "expected missing sequences up to 9, got 10"),
        ({"through": 0, "missing": [1]}, "expected missing sequences up to 0, got 1"),
        ({"missing": [5, 2]}, "strictly ascending"),
        ({"missing": [2, 2]}, "strictly ascending"),
        ({"through": 20_000, "missing": list(range(1, MISSING_MAX + 2))}, "missing"),
    ],
)
def test_an_acknowledgement_that_could_mean_two_things_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(msgspec.DecodeError, match=reason):
        decode_ack(changed(ACK, **changes))


def test_an_acknowledgement_that_is_too_large_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(msgspec.DecodeError, match="expected at most 262144 bytes"):
        decode_ack(b" " * 262_144 + changed(ACK))


@settings(deadline=None)
@given(st.integers(0, 50), st.lists(st.integers(-1, 60), max_size=6))
def test_missing_sequences_are_taken_exactly_when_each_can_be_missing(through: int, missing: list[int]) -> None:
    payload = json.dumps({**ACK, "through": through, "missing": missing}).encode()
    if missing == sorted(set(missing)) and all(1 <= sequence <= through for sequence in missing):
        assert decode_ack(payload).missing == missing
    else:
        with pytest.raises(msgspec.DecodeError):
            decode_ack(payload)
