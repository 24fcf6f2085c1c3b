"""Frames of many tiles: all go to the model in full requests, and each frame comes back whole, with a place for every tile."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest

from edge.capture.directory import DirectorySource
from edge.capture.files import read_frame
from edge.capture.times import CaptureTimes
from edge.config import PositionConfig
from edge.daemon import Daemon
from edge.daemon.hand import FrameInHand, Hand
from edge.daemon.lane import Found, Lane, Recorded
from edge.daemon.pause import Pause
from edge.daemon.pictures import Pictures
from edge.inference.engine import BATCH
from edge.journal import FrameRecord, Journal
from edge.journal.schema import CLOCKS
from edge.position import Locator
from edge.records import Footprint, Prediction, Tile
from edge.survey import Surveyor
from tests.e2e.conftest import rows
from tests.edge.daemon.conftest import Device
from tests.edge.inference.networks import SIDE

GROUND_M = 0.5
# Far from each other, so that no codec and no scaling takes one for the other.
LEVELS = np.array([[30, 60, 90], [120, 150, 180]], np.uint8)


@dataclass(frozen=True)
class Below:
    """Ground of a thousandth of a degree for each pixel, so that a footprint tells where its tile lies."""

    ground_sample_distance_m: float

    def footprints(self, tiles: Sequence[Tile]) -> list[Footprint]:
        return [self.footprint(tile) for tile in tiles]

    def footprint(self, tile: Tile) -> Footprint:
        left, top = tile.left / 1000, -tile.top / 1000
        right, bottom = left + tile.width / 1000, top - tile.height / 1000
        return Footprint(((left, top), (right, top), (right, bottom), (left, bottom)), (top + bottom) / 2, (left + right) / 2)


def blocks(levels: np.ndarray, side_px: int = 2 * SIDE) -> np.ndarray:
    """A picture of even squares, of twice the ground sample distance of the models here."""
    return np.repeat(np.kron(levels, np.ones((side_px, side_px), np.uint8))[..., None], 3, axis=2)


class Flight:
    """A lane, with what it needs, over a folder of pictures."""

    def __init__(self, device: Device, journal: Journal) -> None:
        self.device = device
        self.journal = journal
        self.models = device.start()
        locator = Locator.from_config(PositionConfig(sources=["fixed:10,20"]))
        self.surveyor = Surveyor(locator, device.config.capture, lambda frame, fix: Below(GROUND_M / 2))
        self.source = DirectorySource(device.config.capture, journal.outcome_of)
        self.asked: list[tuple[int, int]] = []

    def put(self, name: str, picture: np.ndarray) -> None:
        (self.device.inbox / name).write_bytes(cv2.imencode(".png", picture)[1].tobytes())

    def fly(self) -> dict[str, FrameRecord]:
        """Have a lane work off what is there, and journal it."""
        found: Found = queue.Queue()
        recorded: Recorded = queue.Queue()
        given = self.source.files(once=True)
        for _ in list(self.device.inbox.iterdir()):
            found.put(next(given))
        found.put(None)
        lane = Lane(
            source=self.source,
            service=self.models.service,
            surveyor=self.surveyor,
            pause=Pause(self.device.conditions),
            pictures=Pictures(6_000),
            found=found,
            recorded=recorded,
            stopping=threading.Event(),
        )
        lane.run()
        records = [record for item in recorded.queue for _, record in item or () if record is not None]
        self.journal.record(records)
        return {record.key.name: record for record in records}


@pytest.fixture
def start(device: Device) -> Iterator[Callable[..., Flight]]:
    """Starts a flight with a model of this kind."""
    journals = []

    def begin(*how: Any, **capture: Any) -> Flight:
        device.ground_sample_distance_m = GROUND_M
        device.capture |= {"tile_overlap": 0.0, **capture}
        device.install(1, *how, proven=True)
        journals.append(Journal(device.folder / "state" / "journal.db", "uav-1"))
        return Flight(device, journals[-1])

    yield begin
    for journal in journals:
        journal.close()


def damaged(record: FrameRecord) -> list[float]:
    return [round(observation.prediction.probabilities["damaged"] * 255, 1) for observation in record.observations]


def test_every_tile_is_observed_in_its_place_and_every_frame_comes_back_whole(start: Callable[..., Flight]) -> None:
    flight = start()
    pictures = {f"{number:02}.png": np.tile(LEVELS, (number % 3 + 1, number % 2 + 1)) for number in range(12)}
    for name, levels in pictures.items():
        flight.put(name, blocks(levels))
    records = flight.fly()
    assert list(records) == list(pictures)
    for name, levels in pictures.items():
        record = records[name]
        assert (record.outcome, record.reason, len(record.observations)) == ("observed", None, levels.size)
        assert damaged(record) == levels.ravel().tolist()
        for at, observation in enumerate(record.observations):
            row, column = divmod(at, levels.shape[1])
            assert observation.tile == Tile(column * 16, row * 16, 16, 16)
            assert observation.fix is not None
            assert observation.footprint == Below(GROUND_M / 2).footprint(observation.tile)
            # Records wait for each other: without what weighs.
            assert observation.frame.pixels.size == 0
        # What is above the threshold is told, with a picture of that tile.
        alerts = [alert.observation.tile for alert in record.alerts]
        assert alerts == [each.tile for each in record.observations if each.prediction.probabilities["damaged"] >= 0.5]
        assert [alert.id for alert in record.alerts] == [name for name, _ in record.thumbnails]
    count = "SELECT frame, count(*), count(DISTINCT tile) FROM results GROUP BY frame ORDER BY frame"
    expected = [(name, levels.size, levels.size) for name, levels in pictures.items()]
    assert rows(flight.device.folder / "state" / "journal.db", count) == expected


def test_requests_are_full_and_a_large_frame_is_not_asked_about_all_at_once(
    start: Callable[..., Flight], monkeypatch: pytest.MonkeyPatch
) -> None:
    flight = start()
    running, most, asked = 0, 0, []
    classifier = flight.models.service.current.classifier
    begin = classifier.start

    def count(images: Sequence[np.ndarray]) -> list[Any]:
        nonlocal running, most
        running += len(images)
        most = max(most, running)
        asked.append(len(images))
        (started,) = begin(images)
        take = started.predictions

        def taken() -> list[Prediction]:
            nonlocal running
            running -= len(images)
            return take()

        monkeypatch.setattr(started, "predictions", taken)
        return [started]

    monkeypatch.setattr(classifier, "start", count)
    for number in range(3):
        flight.put(f"{number}.png", blocks(np.tile(LEVELS, (3, 5))))
    assert all(len(record.observations) == 90 for record in flight.fly().values())
    assert asked == [BATCH] * 33 + [6]
    assert (most, running) == (2 * BATCH, 0)


def test_tile_that_is_too_much_for_every_engine_costs_that_tile(
    start: Callable[..., Flight], caplog: pytest.LogCaptureFixture
) -> None:
    flight = start("fails on black")
    flight.put("some.png", blocks(np.array([[40, 0, 80], [0, 120, 250]], np.uint8)))
    flight.put("none.png", blocks(np.zeros((2, 3), np.uint8)))
    records = flight.fly()
    some = records["some.png"]
    assert [observation.tile.left for observation in some.observations] == [0, 32, 16, 32]
    why = "cannot be classified: no engine works: gave a probability that is no number"
    assert (some.outcome, some.reason, len(some.alerts)) == ("observed", f"2 of 6 tiles: {why}", 1)
    assert f"'some.png': 2 of 6 tiles: {why}" in caplog.text
    assert (records["none.png"].outcome, records["none.png"].reason) == ("unavailable", why)


@pytest.mark.parametrize("more", [False, True], ids=["alone", "with another frame behind it"])
def test_tiles_that_got_no_answer_are_asked_about_once_more(
    start: Callable[..., Flight], monkeypatch: pytest.MonkeyPatch, more: bool
) -> None:
    flight = start("fails on black")
    classifier = flight.models.service.current.classifier
    ask, asked = classifier.classify_each, []

    def recovering(images: Sequence[np.ndarray]) -> list[Any]:
        asked.append(len(images))
        # What was too much for the engine the first time is not the second time.
        return ask(images if len(asked) == 1 else [np.full_like(image, 250) for image in images])

    monkeypatch.setattr(classifier, "classify_each", recovering)
    flight.put("a.png", blocks(np.array([[40, 0, 80], [0, 120, 60]], np.uint8)))
    if more:
        flight.put("b.png", blocks(np.tile(LEVELS, (3, 5))))
    records = flight.fly()
    record = records["a.png"]
    # Tiles of the next frame are in the request that fails, if there is one.
    assert asked == [BATCH if more else 6, 2]
    assert (record.outcome, record.reason) == ("observed", None)
    assert damaged(record) == [40, 250, 80, 250, 120, 60]
    assert [observation.tile.left for observation in record.observations] == [0, 16, 32, 0, 16, 32]
    assert [alert.observation.tile for alert in record.alerts] == [Tile(16, 0, 16, 16), Tile(0, 16, 16, 16)]
    assert [len(each.observations) for each in records.values()] == [6, 90][: len(records)]


def test_file_that_turns_out_damaged_when_it_is_decoded_is_rejected_alone(start: Callable[..., Flight]) -> None:
    flight = start(incomplete_s=0.01)
    flight.put("a.png", blocks(LEVELS))
    flight.put("c.png", blocks(LEVELS))
    content = bytearray((flight.device.inbox / "a.png").read_bytes())
    at = content.find(b"IDAT")
    content[at + 4 : at + 40] = bytes(36)
    (flight.device.inbox / "b.png").write_bytes(content)
    records = flight.fly()
    assert {name: record.outcome for name, record in records.items()} == {
        "a.png": "observed",
        "b.png": "rejected",
        "c.png": "observed",
    }
    assert records["b.png"].reason == "damaged or truncated image"


class Hands:
    """Frames in hand, as a lane has them."""

    def __init__(self, flight: Flight) -> None:
        self._flight = flight
        self._hand = Hand(flight.models.service)

    def add(self, name: str, levels: np.ndarray) -> list[FrameInHand]:
        self._flight.put(name, blocks(levels))
        found = next(found for found in self._flight.source.files(once=False) if found.key.name == name)
        serving = self._flight.models.service.take()
        opened = read_frame(found.path, found.key, self._flight.device.config.capture, CaptureTimes())
        survey = self._flight.surveyor.survey(opened, serving.classifier.input)
        return list(self._hand.add(FrameInHand(found, survey, 0.0, serving)))

    def settle(self) -> list[FrameInHand]:
        frames: list[FrameInHand] = []
        while not self._hand.is_empty:
            frames += self._hand.settle()
        return frames


def versions(frame: FrameInHand) -> list[int]:
    return [answer.model.version for _, answer in frame.answers if isinstance(answer, Prediction)]


def test_frame_is_classified_by_the_model_that_it_was_cut_for(start: Callable[..., Flight]) -> None:
    flight = start()
    hands = Hands(flight)
    assert hands.add("a.png", LEVELS) == []
    flight.device.install(2)
    flight.models.follow()
    done = hands.add("b.png", LEVELS) + hands.settle()
    assert [(frame.found.key.name, set(versions(frame))) for frame in done] == [("a.png", {1}), ("b.png", {2})]


def test_tiles_in_hand_of_a_model_that_fails_are_answered_by_the_one_before_it(start: Callable[..., Flight]) -> None:
    flight = start()
    flight.device.model["trial_s"] = 60
    flight.device.install(2, "fails on black")
    flight.models.follow()
    hands = Hands(flight)
    levels = np.full((3, 6), 100, np.uint8)
    levels[1, 4] = 0
    (frame,) = hands.add("a.png", levels) + hands.settle()
    assert versions(frame) == [2] * 8 + [1] * 8 + [2] * 2
    assert flight.models.service.current.bundle.model.version == 1


# The whole daemon


def test_daemon_cuts_frames_into_the_parts_of_the_configuration(device: Device) -> None:
    device.capture["tiles"] = "2x3"
    device.install(1, proven=True)
    (device.inbox / "20180805T010044.80Z.png").write_bytes(cv2.imencode(".png", blocks(LEVELS, 20))[1].tobytes())
    daemon = Daemon(device.config)
    summary = daemon.run(once=True, deliver_s=0.1)
    assert (summary.frames, summary.alerts) == (1, 2)
    found = rows(device.folder / "state" / "journal.db", "SELECT tile, captured_ms, probabilities FROM results")
    assert len(found) == 6
    assert {captured_ms for _, captured_ms, _ in found} == {1_533_430_844_800}
    snapshot = daemon._pictures.snapshot()
    assert snapshot is not None
    picture = cv2.imdecode(np.frombuffer(snapshot[1], np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert np.abs(picture.astype(int) - blocks(LEVELS, SIDE)).max() < 12


def test_the_picture_that_follows_an_alert_at_last_is_of_the_frame_that_it_tells_of(device: Device) -> None:
    device.position["sources"] = ["fixed:10,20"]
    device.triage = {"threshold": 0.5, "merge_m": 60}
    device.install(1, proven=True)
    # Each is a little surer than the one before: that alone is not told at once.
    for number in range(7):
        picture = cv2.imencode(".png", np.full((64, 64, 3), 180 + 3 * number, np.uint8))[1].tobytes()
        (device.inbox / f"20180805T01004{number}.00Z.png").write_bytes(picture)
    Daemon(device.config).run(once=True, deliver_s=0.1)
    journal = device.folder / "state" / "journal.db"
    (last,) = rows(journal, "SELECT probabilities, sightings FROM alerts ORDER BY revision DESC LIMIT 1")
    ((jpeg,),) = rows(journal, "SELECT jpeg FROM thumbnails")

    assert (json.loads(last[0])["damaged"], last[1]) == (pytest.approx(198 / 255, abs=0.002), 7)
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE).mean() == pytest.approx(198, abs=1)
    assert rows(journal, "SELECT DISTINCT clock FROM frames") == [(CLOCKS.index("name"),)]
