"""Classifying without a daemon: the same tiles and the same places."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.bundle import Bundle
from edge.capture.times import CaptureTimes
from edge.classify import classify_images, find_images, observation_line
from edge.config import CaptureConfig, ConfigError, PositionConfig, build
from edge.inference import Classifier, Devices
from edge.position import Locator
from edge.position.geodesy import distance_m
from edge.records import Fix, Frame, Observation, Tile
from edge.survey import Surveyor, no_view
from tests.conftest import Overflight
from tests.edge.daemon.test_tiles import Below

SIX = [(left, top) for top in (0, 150) for left in (0, 200, 400)]


@pytest.fixture(scope="module")
def classifier() -> Iterator[Classifier]:
    classifier = Classifier(Bundle.shipped(), Devices(["CPU"]))
    classifier.input = msgspec.structs.replace(classifier.input, ground_sample_distance_m=0.5)
    yield classifier
    classifier.close()


def see_below(frame: Frame, fix: Fix) -> Below:
    assert (frame.key.name.endswith(".jpg"), fix.source) == (True, "fixed")
    return Below(0.25)


def classify(folder: Path, classifier: Classifier, position: str, view_of: Any = see_below) -> list[Any]:
    capture = CaptureConfig(tile_overlap=0.0)
    surveyor = Surveyor(Locator.from_config(PositionConfig(sources=[position])), capture, view_of)
    return list(classify_images(find_images([folder]), classifier, surveyor, capture, CaptureTimes()))


def test_every_tile_is_an_observation_with_its_footprint_in_the_order_of_the_images(
    tmp_path: Path, classifier: Classifier, make_jpeg: Callable[..., bytes]
) -> None:
    sizes = {"a.jpg": (512, 1024), "b.jpg": (256, 256), "c.jpg": (1280, 256)}
    for name, (width, height) in sizes.items():
        (tmp_path / name).write_bytes(make_jpeg(width=width, height=height))
    (tmp_path / "bb.jpg").write_bytes(b"no picture")
    items = classify(tmp_path, classifier, "fixed:10,20")
    boxes = [
        (name, Tile(left, top, 256, 256))
        for name, (width, height) in sizes.items()
        for top in range(0, height, 256)
        for left in range(0, width, 256)
    ]
    (bad,) = [at for at, item in enumerate(items) if isinstance(item, tuple)]
    assert bad == 9
    seen = [item for item in items if isinstance(item, Observation)]
    assert [(item.frame.key.name, item.tile) for item in seen] == boxes
    assert all(item.footprint == Below(0.25).footprint(item.tile) for item in seen)


@pytest.mark.parametrize(("position", "view_of"), [("exif", see_below), ("fixed:10,20", no_view)])
def test_frame_whose_ground_is_not_known_is_one_tile_without_a_footprint(
    tmp_path: Path, classifier: Classifier, make_jpeg: Callable[..., bytes], position: str, view_of: Any
) -> None:
    (tmp_path / "a.jpg").write_bytes(make_jpeg(width=1024, height=512))
    (seen,) = classify(tmp_path, classifier, position, view_of)
    assert (seen.tile, seen.footprint) == (Tile(0, 0, 1024, 512), None)


def test_line_for_people_names_the_place_on_the_ground_and_the_tile(
    tmp_path: Path, classifier: Classifier, make_jpeg: Callable[..., bytes]
) -> None:
    (tmp_path / "a.jpg").write_bytes(make_jpeg(width=512, height=256))
    lines = [observation_line(item) for item in classify(tmp_path, classifier, "fixed:10,20")]
    assert [line.split()[-4:] for line in lines] == [
        ["-0.128000", "0.128000", "a.jpg", "256x256+0+0"],
        ["-0.128000", "0.384000", "a.jpg", "256x256+256+0"],
    ]


def test_real_photo_is_cut_by_what_it_says_of_its_height_and_its_camera(data: Path, classifier: Classifier) -> None:
    config = build({}, "test", {})
    surveyor = Surveyor.from_config(config, Locator.from_config(config.position))
    photo = data / "drone-photos" / "DJI_0018.JPG"
    seen = list(classify_images(find_images([photo]), classifier, surveyor, config.capture, CaptureTimes()))
    # From 40 m it shows about 70 m by 40 m, where a tile of this model is 64 m: so they are as large as the photo is high.
    assert len(seen) == 3
    for item in seen:
        assert isinstance(item, Observation)
        assert item.fix is not None
        assert item.footprint is not None
        assert (item.tile.width, item.tile.height) == (pytest.approx(2250, abs=10), 2250)
        away_m = distance_m(item.fix.latitude, item.fix.longitude, item.footprint.latitude, item.footprint.longitude)
        from_middle_px = abs(item.tile.left + item.tile.width / 2 - item.frame.width / 2)
        assert away_m == pytest.approx(from_middle_px * 40 / 2250, rel=0.1, abs=0.5)


@pytest.mark.parametrize("path", ["nowhere.hgt", "ground.txt"])
def test_terrain_that_is_none_is_a_mistake_in_the_config(path: str) -> None:
    config = build({"position": {"terrain": path}}, "test", {})
    with pytest.raises(ConfigError, match=rf"^position\.terrain: {path}: "):
        Surveyor.from_config(config, Locator([]))


def test_command_prints_a_feature_for_each_tile(overflight: Overflight, make_jpeg: Callable[..., bytes]) -> None:
    overflight.config["capture"]["tiles"] = "2x3"
    (overflight.inbox / "20180805T010044.80Z.jpg").write_bytes(make_jpeg(width=600, height=300))
    finished = overflight.run("classify", "--json", overflight.inbox)
    assert finished.returncode == 0, finished.stderr
    facts = [feature["properties"] for feature in json.loads(finished.stdout)["features"]]
    assert [fact["frame"]["tile"] for fact in facts] == [[left, top, 200, 150] for left, top in SIX]
    assert {fact["captured_at"] for fact in facts} == {"2018-08-05T01:00:44.800Z"}


@pytest.mark.parametrize("command", ["classify --json", "run --once"])
def test_time_format_that_is_none_is_a_mistake_in_the_config(overflight: Overflight, command: str) -> None:
    overflight.config["capture"]["name_time"] = "%Q"
    finished = overflight.run(*command.split(), *([overflight.inbox] if command == "classify --json" else []))
    assert finished.returncode == 2
    (line,) = finished.stderr.splitlines()
    assert "overflight.yaml: capture.name_time: not a format that strptime knows: " in line
    assert finished.stdout == ""
    assert not overflight.journal.exists()
