"""What a device says of itself: status, health, and what it logs."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge.messages.alert import FixQuality, Model
from edge.messages.limits import HEALTH_MAX_BYTES, LOG_MAX_BYTES, STATUS_MAX_BYTES
from edge.messages.wire import Timestamp, read

_LOG_TEXT_MAX = 2_000

LogLevel = Literal["warning", "error", "critical"]


class InstallResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the last install of a bundle came to.

    Attributes:
        at: When it began.
        source: The bundle, or the stick.
        reason: Why it failed, or why there is nothing newer, in one line.
        model: Name of the bundle's folder in the store.
    """

    schema: Literal[1] = 1
    at: Timestamp
    source: str
    outcome: Literal["installed", "nothing newer", "failed"]
    reason: str | None = None
    model: str | None = None


class StatusMessage(msgspec.Struct, frozen=True):
    """Retained, and the last will: how the device is. Reasons say why it is degraded, each in one line.

    Attributes:
        threshold: The probability from which on it alerts.
    """

    device: str
    state: Literal["online", "degraded", "offline"]
    reasons: list[str]
    version: str
    at: Timestamp
    bundle: Model | None = None
    engine: str | None = None
    on: str | None = None
    last_install: InstallResult | None = None
    threshold: float | None = None
    schema: Literal[1] = 1


class PositionHealth(msgspec.Struct, frozen=True):
    """How a provider of positions does.

    Attributes:
        connected: Whether anything comes from it; of a file: whether it could be read.
        fixes: How many it gave that were taken.
        marked: How many of these were less than they should be, by what they lack: "2D".
        refused: How many it gave that were not taken, by reason.
        reason: Why it is not connected, in one line.
    """

    connected: bool
    fixes: int = 0
    marked: dict[str, int] = {}
    refused: dict[str, int] = {}
    reason: str | None = None


class HealthMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What the device knows of itself, every few seconds. None where the machine does not say.

    Attributes:
        network_sent_bytes: By all programs of the machine since the device's program started, all interfaces but loopback.
        network_received_bytes: The same for what came in.
        load_1min: Processes that ran or waited for a processor, mean of the last minute.
        alerts_waiting: Alerts that are not delivered yet.
        thumbnails_waiting: Pictures that wait for room on the link.
        uplink_bytes_per_s: What the uplink has sent since the message before, as a rate.
        journal_bytes: The journal with its write-ahead log on the disk.
        alerts: Alerts that were decided, each revision counted.
        outside_area: Sightings that were not alerted about because they lay outside of ``triage.area``.
        positions: How each provider of positions does, by its name.
    """

    device: str
    at: Timestamp
    uptime_s: float
    cpu_percent: float
    memory_percent: float
    process_memory_bytes: int
    temperature_c: float | None
    disk_free_bytes: int | None
    network_sent_bytes: int | None = None
    network_received_bytes: int | None = None
    load_1min: float | None = None
    cpu_mhz: float | None = None
    memory_available_bytes: int | None = None
    frames: int
    rejected: int
    alerts: int
    alerts_waiting: int
    thumbnails_waiting: int = 0
    uplink_bytes_per_s: float = 0.0
    journal_bytes: int | None = None
    frames_per_s: float
    queues: dict[str, int]
    fix: FixQuality | None
    outside_area: int = 0
    positions: dict[str, PositionHealth] = {}
    schema: Literal[1] = 1


class LogMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the device's log; room is the part of the program that wrote it."""

    device: str
    at: Timestamp
    level: LogLevel
    room: str
    text: Annotated[str, Meta(max_length=_LOG_TEXT_MAX)]
    schema: Literal[1] = 1


def log_message(device: str, at: Timestamp, level: LogLevel, room: str, text: str) -> LogMessage:
    """A line of the log for the ground, cut to the length that the wire allows."""
    return LogMessage(device=device, at=at, level=level, room=room, text=text[:_LOG_TEXT_MAX])


def decode_status(payload: bytes) -> StatusMessage:
    """Read a status.

    Raises:
        msgspec.DecodeError: It is no JSON, or no status; one line says what was expected where.
    """
    return read(payload, _status_decoder, STATUS_MAX_BYTES)


def decode_health(payload: bytes) -> HealthMessage:
    """Read a health message.

    Raises:
        msgspec.DecodeError: As in `decode_status`.
    """
    return read(payload, _health_decoder, HEALTH_MAX_BYTES)


def decode_log(payload: bytes) -> LogMessage:
    """Read a line of the log.

    Raises:
        msgspec.DecodeError: As in `decode_status`.
    """
    return read(payload, _log_decoder, LOG_MAX_BYTES)


_status_decoder = msgspec.json.Decoder(StatusMessage)
_health_decoder = msgspec.json.Decoder(HealthMessage)
_log_decoder = msgspec.json.Decoder(LogMessage)
