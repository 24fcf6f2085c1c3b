"""What the journal takes and gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.records import Alert, Clock, FrameKey, Observation, Outcome


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """What became of a frame.

    Attributes:
        reason: Why it was rejected; None if it was observed.
        alerts: What the ground is told; their observations are among these, or those of an earlier frame.
        thumbnails: Pictures for the ground, by the id of their alert.
        total_ms: From the beginning of its reading to its result; None: there was none.
        clock: Which one captured_at is of; None: not known.
    """

    key: FrameKey
    captured_at: str | None
    outcome: Outcome
    reason: str | None
    observations: Sequence[Observation] = ()
    alerts: Sequence[Alert] = ()
    thumbnails: Sequence[tuple[str, bytes]] = ()
    total_ms: float | None = None
    clock: Clock | None = None


@dataclass(frozen=True, slots=True)
class WaitingAlert:
    """An alert that is not delivered yet, as it goes over the wire.

    Attributes:
        sequence: Below zero: of a journal that was damaged; its own number is in the message.
    """

    sequence: int
    message: bytes


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture that waits for room on the link.

    Attributes:
        alert: The id of its alert.
        revision: Of its alert; one of a lower revision need not be sent any more.
    """

    sequence: int
    alert: str
    jpeg: bytes
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the daemon, with the machine that it is on.

    Attributes:
        version: Of this program.
        system: "Linux", and system_version what the system calls itself: "Debian GNU/Linux 12 (bookworm), 6.1.0".
        memory_bytes: All that the machine has.
    """

    version: str
    physical_cores: int | None
    logical_cores: int | None
    system: str
    system_version: str
    memory_bytes: int
    in_container: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """How much the journal holds. Of alerts each revision counts: it is a message of its own."""

    observed: int
    rejected: int
    observations: int
    alerts: int
    waiting: int
