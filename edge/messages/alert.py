"""Alerts, and observations in the words of an alert: GeoJSON Features (RFC 7946)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge.messages.geometry import MultiPolygon, Point, Polygon, Position, point, polygon
from edge.messages.limits import ALERT_MAX_BYTES
from edge.messages.wire import SCHEMA, Probability, Sequence, Timestamp, read, rfc3339
from edge.records import Alert, Clock, Fix, Footprint, Observation, PlaceKind

_DECIMALS = 3


class FrameName(msgspec.Struct, frozen=True):
    """Where the tile came from; tile is left, top, width, height in pixels."""

    source: str
    name: str
    tile: tuple[int, int, int, int]


class FixQuality(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which provider knew the position, and how good that is.

    Attributes:
        age_s: Between the exposure and the nearest moment at which the position was measured.
        accuracy_m: One standard deviation, horizontal.
        is_2d: The receiver saw too few satellites to know its altitude.
        height_m: Of the aircraft above the ground at the place of take-off.
        point: Where the aircraft was, where geometry is another place: longitude, latitude and, if known, altitude.
    """

    source: str
    age_s: float
    accuracy_m: float | None
    is_2d: bool = False
    height_m: float | None = None
    point: Position | None = None


class Model(msgspec.Struct, frozen=True):
    """The bundle that classified; sha256 is that of its manifest."""

    name: str
    version: int
    sha256: str


class ObservationProperties(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an observation says beside its place. What has its default is left out.

    Attributes:
        clock: Which one the capture time is of: the image's, that of the file's name, that of the device, that of the GPS, or
            the device's though it is not synchronised. Null: an older device, which does not say.
        footprint: The ground that the tile shows; null: unknown.
        place: What geometry is: the ground that is shown, or where the device was. Null: there is none, or an older device.
        on: The device that the engine ran on.
    """

    schema: Literal[1]
    captured_at: Timestamp
    label: str
    confidence: Probability
    probabilities: dict[str, Probability]
    frame: FrameName
    footprint: Polygon | MultiPolygon | None
    fix: FixQuality | None
    model: Model
    engine: str
    on: str
    inference_ms: float
    clock: Clock | None = None
    place: PlaceKind | None = None


class AlertProperties(ObservationProperties, frozen=True, kw_only=True, omit_defaults=True):
    """What an alert says beside its place.

    Attributes:
        sequence: Counts the messages of this kind of one journal, without gaps.
        revision: Of several messages with one id that with the highest stands.
        count: How many frames show it; the one that it tells of is the surest of them.
        first_at: When the earliest of several was taken; null: it is one.
        last_at: When the latest was.
    """

    device: str
    journal: str
    sequence: Sequence
    revision: Annotated[int, Meta(ge=0, le=2**53 - 1)] = 0
    count: Annotated[int, Meta(ge=1, le=2**53 - 1)] = 1
    first_at: Timestamp | None = None
    last_at: Timestamp | None = None


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
    properties = AlertProperties(
        **facts,
        device=device,
        journal=journal,
        sequence=sequence,
        revision=alert.revision,
        count=alert.count,
        first_at=None if alert.first_at is None else rfc3339(alert.first_at),
        last_at=None if alert.last_at is None else rfc3339(alert.last_at),
    )
    return AlertMessage(alert.id, _geometry(observation), properties)


def observation_message(observation: Observation) -> ObservationMessage:
    """Put an observation into the words of an alert, as far as they apply."""
    facts = _facts(observation, observation.prediction.label)
    return ObservationMessage(_geometry(observation), ObservationProperties(**facts))


def _geometry(observation: Observation) -> Point | None:
    place = observation.place
    return None if place is None else point(place, is_rounded=observation.footprint is not None)


def _facts(observation: Observation, label: str) -> dict[str, Any]:
    frame, prediction, fix, tile = observation.frame, observation.prediction, observation.fix, observation.tile
    model, place = prediction.model, observation.place
    probabilities = {name: round(value, 6) for name, value in prediction.probabilities.items()}
    return {
        "schema": SCHEMA,
        "captured_at": rfc3339(frame.captured_at),
        "label": label,
        "confidence": probabilities[label],
        "probabilities": probabilities,
        "frame": FrameName(frame.key.source, frame.key.name, (tile.left, tile.top, tile.width, tile.height)),
        "footprint": None if observation.footprint is None else footprint_polygon(observation.footprint),
        "fix": None if fix is None else fix_quality(fix, is_elsewhere=observation.footprint is not None),
        "model": Model(model.name, model.version, model.sha256),
        "engine": prediction.engine,
        "on": prediction.device,
        "inference_ms": round(prediction.inference_ms, 3),
        "clock": frame.clock,
        "place": None if place is None else place.kind,
    }


def footprint_polygon(footprint: Footprint) -> Polygon | MultiPolygon:
    """A footprint for the ground."""
    return polygon(footprint.corners)


def fix_quality(fix: Fix, *, is_elsewhere: bool = False) -> FixQuality:
    """How good a fix is.

    Args:
        is_elsewhere: What it is said beside is another place: then it says where it is itself.
    """
    return FixQuality(
        fix.source,
        round(fix.age_s, _DECIMALS),
        fix.accuracy_m,
        fix.is_2d,
        None if fix.height_m is None else round(fix.height_m, _DECIMALS),
        point(fix, is_rounded=True).coordinates if is_elsewhere else None,
    )


_alert_decoder = msgspec.json.Decoder(AlertMessage)
