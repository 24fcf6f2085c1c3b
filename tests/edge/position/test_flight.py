"""A real flight: photos that are named by when they were taken, and the log of the autopilot."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from edge.config import PositionConfig
from edge.position import Locator
from edge.records import Frame, FrameKey
from tests.edge.position.flight import independent_positions, metres_apart, photo_times


def test_the_position_at_each_photo_is_that_of_an_independent_interpolation_of_the_log(data: Path) -> None:
    folder = data / "flight"
    locator = Locator.from_config(PositionConfig(sources=[f"mavlink:{folder / 'flight.tlog'}"]))
    times = list(photo_times(folder).values())

    fixes = [locator.locate(frame_at(at_s)) for at_s in times]

    independent = independent_positions(folder / "flight.tlog", times)
    assert len(fixes) == 18
    for fix, expected in zip(fixes, independent, strict=True):
        assert fix is not None
        away_m = metres_apart(np.array([[fix.latitude, fix.longitude]]), expected[None, :2])
        assert away_m[0] < 0.1
        assert fix.source == "mavlink"
        assert fix.height_m is not None
        assert abs(fix.height_m - expected[3]) < 0.1
        assert fix.attitude is not None


def frame_at(at_s: float) -> Frame:
    moment = datetime.fromtimestamp(at_s, UTC)
    return Frame(FrameKey("/in", "a.jpg", 1, 1), moment, 8, 8, np.zeros((8, 8, 3), np.uint8), clock="name")
