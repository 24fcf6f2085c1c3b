"""Which pictures follow alerts that are told with a frame."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import cv2
import numpy as np
import pytest

from edge.daemon.pictures import Pictures
from edge.records import Alert, Frame, FrameKey, ModelName, Observation, Prediction, Tile

LEVELS = (40, 200)


def frame_of(name: str) -> Frame:
    """A frame whose left tile is dark and whose right one is bright."""
    pixels = np.repeat(np.array(LEVELS, np.uint8), 64)[None, :, None].repeat(64, axis=0).repeat(3, axis=2)
    return Frame(FrameKey("/in", name, 1, 1), datetime(2026, 11, 21, tzinfo=UTC), 128, 64, pixels)


def seen(frame: Frame, tile: int = 0) -> Observation:
    prediction = Prediction({"damaged": 0.9}, ModelName("m", 1, "00"), "openvino", "CPU", 0.1)
    # As a lane keeps it: without pixels.
    return Observation(replace(frame, pixels=frame.pixels[:0]), Tile(64 * tile, 0, 64, 64), prediction, None)


def corner_level(jpeg: bytes, column: int) -> float:
    """How bright a column at the picture's edge is."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    return float(picture[:, column].mean())


@pytest.mark.parametrize("tile", [0, 1])
def test_a_new_alert_has_a_picture_of_its_tile(tile: int) -> None:
    frame = frame_of("a")
    ((alert, jpeg),) = Pictures(20_000).of_alerts(frame, [Alert("x", seen(frame, tile), "damaged", 0.9)])

    assert alert == "x"
    # With half a tile around it, as far as the frame goes.
    assert corner_level(jpeg, -tile) == pytest.approx(LEVELS[tile], abs=4)


def test_an_alert_that_is_told_again_has_one_only_if_this_frame_shows_it_best() -> None:
    earlier, frame = frame_of("a"), frame_of("b")
    better = Alert("better", seen(frame, 1), "damaged", 0.9, revision=3, count=8)
    no_news = Alert("no news", seen(earlier), "damaged", 0.9, revision=3, count=8, latest=seen(frame))

    assert [alert for alert, _ in Pictures(20_000).of_alerts(frame, [no_news, better])] == ["better"]


def test_a_new_alert_about_an_earlier_frame_has_one_of_the_frame_that_confirmed_it() -> None:
    earlier, frame = frame_of("a"), frame_of("b")
    confirmed = Alert("x", seen(earlier, 0), "damaged", 0.9, count=3, latest=seen(frame, 1))
    ((_, jpeg),) = Pictures(20_000).of_alerts(frame, [confirmed])

    assert corner_level(jpeg, -1) == pytest.approx(LEVELS[1], abs=4)


def test_where_no_pictures_are_wanted_there_are_none() -> None:
    frame = frame_of("a")

    assert Pictures(0).of_alerts(frame, [Alert("x", seen(frame), "damaged", 0.9)]) == []
