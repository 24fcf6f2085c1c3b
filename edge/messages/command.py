"""Commands as data, each with arguments of its own, and their replies. Whether one may be carried out is decided elsewhere."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta

from edge.messages.limits import COMMAND_MAX_BYTES, REPLY_MAX_BYTES
from edge.messages.wire import Probability, Sequence, Timestamp, parse_rfc3339, read

# Printable ASCII: an id is shown in logs and compared byte by byte.
_ID_PATTERN = r"^[ -~]{1,64}$(?!\n)"
CommandId = Annotated[str, Meta(pattern=_ID_PATTERN)]
_NAME_SHOWN_MAX = 32


class _Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Unlike elsewhere on the wire an unknown argument is an error: a command that is half understood is not carried out."""


class NoArguments(_Arguments, frozen=True):
    """The command takes none."""


class ThresholdArguments(_Arguments, frozen=True):
    """Least probability of damage for an alert; null: the bundle's own."""

    threshold: Probability | None


class ResendArguments(_Arguments, frozen=True):
    """Sequences of the device's journal, both ends included."""

    first: Sequence
    last: Sequence

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError(f"expected first <= last, got {self.first} and {self.last}")


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="name"):
    """What all commands have.

    Attributes:
        id: Chosen by the ground, new for each command; the reply carries it.
        expires_at: From then on the device refuses it; at most a day ahead.
    """

    schema: Literal[1]
    id: CommandId
    expires_at: Timestamp

    def __post_init__(self) -> None:
        parse_rfc3339(self.expires_at)

    @property
    def name(self) -> str:
        """As the wire and the configuration name it."""
        return str(self.__struct_config__.tag)


class SetThreshold(Command, frozen=True, kw_only=True, tag="set_threshold"):
    """Alert from another probability of damage on."""

    args: ThresholdArguments


class Pause(Command, frozen=True, kw_only=True, tag="pause"):
    """Take in no frames until `resume`; what waits is delivered."""

    args: NoArguments = NoArguments()


class Resume(Command, frozen=True, kw_only=True, tag="resume"):
    """Take in frames again."""

    args: NoArguments = NoArguments()


class Snapshot(Command, frozen=True, kw_only=True, tag="snapshot"):
    """Send a picture of what the device sees now."""

    args: NoArguments = NoArguments()


class Resend(Command, frozen=True, kw_only=True, tag="resend"):
    """Send alerts again that were delivered already."""

    args: ResendArguments


class RollbackModel(Command, frozen=True, kw_only=True, tag="rollback_model"):
    """Serve the model before the current one."""

    args: NoArguments = NoArguments()


CommandMessage: TypeAlias = SetThreshold | Pause | Resume | Snapshot | Resend | RollbackModel

COMMAND_NAMES = tuple(str(command.__struct_config__.tag) for command in get_args(CommandMessage))
"""Every command that the wire knows."""


class CommandHead(msgspec.Struct, frozen=True):
    """What can be read of something that may be no command; None where it cannot be."""

    id: str | None
    name: str | None


class ReplyMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a command.

    Attributes:
        id: Of the command.
        name: Of the command; None where it could not be read.
        ok: Whether it was carried out.
        reason: Why it was not, in one line.
        result: What it came to, by the command.
    """

    device: str
    id: CommandId
    name: str | None
    at: Timestamp
    ok: bool
    reason: str | None = None
    result: dict[str, str | int | float | bool | None] = {}
    schema: Literal[1] = 1


class _LooseHead(msgspec.Struct):
    id: Any = None
    name: Any = None


def decode_command(payload: bytes) -> CommandMessage:
    """Read a command.

    Raises:
        msgspec.DecodeError: It is no JSON, or no command; one line says what was expected where.
    """
    return read(payload, _command_decoder, COMMAND_MAX_BYTES)


def command_head(payload: bytes) -> CommandHead:
    """The id and name of something that need not be a command, so that its refusal can be answered."""
    try:
        loose = read(payload, _head_decoder, COMMAND_MAX_BYTES)
    except msgspec.DecodeError:
        # Without an id nobody can be answered; `decode_command` says what is wrong.
        return CommandHead(None, None)
    readable_id = isinstance(loose.id, str) and re.search(_ID_PATTERN, loose.id) is not None
    readable_name = isinstance(loose.name, str) and loose.name.isprintable() and 0 < len(loose.name) <= _NAME_SHOWN_MAX
    return CommandHead(loose.id if readable_id else None, loose.name if readable_name else None)


def decode_reply(payload: bytes) -> ReplyMessage:
    """Read a reply.

    Raises:
        msgspec.DecodeError: It is no JSON, or no reply; one line says what was expected where.
    """
    return read(payload, _reply_decoder, REPLY_MAX_BYTES)


_command_decoder: msgspec.json.Decoder[CommandMessage] = msgspec.json.Decoder(CommandMessage)
_head_decoder = msgspec.json.Decoder(_LooseHead)
_reply_decoder = msgspec.json.Decoder(ReplyMessage)
