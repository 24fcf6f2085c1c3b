"""A long outage, with its time simulated: a journal that holds one undelivered alert for every second of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from edge.journal import FrameRecord, Journal
from edge.messages import rfc3339, uuid7
from edge.records import Alert, Fix, Frame, FrameKey, ModelName, Observation, Prediction, Tile

DAY_S = 86_400

_BEGIN = datetime(2026, 11, 21, 10, tzinfo=UTC)
_MODEL = ModelName("terrain-damage", 3, "ab" * 32)
_TOGETHER = 500


def fill_journal(path: Path, alerts: int, device: str = "uav-1") -> None:
    """Begin a journal with so many alerts, one a second, as a flight over a town leaves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(path, device)
    try:
        for first in range(0, alerts, _TOGETHER):
            journal.record([alert_record(second) for second in range(first, min(first + _TOGETHER, alerts))])
        assert journal.alerts.waiting == alerts
    finally:
        journal.close()


def alert_record(second: int) -> FrameRecord:
    """What the journal keeps of the frame of that second, about which there is an alert."""
    at = _BEGIN + timedelta(seconds=second)
    key = FrameKey("/var/lib/overflight/inbox", f"{second:06}.jpg", 200_000, int(at.timestamp()) * 1_000_000_000)
    frame = Frame(key, at, 4000, 3000, np.zeros((1, 1, 3), np.uint8), {})
    confidence = 0.9 + second % 100 / 1000
    prediction = Prediction({"damaged": confidence, "undamaged": 1 - confidence}, _MODEL, "openvino", "CPU", 0.41)
    fix = Fix(29.76 + second / 1e6, -95.37 + second / 1e6, "exif", at, altitude_m=80.0)
    observation = Observation(frame, Tile(0, 0, 4000, 3000), prediction, fix)
    alert = Alert(uuid7(), observation, "damaged", confidence)
    return FrameRecord(key, rfc3339(at), "observed", None, [observation], [alert])
