"""What the ground station says about alerts: which of them it has stored."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge.messages.limits import ACK_MAX_BYTES
from edge.messages.wire import read

# A ground station that misses more lowers `through`.
MISSING_MAX = 10_000


class AckMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The ground has stored every alert of a journal up to `through` but those in `missing`, which it asks for again.

    Attributes:
        journal: The id that the alerts carry.
        through: A sequence; 0: none is stored yet.
        missing: Sequences up to `through`, or first and last of a run of them, strictly ascending.
    """

    schema: Literal[1]
    journal: Annotated[str, Meta(min_length=1, max_length=64)]
    through: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    # Not of `Sequence`: msgspec 0.22 crashes on a union of a number with limits and a pair.
    missing: Annotated[list[int | tuple[int, int]], Meta(max_length=MISSING_MAX)]

    def __post_init__(self) -> None:
        runs = self.runs
        if runs and runs[0][0] < 1:
            raise ValueError(f"expected missing sequences from 1 on, got {runs[0][0]}")
        if runs and runs[-1][1] > self.through:
            raise ValueError(f"expected missing sequences up to {self.through}, got {runs[-1][1]}")
        if any(first > last for first, last in runs) or any(earlier[1] >= later[0] for earlier, later in pairwise(runs)):
            raise ValueError("expected missing sequences in strictly ascending order")

    @property
    def runs(self) -> list[tuple[int, int]]:
        """What is missing, as first and last of each run."""
        return [(entry, entry) if isinstance(entry, int) else entry for entry in self.missing]


def decode_ack(payload: bytes) -> AckMessage:
    """Read an acknowledgement.

    Raises:
        msgspec.DecodeError: It is no JSON, or no acknowledgement; one line says what was expected where.
    """
    return read(payload, _decoder, ACK_MAX_BYTES)


_decoder = msgspec.json.Decoder(AckMessage)
