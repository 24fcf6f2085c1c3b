"""A position that never changes."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from edge.config import ConfigError, PositionConfig
from edge.position import Locator
from edge.position.fixed import FixedPosition
from edge.records import Frame, FrameKey


def frame_at(captured_at: datetime) -> Frame:
    """A frame of this moment."""
    return Frame(FrameKey("/in", "a.jpeg", 1, 1), captured_at, 8, 8, np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize(
    ("argument", "latitude", "longitude"),
    [
        ("29.7604,-95.3698", 29.7604, -95.3698),
        ("-33.92, 18.07", -33.92, 18.07),
        ("0,1", 0.0, 1.0),
        ("90,180", 90.0, 180.0),
        ("-90,-180", -90.0, -180.0),
    ],
)
def test_every_frame_lies_at_the_same_place(argument: str, latitude: float, longitude: float) -> None:
    provider = FixedPosition.parse(argument)

    for second in (0, 1):
        moment = datetime(2026, 11, 21, 10, 0, second, tzinfo=UTC)
        fix = provider.locate(frame_at(moment))
        assert (fix.latitude, fix.longitude, fix.source) == (latitude, longitude, "fixed")
        # It holds at every moment: its age at the exposure is zero.
        assert fix.time == moment
        assert (fix.altitude_m, fix.accuracy_m) == (None, None)


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("", "expected fixed:<latitude>,<longitude> in degrees"),
        ("29.7604", "expected fixed:<latitude>,<longitude> in degrees"),
        ("29.7604,", "expected fixed:<latitude>,<longitude> in degrees"),
        ("29.7604,-95.3698,31.2", "expected fixed:<latitude>,<longitude> in degrees"),
        ("29.7604;-95.3698", "expected fixed:<latitude>,<longitude> in degrees"),
        ("29,7604,-95,3698", "expected fixed:<latitude>,<longitude> in degrees"),
        ("north,west", "expected fixed:<latitude>,<longitude> in degrees"),
        ("-95.3698,29.7604", "latitude -95.3698 is not within -90..90"),
        ("90.001,0", "latitude 90.001 is not within -90..90"),
        ("29.7604,180.001", "longitude 180.001 is not within -180..180"),
        ("29.7604,-180.001", "longitude -180.001 is not within -180..180"),
        ("nan,1", "latitude or longitude is not a finite number"),
        ("1,inf", "latitude or longitude is not a finite number"),
        ("0,0", "0/0 is what a receiver says that has no fix"),
        ("0.0,-0.0", "0/0 is what a receiver says that has no fix"),
    ],
)
def test_what_is_no_place_is_a_mistake_of_the_configuration(argument: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Locator.from_config(PositionConfig(sources=[f"fixed:{argument}"]))

    assert str(caught.value) == f"position.sources: fixed:{argument}: {reason}"
