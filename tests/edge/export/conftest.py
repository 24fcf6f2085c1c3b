"""Frames of every kind, and a journal that the real `Journal` keeps of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from edge.cli import main
from edge.journal import FrameRecord, Journal, Run
from edge.messages import rfc3339, uuid7
from edge.records import Alert, Fix, Footprint, Frame, FrameKey, ModelName, Observation, Outcome, Prediction, Tile

FILE_WRITTEN_AT = datetime(2026, 11, 21, 10, 0, 5, tzinfo=UTC)
CAPTURED_AT = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
RUN = Run("0.1.0", 4, 8, "Linux", "Debian GNU/Linux 12 (bookworm), 6.1.0", 8_000_000_000, in_container=True)
OTHER_RUN = Run("0.2.0", None, 2, "Linux", "6.1.0", 1_000_000_000, in_container=False)
MODEL = ModelName("terrain-damage", 3, "ab" * 32)
PIXELS = np.zeros((8, 8, 3), np.uint8)
HOUSTON = (29.5, -95.25)


def observed(
    name: str,
    *,
    alerts: bool = False,
    tiles: int = 1,
    place: tuple[float, float] | None = HOUSTON,
    captured_at: datetime = CAPTURED_AT,
    inference_ms: float = 0.5,
    total_ms: float | None = 4.0,
    footprint: Footprint | None = None,
) -> FrameRecord:
    """A frame with results, all of which are alerted about or none."""
    key = _key(name)
    frame = Frame(key, captured_at, 8 * tiles, 8, PIXELS)
    fix = None if place is None else Fix(*place, "exif", captured_at, altitude_m=31.0)
    share = {"damaged": 0.75, "undamaged": 0.25} if alerts else {"damaged": 0.1, "undamaged": 0.9}
    prediction = Prediction(share, MODEL, "openvino", "CPU", inference_ms)
    observations = [Observation(frame, Tile(8 * tile, 0, 8, 8), prediction, fix, footprint) for tile in range(tiles)]
    decided = [Alert(uuid7(), observation, "damaged", 0.75) for observation in observations] if alerts else []
    return FrameRecord(key, rfc3339(captured_at), "observed", None, observations, decided, total_ms=total_ms, clock=frame.clock)


def failed(name: str, outcome: Outcome = "rejected", reason: str = "not an image") -> FrameRecord:
    """A frame without a result."""
    return FrameRecord(_key(name), None, outcome, reason)


def _key(name: str) -> FrameKey:
    return FrameKey("/inbox", name, 4096, round(FILE_WRITTEN_AT.timestamp()) * 1_000_000_000)


class Flight:
    """A device with a journal, and the command that looks at it."""

    def __init__(self, folder: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        self.folder = folder
        self.journal = folder / "journal.db"
        self._capsys = capsysbinary

    def flies(self, frames: Sequence[FrameRecord], *, run: Run | None = RUN, delivered: Sequence[int] = ()) -> None:
        """One run of the daemon, as far as its journal knows."""
        journal = Journal(self.journal, "uav-1", run)
        journal.record(frames)
        journal.alerts.deliver(delivered)
        journal.close()

    def run(self, *arguments: object) -> tuple[int, bytes, str]:
        """Run ``overflight journal``; returns status, standard output and standard error."""
        config = self.folder / "overflight.yaml"
        config.write_text(yaml.safe_dump({"journal": {"path": str(self.journal)}}))
        command, *rest = map(str, arguments)
        try:
            status = main(["journal", command, "-c", str(config), *rest])
        except SystemExit as error:
            status = int(error.code or 0)
        captured: Any = self._capsys.readouterr()
        return status, captured.out, captured.err.decode()

    def prints(self, *arguments: object) -> str:
        """What a command prints that succeeds."""
        status, out, err = self.run(*arguments)
        assert (status, err) == (0, "")
        return out.decode()

    def refuses(self, *arguments: object) -> tuple[int, str]:
        """The status of a command that fails, and why, which is one line."""
        status, out, err = self.run(*arguments)
        assert out == b""
        return status, err.splitlines()[-1]


@pytest.fixture
def flight(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> Flight:
    return Flight(tmp_path, capsysbinary)
