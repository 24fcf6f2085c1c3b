"""Commands and replies: what is one, and what is refused before anybody asks whether it is allowed."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config.sections import CommandName
from edge.messages import (
    COMMAND_NAMES,
    CommandHead,
    CommandMessage,
    NoArguments,
    Pause,
    Resend,
    ResendArguments,
    Resume,
    RollbackModel,
    SetThreshold,
    Snapshot,
    ThresholdArguments,
    command_head,
    decode_command,
    decode_reply,
    encode,
)
from tests.edge.messages.examples import COMMAND, LEFT_OUT, REPLY, changed, command

EXPIRES_AT = str(COMMAND["expires_at"])


@pytest.mark.parametrize(
    ("name", "args", "kind", "arguments"),
    [
        ("set_threshold", {"threshold": 0.8}, SetThreshold, ThresholdArguments(0.8)),
        ("set_threshold", {"threshold": 0}, SetThreshold, ThresholdArguments(0.0)),
        ("set_threshold", {"threshold": None}, SetThreshold, ThresholdArguments(None)),
        ("pause", {}, Pause, NoArguments()),
        ("resume", {}, Resume, NoArguments()),
        ("snapshot", {}, Snapshot, NoArguments()),
        ("resend", {"first": 3, "last": 3}, Resend, ResendArguments(3, 3)),
        ("rollback_model", {}, RollbackModel, NoArguments()),
    ],
)
def test_every_command_has_arguments_of_its_own(
    name: str, args: dict[str, Any], kind: type[CommandMessage], arguments: msgspec.Struct
) -> None:
    decoded = decode_command(command(name, args))

    assert decoded == kind(schema=1, id="c-1", expires_at=EXPIRES_AT, args=arguments)  # type: ignore[arg-type]
    assert decoded.name == name
    assert decode_command(encode(decoded)) == decoded


def test_the_configuration_can_allow_every_command_and_no_other() -> None:
    assert set(COMMAND_NAMES) == set(get_args(CommandName))


def test_a_command_without_arguments_needs_no_args() -> None:
    assert decode_command(changed(COMMAND, name="pause", args=LEFT_OUT)).name == "pause"


def test_a_field_that_a_later_version_adds_is_passed_over() -> None:
    assert decode_command(changed(COMMAND, new=[1])) == decode_command(command())


@pytest.mark.parametrize("field", ["schema", "id", "name", "args", "expires_at"])
def test_a_command_without_a_field_is_refused(field: str) -> None:
    with pytest.raises(msgspec.DecodeError, match=field):
        decode_command(changed(COMMAND, **{field: LEFT_OUT}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", 2),
        ("schema", "1"),
        ("id", ""),
        ("id", "x" * 65),
        ("id", 7),
        ("id", "a\nb"),
        ("id", "a\n"),
        ("id", "\u202e"),
        ("id", None),
        ("name", "fly"),
        ("name", None),
        ("args", None),
        ("args", []),
        ("args", {}),
        ("args", {"threshold": 0.5, "label": "damaged"}),
        ("args", {"threshold": 1.001}),
        ("args", {"threshold": -0.001}),
        ("args", {"threshold": "0.5"}),
        ("args", {"threshold": True}),
        ("expires_at", "2026-11-21T10:05:00Z"),
        ("expires_at", "2026-13-21T10:05:00.000Z"),
        ("expires_at", "2026-11-21T25:05:00.000Z"),
        ("expires_at", "٢٠٢٦-11-21T10:05:00.000Z"),
        ("expires_at", "2026-11-21T10:05:00.000Z\n"),
        ("expires_at", None),
    ],
)
def test_a_command_with_a_wrong_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        decode_command(changed(COMMAND, **{field: value}))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "args",
    [{"first": 0, "last": 1}, {"first": 2, "last": 1}, {"first": 1}, {"first": 1, "last": 2**53}, {"first": 1.5, "last": 2}],
)
def test_what_is_no_range_of_sequences_is_refused(args: dict[str, Any]) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_command(command("resend", args))


@pytest.mark.parametrize("name", ["pause", "resume", "snapshot", "rollback_model"])
def test_an_argument_that_a_command_does_not_have_is_an_error(name: str) -> None:
    with pytest.raises(msgspec.DecodeError, match="unknown field `minutes`"):
        decode_command(command(name, {"minutes": 5}))


def test_a_command_above_16_kb_is_refused_before_it_is_decoded() -> None:
    fitting = command("pause", new="x" * (16_384 - len(command("pause", new=""))))

    assert decode_command(fitting).name == "pause"
    with pytest.raises(msgspec.DecodeError, match="expected at most 16384 bytes, got 16385"):
        decode_command(fitting + b" ")


@pytest.mark.parametrize("payload", [b"", b"{", b"null", b"[]", b"\xff", b'{"name": "\xff"}', b'{"a":' + b"[" * 9_000])
def test_what_is_no_json_object_is_no_command(payload: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_command(payload)
    assert command_head(payload) == CommandHead(None, None)


@pytest.mark.parametrize(
    ("changes", "head"),
    [
        ({}, CommandHead("c-1", "set_threshold")),
        ({"args": 7, "schema": 9}, CommandHead("c-1", "set_threshold")),
        ({"name": "fly"}, CommandHead("c-1", "fly")),
        ({"name": "x" * 33}, CommandHead("c-1", None)),
        ({"name": "\x1b[2J"}, CommandHead("c-1", None)),
        ({"name": LEFT_OUT}, CommandHead("c-1", None)),
        ({"id": LEFT_OUT}, CommandHead(None, "set_threshold")),
        ({"id": "a\nb"}, CommandHead(None, "set_threshold")),
        ({"id": ["c-1"]}, CommandHead(None, "set_threshold")),
    ],
)
def test_of_a_bad_command_the_head_is_read_where_it_can_be(changes: dict[str, Any], head: CommandHead) -> None:
    assert command_head(changed(COMMAND, **changes)) == head


@settings(deadline=None)
@given(st.data())
def test_a_damaged_command_is_taken_or_refused_with_a_decode_error(data: st.DataObject) -> None:
    payload = bytearray(command())
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    command_head(bytes(payload))
    with suppress(msgspec.DecodeError):
        decode_command(bytes(payload))


def test_a_reply_comes_back_as_it_was_sent() -> None:
    payload = changed(REPLY, ok=False, reason="expired", name=None, result={})

    assert json.loads(encode(decode_reply(payload))) == json.loads(payload)


@pytest.mark.parametrize(("field", "value"), [("id", None), ("ok", 1), ("at", "now"), ("result", {"list": []}), ("schema", 2)])
def test_a_reply_with_a_wrong_value_is_refused(field: str, value: Any) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_reply(changed(REPLY, **{field: value}))
