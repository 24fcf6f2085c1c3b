"""Frames that are recorded in tests, and what of their alerts waits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from edge.journal import FrameRecord, Journal
from edge.messages import decode_alert, uuid7
from edge.records import Alert, Fix, Frame, FrameKey, ModelName, Observation, Outcome, Prediction, Tile

CAPTURED_AT = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
MODEL = ModelName("terrain-damage", 3, "ab" * 32)
PIXELS = np.zeros((8, 8, 3), np.uint8)


def key_of(name: str, source: str = "/inbox") -> FrameKey:
    """The key of a frame with this name."""
    return FrameKey(source, name, 4096, 1_795_255_200_000_000_000)


def observe(name: str, tile: int = 0, source: str = "/inbox") -> Observation:
    """An observation of a tile of a frame."""
    frame = Frame(key_of(name, source), CAPTURED_AT, 16, 8, PIXELS)
    prediction = Prediction({"damaged": 0.75, "undamaged": 0.25}, MODEL, "openvino", "CPU", 0.5)
    return Observation(frame, Tile(8 * tile, 0, 8, 8), prediction, Fix(29.5, -95.25, "exif", CAPTURED_AT, altitude_m=31.0))


def alerting(name: str, source: str = "/inbox", jpeg: bytes | None = None) -> FrameRecord:
    """A frame of one tile that is alerted about, with a picture if there is one."""
    observation = observe(name, source=source)
    alert = Alert(uuid7(), observation, "damaged", 0.75)
    thumbnails = [] if jpeg is None else [(alert.id, jpeg)]
    return FrameRecord(
        key_of(name, source), "2026-11-21T10:00:00.000Z", "observed", None, [observation], [alert], thumbnails, total_ms=12.5
    )


def quiet(name: str, source: str = "/inbox") -> FrameRecord:
    """A frame of one tile that is not alerted about."""
    return FrameRecord(
        key_of(name, source), "2026-11-21T10:00:00.000Z", "observed", None, [observe(name, source=source)], total_ms=12.5
    )


def failed(name: str, outcome: Outcome) -> FrameRecord:
    """A frame that was not observed."""
    return FrameRecord(key_of(name), None, outcome, "not an image")


def fill(journal: Journal, count: int) -> None:
    """Record as many more frames with an alert, in one transaction."""
    first = journal.alerts.last_sequence + 1
    journal.record([alerting(f"{number}.jpeg") for number in range(first, first + count)])


def waiting_sequences(journal: Journal) -> list[int]:
    """The numbers of the alerts that wait, the oldest first, those of a damaged journal before them."""
    return [alert.sequence for alert in reversed(journal.alerts.newest(-(2**40), 2**40, 2**30))]


def waiting_names(journal: Journal) -> list[str]:
    """The frames of the alerts that wait, in the same order."""
    return names_of([alert.message for alert in reversed(journal.alerts.newest(-(2**40), 2**40, 2**30))])


def names_of(messages: Sequence[bytes]) -> list[str]:
    """The frames that alerts are about."""
    return [decode_alert(message).properties.frame.name for message in messages]
