"""Alerts, and observations in the words of an alert: GeoJSON Features (RFC 7946)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge.messages.limits import ALERT_MAX_BYTES
from edge.messages.wire import SCHEMA, Probability, Sequence, Timestamp, read, rfc3339
from edge.records import Alert, Fix, Observation


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
    sequence: Sequence


class ObservationMessage(msgspec.Struct, frozen=True, tag_field="type", tag="Feature"):
    """An observation as a GeoJSON Feature; geometry is null when the position is unknown."""

    geometry: Point | None
    properties: ObservationProperties


class AlertMessage(msgspec.Struct, frozen=True, tag_field="type", tag="Feature"):
    """An alert as a GeoJSON Feature; geometry is null when the position is unknown."""

    id: str
    geometry: Point | None
    properties: AlertProperties


def decode_alert(payload: bytes) -> AlertMessage:
    """Read an alert.

    Raises:
        msgspec.DecodeError: It is no JSON, or no alert; one line says what was expected where.
    """
    return read(payload, _alert_decoder, ALERT_MAX_BYTES)


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


_alert_decoder = msgspec.json.Decoder(AlertMessage)
