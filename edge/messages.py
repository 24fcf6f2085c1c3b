"""The wire: what the device and the ground say to each other over MQTT, as JSON. The ground imports this too.

Topics lie under ``overflight/<device>/``. Times are RFC 3339 in UTC with milliseconds. Decoding is strict in types and
lenient in additions: a field that this version does not know is passed over, so that ground and device need not be
updated at once.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from edge.records import Alert, Fix, Observation
from edge.text import one_line

SCHEMA = 1
TOPIC_ROOT = "overflight"

# msgspec writes a datetime without its zeros, so times are kept as the text that DESIGN asks for.
Timestamp = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")]
Probability = Annotated[float, Meta(ge=0, le=1)]


class Point(msgspec.Struct, frozen=True, tag_field="type", tag="Point"):
    """GeoJSON (RFC 7946): longitude, latitude in degrees and, where it is known, altitude above sea level in metres."""

    coordinates: Annotated[tuple[float, ...], Meta(min_length=2, max_length=3)]

    def __post_init__(self) -> None:
        longitude, latitude = self.coordinates[:2]
        if not (-180 <= longitude <= 180 and -90 <= latitude <= 90):
            raise ValueError(f"expected longitude -180..180 and latitude -90..90, got {longitude}, {latitude}")


class FrameName(msgspec.Struct, frozen=True):
    """Where the tile came from; tile is left, top, width, height in pixels."""

    source: str
    name: str
    tile: tuple[int, int, int, int]


class FixQuality(msgspec.Struct, frozen=True):
    """Which provider knew the position, how old that was at the exposure, and how exact (one standard deviation)."""

    source: str
    age_s: float
    accuracy_m: float | None


class Model(msgspec.Struct, frozen=True):
    """The bundle that classified; sha256 is that of its manifest."""

    name: str
    version: int
    sha256: str


class ObservationProperties(msgspec.Struct, frozen=True, kw_only=True):
    """What an observation says beside its place. `on` is the device that the engine ran on."""

    schema: Literal[1]
    captured_at: Timestamp
    label: str
    confidence: Probability
    probabilities: dict[str, Probability]
    frame: FrameName
    footprint: None
    fix: FixQuality | None
    model: Model
    engine: str
    on: str
    inference_ms: float


class AlertProperties(ObservationProperties, frozen=True, kw_only=True):
    """What an alert says beside its place; sequence counts the alerts of one journal, without gaps."""

    device: str
    journal: str
    sequence: Annotated[int, Meta(ge=1)]


class ObservationMessage(msgspec.Struct, frozen=True, tag_field="type", tag="Feature"):
    """An observation as a GeoJSON Feature; geometry is null when the position is unknown."""

    geometry: Point | None
    properties: ObservationProperties


class AlertMessage(msgspec.Struct, frozen=True, tag_field="type", tag="Feature"):
    """An alert as a GeoJSON Feature; geometry is null when the position is unknown."""

    id: str
    geometry: Point | None
    properties: AlertProperties


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
    """Retained, and the last will: how the device is. Reasons say why it is degraded, each in one line."""

    device: str
    state: Literal["online", "degraded", "offline"]
    reasons: list[str]
    version: str
    at: Timestamp
    bundle: Model | None = None
    engine: str | None = None
    on: str | None = None
    last_install: InstallResult | None = None
    schema: Literal[1] = 1


class HealthMessage(msgspec.Struct, frozen=True):
    """What the device knows of itself, every few seconds. None where the machine does not say."""

    device: str
    at: Timestamp
    uptime_s: float
    cpu_percent: float
    memory_percent: float
    process_memory_bytes: int
    temperature_c: float | None
    disk_free_bytes: int | None
    frames: int
    rejected: int
    alerts: int
    alerts_waiting: int
    frames_per_s: float
    queues: dict[str, int]
    fix: FixQuality | None
    schema: Literal[1] = 1


def topic(device: str, kind: str) -> str:
    """The topic of one kind of message of one device; ``+`` for any device."""
    return f"{TOPIC_ROOT}/{device}/{kind}"


def encode(message: msgspec.Struct) -> bytes:
    """JSON in UTF-8."""
    return _encoder.encode(message)


def decode_alert(payload: bytes) -> AlertMessage:
    """Read an alert.

    Raises:
        msgspec.DecodeError: It is no JSON, or no alert; the message says what was expected where.
    """
    try:
        return _alert_decoder.decode(payload)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(one_line(error)) from error


def alert_message(alert: Alert, device: str, journal: str, sequence: int) -> AlertMessage:
    """Put an alert into words for the ground, as number `sequence` of a journal."""
    observation = alert.observation
    facts = _facts(observation, alert.label)
    properties = AlertProperties(**facts, device=device, journal=journal, sequence=sequence)
    return AlertMessage(alert.id, _geometry(observation), properties)


def observation_message(observation: Observation) -> ObservationMessage:
    """Put an observation into the words of an alert, as far as they apply."""
    facts = _facts(observation, observation.prediction.label)
    return ObservationMessage(_geometry(observation), ObservationProperties(**facts))


def _geometry(observation: Observation) -> Point | None:
    return None if observation.fix is None else point(observation.fix)


def _facts(observation: Observation, label: str) -> dict[str, Any]:
    frame, prediction, fix, tile = observation.frame, observation.prediction, observation.fix, observation.tile
    model = prediction.model
    probabilities = {name: round(value, 6) for name, value in prediction.probabilities.items()}
    return {
        "schema": SCHEMA,
        "captured_at": rfc3339(frame.captured_at),
        "label": label,
        "confidence": probabilities[label],
        "probabilities": probabilities,
        "frame": FrameName(frame.key.source, frame.key.name, (tile.left, tile.top, tile.width, tile.height)),
        "footprint": None,
        "fix": None if fix is None else fix_quality(fix, frame.captured_at),
        "model": Model(model.name, model.version, model.sha256),
        "engine": prediction.engine,
        "on": prediction.device,
        "inference_ms": round(prediction.inference_ms, 3),
    }


def point(fix: Fix) -> Point:
    """The place of a fix."""
    if fix.altitude_m is None:
        return Point((fix.longitude, fix.latitude))
    return Point((fix.longitude, fix.latitude, round(fix.altitude_m, 3)))


def fix_quality(fix: Fix, at: datetime) -> FixQuality:
    """How good a fix is for the moment `at`."""
    return FixQuality(fix.source, round(abs((at - fix.time).total_seconds()), 3), fix.accuracy_m)


def utc_now() -> datetime:
    """This moment, UTC."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """A moment in UTC with milliseconds: 2026-11-21T10:00:00.000Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def uuid7() -> str:
    """A UUID of version 7 (RFC 9562): 48 bits of Unix time in milliseconds, then random bits; sorts by time."""
    value = int.from_bytes(os.urandom(10), "big")
    value |= (time.time_ns() // 1_000_000) << 80
    value = value & ~(0xF000 << 64) | 0x7000 << 64
    value = value & ~(0xC000 << 48) | 0x8000 << 48
    return str(UUID(int=value))


_encoder = msgspec.json.Encoder()
_alert_decoder = msgspec.json.Decoder(AlertMessage)
