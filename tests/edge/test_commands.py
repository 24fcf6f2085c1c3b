"""The gate that commands must pass: each reason to refuse, what it leaves behind, and that nothing passes twice."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge.commands import CommandGate, Refusal
from edge.messages import COMMAND_NAMES, Pause, SetThreshold, rfc3339
from tests.edge.messages.examples import COMMAND, changed, command

NOW = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)


class Memory:
    """Ids in memory, as the journal keeps them."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def was_seen(self, command_id: str) -> bool:
        return command_id in self.ids

    def remember(self, command_id: str) -> None:
        self.ids.append(command_id)


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def gate(memory: Memory) -> CommandGate:
    return CommandGate(COMMAND_NAMES, memory, lambda: NOW)


def refusal(gate: CommandGate, payload: bytes, *, retained: bool = False) -> Refusal:
    """What the gate has against a command that it must not let through."""
    judged = gate.admit(payload, retained=retained)
    assert isinstance(judged, Refusal)
    return judged


def test_an_allowed_command_passes_and_is_remembered(gate: CommandGate, memory: Memory) -> None:
    admitted = gate.admit(command(), retained=False)

    assert isinstance(admitted, SetThreshold)
    assert admitted.args.threshold == 0.8
    assert memory.ids == ["c-1"]


def test_a_repeated_command_is_refused_whatever_it_says(gate: CommandGate) -> None:
    gate.admit(command(), retained=False)

    assert refusal(gate, command()) == Refusal("c-1", "set_threshold", "repeated: this id was used before")
    assert refusal(gate, command("pause")).reason == "repeated: this id was used before"
    assert isinstance(gate.admit(command("pause", id="c-2"), retained=False), Pause)


def test_a_command_that_the_broker_kept_is_refused(gate: CommandGate, memory: Memory) -> None:
    assert refusal(gate, command(), retained=True) == Refusal(
        "c-1", "set_threshold", "retained: expected a command that the broker does not keep"
    )
    assert memory.ids == []


@pytest.mark.parametrize(
    ("ahead", "reason"),
    [
        (timedelta(0), "expired at 2026-11-21T10:00:00.000Z; the device's clock says 2026-11-21T10:00:00.000Z"),
        (timedelta(milliseconds=-1), "expired at 2026-11-21T09:59:59.999Z; the device's clock says 2026-11-21T10:00:00.000Z"),
        (
            timedelta(days=1, milliseconds=1),
            "expires at 2026-11-22T10:00:00.001Z, more than a day ahead; the device's clock says 2026-11-21T10:00:00.000Z",
        ),
    ],
)
def test_a_command_that_is_not_for_now_is_refused(gate: CommandGate, memory: Memory, ahead: timedelta, reason: str) -> None:
    assert refusal(gate, command(expires_at=rfc3339(NOW + ahead))).reason == reason
    assert memory.ids == []


@pytest.mark.parametrize("ahead", [timedelta(milliseconds=1), timedelta(days=1)])
def test_a_command_passes_up_to_the_edges_of_its_time(gate: CommandGate, ahead: timedelta) -> None:
    assert isinstance(gate.admit(command("pause", expires_at=rfc3339(NOW + ahead)), retained=False), Pause)


@pytest.mark.parametrize(("allowed", "named"), [((), "none"), (("pause", "resume"), "pause, resume")])
def test_a_command_that_the_configuration_does_not_allow_is_refused_and_says_where(
    memory: Memory, allowed: tuple[str, ...], named: str
) -> None:
    gate = CommandGate(allowed, memory, lambda: NOW)

    assert refusal(gate, command("rollback_model")) == Refusal(
        "c-1", "rollback_model", f"rollback_model is not allowed; uplink.commands allows {named}"
    )
    assert memory.ids == []


def test_an_unknown_command_is_refused_and_the_known_ones_are_named(gate: CommandGate) -> None:
    assert refusal(gate, command("fly")) == Refusal(
        "c-1",
        "fly",
        "unknown command fly; known are set_threshold, pause, resume, snapshot, resend, rollback_model",
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"args": {"threshold": 2}}, "malformed: Expected `float` <= 1.0 - at `$.args.threshold`"),
        ({"args": {"threshold": 0.5, "now": 1}}, "malformed: Object contains unknown field `now` - at `$.args`"),
        ({"name": "resend", "args": {"first": 5, "last": 3}}, "malformed: expected first <= last, got 5 and 3 - at `$.args`"),
        ({"schema": 2}, "malformed: Invalid enum value 2 - at `$.schema`"),
    ],
)
def test_a_malformed_command_is_refused_with_its_id_and_the_place(
    gate: CommandGate, changes: dict[str, Any], reason: str
) -> None:
    refused = refusal(gate, changed(COMMAND, **changes))

    assert (refused.id, refused.reason) == ("c-1", reason)


@pytest.mark.parametrize(
    "payload", [b"", b"pause", b"\xff\xfe", b"x" * 16_385, changed(COMMAND, id=7), changed(COMMAND, id="\n")]
)
def test_what_has_no_readable_id_is_refused_without_one(gate: CommandGate, payload: bytes) -> None:
    refused = refusal(gate, payload)

    assert refused.id is None
    assert refused.reason.startswith("malformed: ")


def test_every_refusal_is_logged_once_with_its_reason(gate: CommandGate, caplog: pytest.LogCaptureFixture) -> None:
    refused = refusal(gate, command("fly"))

    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, f"command c-1 refused: {refused.reason}")
    ]


@pytest.mark.parametrize(
    "payload",
    [
        changed(COMMAND, args={"threshold": 0.5, "\x1b[2J" + "secret" * 100: 1}),
        changed(COMMAND, name="secret" * 100),
        changed(COMMAND, id="secret" * 100),
        changed(COMMAND, args={"threshold": "secret" * 100}),
        b"secret" * 3_000,
    ],
)
def test_the_log_shows_little_of_a_bad_command_and_that_in_one_printable_line(
    gate: CommandGate, caplog: pytest.LogCaptureFixture, payload: bytes
) -> None:
    refusal(gate, payload)

    (record,) = caplog.records
    assert record.getMessage().isprintable()
    assert record.getMessage().count("secret") <= 100 / len("secret")


def test_a_command_that_cannot_be_remembered_does_not_pass() -> None:
    class FullMemory(Memory):
        def remember(self, command_id: str) -> None:
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        CommandGate(COMMAND_NAMES, FullMemory(), lambda: NOW).admit(command(), retained=False)
