"""What all messages share: topics, times, ids, and how they become JSON and are read back."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta

from edge.text import one_line

SCHEMA = 1
TOPIC_ROOT = "overflight"

# msgspec writes a datetime without its zeros, so times are kept as the text that the design asks for. The pattern means the
# same to Python, whose $ stands before a last line break too, and to the validators of other languages.
Timestamp = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$(?!\n)")]
Probability = Annotated[float, Meta(ge=0, le=1)]
# The largest number that every reader of JSON keeps exactly (RFC 7493).
Sequence = Annotated[int, Meta(ge=1, le=2**53 - 1)]

Message = TypeVar("Message")


def topic(device: str, kind: str) -> str:
    """The topic of one kind of message of one device; ``+`` for any device."""
    return f"{TOPIC_ROOT}/{device}/{kind}"


def encode(message: msgspec.Struct) -> bytes:
    """JSON in UTF-8."""
    return _encoder.encode(message)


def read(payload: bytes, decoder: msgspec.json.Decoder[Message], max_bytes: int) -> Message:
    """Decode a payload from elsewhere.

    Raises:
        msgspec.DecodeError: It is too large or not what the decoder expects; the message is one line that says why.
    """
    if len(payload) > max_bytes:
        raise msgspec.DecodeError(f"expected at most {max_bytes} bytes, got {len(payload)}")
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(one_line(error)) from error


def utc_now() -> datetime:
    """This moment, UTC."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """A moment in UTC with milliseconds: 2026-11-21T10:00:00.000Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_rfc3339(text: Timestamp) -> datetime:
    """The moment that a timestamp of the wire stands for.

    Raises:
        ValueError: There is no such day or hour.
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"expected a time such as 2026-11-21T10:00:00.000Z, got {text}") from error


def uuid7() -> str:
    """A UUID of version 7 (RFC 9562): 48 bits of Unix time in milliseconds, then random bits; sorts by time."""
    value = int.from_bytes(os.urandom(10), "big")
    value |= (time.time_ns() // 1_000_000) << 80
    value = value & ~(0xF000 << 64) | 0x7000 << 64
    value = value & ~(0xC000 << 48) | 0x8000 << 48
    return str(UUID(int=value))


_encoder = msgspec.json.Encoder()
