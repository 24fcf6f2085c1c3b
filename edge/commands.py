"""Decides which commands of the ground may be carried out.

Whoever may publish to a device's topics could make it deaf or blind. So a command must be one that the configuration allows,
be meant for now, and never come twice: a broker may deliver it again, or hand out an old one that it was made to keep. How
it arrived and how it is answered are the uplink's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from edge.messages import (
    COMMAND_NAMES,
    CommandMessage,
    command_head,
    decode_command,
    parse_rfc3339,
    rfc3339,
    utc_now,
)
from edge.text import printable

_log = logging.getLogger(__name__)

# Ids need not be remembered for longer than that.
_AHEAD_MAX = timedelta(days=1)
# Of an error, which may quote the payload.
_ERROR_SHOWN_MAX = 100


class CommandMemory(Protocol):
    """Knows the ids of earlier commands, also after a power cut. It may forget one a day after it was remembered."""

    def was_seen(self, command_id: str) -> bool:
        """Whether the id was remembered."""

    def remember(self, command_id: str) -> None:
        """Keep an id, durably before this returns."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A command that is not carried out.

    Attributes:
        id: Of the command, for the answer; None where it could not be read, so that nobody can be answered.
        name: Of the command; None where it could not be read.
        reason: One line.
    """

    id: str | None
    name: str | None
    reason: str


class CommandGate:
    """Lets those commands through that may be carried out, each once."""

    def __init__(self, allowed: Collection[str], memory: CommandMemory, clock: Callable[[], datetime] = utc_now) -> None:
        """
        Args:
            allowed: Names of commands, as in ``uplink.commands``.
            clock: Says what time it is, UTC.
        """
        self._allowed = allowed
        self._memory = memory
        self._clock = clock

    def admit(self, payload: bytes, *, retained: bool) -> CommandMessage | Refusal:
        """Judge what arrived as a command; a refusal is logged.

        A command that is let through is remembered first: if the device fails while it carries it out, it is not carried
        out again. An error of the memory passes through, and the command must then not be carried out.

        Args:
            retained: Whether the broker had kept it for whoever subscribes.
        """
        head = command_head(payload)
        judged = self._judge(payload, head.name, retained=retained)
        if isinstance(judged, str):
            _log.warning("command %s refused: %s", "without a readable id" if head.id is None else head.id, judged)
            return Refusal(head.id, head.name, judged)
        self._memory.remember(judged.id)
        return judged

    def _judge(self, payload: bytes, name: str | None, *, retained: bool) -> CommandMessage | str:
        """The command, or why it is none that may be carried out."""
        if retained:
            return "retained: expected a command that the broker does not keep"
        if name is not None and name not in COMMAND_NAMES:
            return f"unknown command {name}; known are {', '.join(COMMAND_NAMES)}"
        try:
            command = decode_command(payload)
        except msgspec.DecodeError as error:
            return f"malformed: {printable(str(error))[:_ERROR_SHOWN_MAX]}"
        return self._objection(command) or command

    def _objection(self, command: CommandMessage) -> str | None:
        """Why a well-formed command may not be carried out."""
        if command.name not in self._allowed:
            return f"{command.name} is not allowed; uplink.commands allows {', '.join(self._allowed) or 'none'}"
        now, expires_at = self._clock(), parse_rfc3339(command.expires_at)
        if expires_at <= now:
            return f"expired at {command.expires_at}; the device's clock says {rfc3339(now)}"
        if expires_at - now > _AHEAD_MAX:
            return f"expires at {command.expires_at}, more than a day ahead; the device's clock says {rfc3339(now)}"
        if self._memory.was_seen(command.id):
            return "repeated: this id was used before"
        return None
