"""What the journal writes to the disk: ``python -m bench.journal``, or ``make bench-journal``.

A memory card dies of what is written to it. Alerts are recorded one a transaction, which is the worst that a flight does, and
marked delivered one by one or some together; frames without an alert are recorded in the batches of the daemon. Of all it
prints what the process handed to write() and what the kernel counts as written to a disk, which is whole pages of 4 kB, and
nothing on a file system in memory.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from bench.machine import describe_machine
from edge.journal import FrameRecord, Journal
from edge.messages import rfc3339, uuid7
from edge.records import Alert, Fix, Frame, FrameKey, ModelName, Observation, Prediction, Tile

ALERT_FLOOR_BYTES = 12_000
"""What an alert with its observation may cost at most."""

_INBOX = "/var/lib/overflight/inbox"
_BATCH = 64
_BEGIN = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
_MODEL = ModelName("terrain-damage", 3, "7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730")
_PIXELS = np.zeros((8, 8, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class Written:
    """Bytes for each alert, or each frame.

    Attributes:
        asked_bytes: That were handed to write().
        disk_bytes: That the kernel wrote to a disk for that.
    """

    asked_bytes: float
    disk_bytes: float


def measure_alerts(folder: Path, count: int, delivered_together: int) -> Written:
    """Record alerts, each in a transaction of its own.

    Args:
        delivered_together: So many are marked as delivered in one transaction; 0: none is.
    """
    chance = random.Random(1)
    with closing(Journal(folder / f"alerts-{delivered_together}.db", "uav-1")) as journal:
        before = _written()
        for number in range(1, count + 1):
            journal.record([_frame(number, chance, alert=True)])
            if delivered_together and number % delivered_together == 0:
                journal.alerts.deliver(range(number - delivered_together + 1, number + 1))
        return _each(before, count)


def measure_frames(folder: Path, count: int) -> Written:
    """Record frames without an alert, in batches."""
    chance = random.Random(2)
    with closing(Journal(folder / "frames.db", "uav-1")) as journal:
        before = _written()
        for first in range(0, count, _BATCH):
            journal.record([_frame(number, chance, alert=False) for number in range(first, first + _BATCH)])
        return _each(before, count)


def _frame(number: int, chance: random.Random, *, alert: bool) -> FrameRecord:
    """A frame as a flight has them: all numbers differ from one to the next."""
    captured_at = _BEGIN + timedelta(seconds=number, milliseconds=chance.randrange(1000))
    key = FrameKey(_INBOX, f"DJI_{number:06}.jpeg", chance.randrange(5_000, 20_000), int(captured_at.timestamp()) * 10**9)
    share = chance.uniform(0.5, 1.0) if alert else chance.uniform(0.0, 0.5)
    prediction = Prediction({"damaged": share, "undamaged": 1 - share}, _MODEL, "openvino", "CPU", chance.uniform(0.3, 3.0))
    fix = Fix(chance.uniform(29, 30), chance.uniform(-96, -95), "exif", captured_at, altitude_m=chance.uniform(20, 120))
    observation = Observation(Frame(key, captured_at, 128, 128, _PIXELS), Tile(0, 0, 128, 128), prediction, fix)
    alerts = [Alert(uuid7(), observation, "damaged", share)] if alert else []
    return FrameRecord(key, rfc3339(captured_at), "observed", None, [observation], alerts, total_ms=chance.uniform(1.0, 20.0))


def _written() -> dict[str, int]:
    lines = Path("/proc/self/io").read_text().splitlines()
    return {name: int(value) for name, _, value in (line.partition(": ") for line in lines)}


def _each(before: dict[str, int], count: int) -> Written:
    after = _written()
    return Written((after["wchar"] - before["wchar"]) / count, (after["write_bytes"] - before["write_bytes"]) / count)


def main() -> int:
    """Measure and print a table; 1 if the floor is missed."""
    parser = argparse.ArgumentParser(description="measures what the journal writes")
    parser.add_argument("--folder", type=Path, help="where the journal is to lie, on the disk that is meant")
    parser.add_argument("--count", type=int, default=20_000, help="how many alerts, and frames (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder, count = Path(name), arguments.count
        alert = measure_alerts(folder, count, 0)
        rows = {
            "an alert with its observation": alert,
            "with its delivery, alone": measure_alerts(folder, count, 1),
            "with its delivery, 5 together": measure_alerts(folder, count, 5),
            f"a frame without an alert, {_BATCH} together": measure_frames(folder, count),
        }
    print(describe_machine(), end="\n\n")
    print("| what | handed to write() | written to the disk |\n| --- | --- | --- |")
    for what, written in rows.items():
        print(f"| {what} | {_kb(written.asked_bytes)} | {_kb(written.disk_bytes)} |")
    return int(max(alert.asked_bytes, alert.disk_bytes) > ALERT_FLOOR_BYTES)


def _kb(size_bytes: float) -> str:
    return f"{size_bytes / 1000:.1f} kB"


if __name__ == "__main__":
    raise SystemExit(main())
