"""Which pictures follow alerts that are told with a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import cv2
import numpy as np
import pytest

from edge.daemon.pictures import Pictures
from edge.records import Alert, Fix, Frame, FrameKey, ModelName, Observation, Prediction, Tile
from edge.triage import Sightings, Triage

LEVELS = (40, 200)
FIX = Fix(29.76, -95.37, "exif", datetime(2026, 11, 21, tzinfo=UTC))


def frame_of(name: str, levels: tuple[int, int] = LEVELS) -> Frame:
    """A frame whose left tile is dark and whose right one is bright."""
    pixels = np.repeat(np.array(levels, np.uint8), 64)[None, :, None].repeat(64, axis=0).repeat(3, axis=2)
    return Frame(FrameKey("/in", name, 1, 1), datetime(2026, 11, 21, tzinfo=UTC), 128, 64, pixels)


def seen(frame: Frame, tile: int = 0, share: float = 0.9) -> Observation:
    prediction = Prediction({"damaged": share}, ModelName("m", 1, "00"), "openvino", "CPU", 0.1)
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


def test_each_revision_is_followed_by_a_picture_of_what_it_tells() -> None:
    sightings = Sightings(merge_m=30)
    triage, pictures = Triage(["damaged"], 0.5, sightings), Pictures(20_000)
    # The brighter, the surer; the last word comes without a frame.
    shares = [0.6, 0.65, 0.69, 0.6, 0.72, 0.74, 0.75, 0.6, 0.6]
    followed: list[tuple[int, float, list[float]]] = []

    def follow(alerts: Sequence[Alert], found: Sequence[tuple[str, bytes]]) -> None:
        for alert in alerts:
            levels = [corner_level(jpeg, 0) / 255 for name, jpeg in found if name == alert.id]
            followed.append((alert.revision, alert.confidence, levels))

    for number, share in enumerate(shares):
        frame = frame_of(str(number), (round(255 * share), 0))
        told = triage.decide_all([replace(seen(frame, share=share), fix=FIX)])
        follow(told, pictures.of_alerts(frame, told))
        pictures.keep(frame, [] if told else sightings.best_in(frame))
    last = sightings.flush()
    follow(last, pictures.kept(last))

    def close_to(share: float) -> list[float]:
        return [pytest.approx(share, abs=0.01)]

    assert followed == [
        (0, 0.6, close_to(0.6)),
        (1, 0.65, close_to(0.65)),
        (2, 0.69, close_to(0.69)),
        (3, 0.75, close_to(0.75)),
        (4, 0.75, []),
    ]


def test_pictures_that_are_kept_for_later_are_bounded_and_leave_some_for_now() -> None:
    frame = frame_of("a")
    pictures = Pictures(20_000)
    pictures.keep(frame, [(str(number), Tile(0, 0, 64, 64)) for number in range(200)])
    kept = pictures.kept([Alert(str(number), seen(frame), "damaged", 0.9) for number in range(200)])

    assert 50 <= len(kept) <= 60
    assert pictures.kept([Alert(kept[0][0], seen(frame), "damaged", 0.9)]) == []
    assert pictures.of_alert(frame, Tile(0, 0, 64, 64)) is not None


def test_a_picture_of_another_sighting_than_is_told_is_not_sent() -> None:
    frame = frame_of("a")
    pictures = Pictures(20_000)
    pictures.keep(frame, [("x", Tile(0, 0, 64, 64))])

    assert pictures.kept([Alert("x", seen(frame, 1), "damaged", 0.9), Alert("x", seen(frame_of("b")), "damaged", 0.9)]) == []
    assert len(pictures.kept([Alert("x", seen(frame), "damaged", 0.9)])) == 1


def test_where_no_pictures_are_wanted_there_are_none() -> None:
    frame = frame_of("a")

    assert Pictures(0).of_alerts(frame, [Alert("x", seen(frame), "damaged", 0.9)]) == []
