"""What the ground station says about alerts: which of them it has stored."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge.messages.limits import ACK_MAX_BYTES
from edge.messages.wire import Sequence, read

# A ground station that misses more lowers `through`.
MISSING_MAX = 10_000


class AckMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The ground has stored every alert of a journal up to `through` but those in `missing`, which it asks for again.

    Attributes:
        journal: The id that the alerts carry.
        through: A sequence; 0: none is stored yet.
        missing: Sequences up to `through`, strictly ascending.
    """

    schema: Literal[1]
    journal: Annotated[str, Meta(min_length=1, max_length=64)]
    through: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    missing: Annotated[list[Sequence], Meta(max_length=MISSING_MAX)]

    def __post_init__(self) -> None:
        if self.missing and self.missing[-1] > self.through:
            raise ValueError(f"expected missing sequences up to {self.through}, got {self.missing[-1]}")
        if any(earlier >= later for earlier, later in pairwise(self.missing)):
            raise ValueError("expected missing sequences in strictly ascending order")


def decode_ack(payload: bytes) -> AckMessage:
    """Read an acknowledgement.

    Raises:
        msgspec.DecodeError: It is no JSON, or no acknowledgement; one line says what was expected where.
    """
    return read(payload, _decoder, ACK_MAX_BYTES)


_decoder = msgspec.json.Decoder(AckMessage)
