"""Positions from names, such as those of the Harvey tiles: <longitude>_<latitude>.jpeg."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config import ConfigError, PositionConfig
from edge.messages import encode, observation_message
from edge.position import Locator
from edge.position.filename import FilenamePosition
from edge.records import Frame, FrameKey, ModelName, Observation, Prediction, Tile

HARVEY = r"(?P<longitude>-?\d+\.\d+)_(?P<latitude>-?\d+\.\d+)"
ANYTHING = r"(?P<longitude>[^_]*)_(?P<latitude>.*)"
EXPOSED_AT = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)


def frame_named(name: str) -> Frame:
    """A frame with this name."""
    return Frame(FrameKey("/in", name, 1, 1), EXPOSED_AT, 8, 8, np.zeros((8, 8, 3), np.uint8))


def config_error(source: str) -> str:
    """Why a source in the configuration is refused, in one line."""
    with pytest.raises(ConfigError) as caught:
        Locator.from_config(PositionConfig(sources=[source]))
    message = str(caught.value)
    assert message.isprintable(), repr(message)
    assert message.startswith("position.sources: ")
    assert "filename:" in message
    return message


@pytest.mark.parametrize(
    ("name", "latitude", "longitude"),
    [
        ("-95.0614_29.8279.jpeg", 29.8279, -95.0614),
        ("-95.0614_29.8279_a.jpeg", 29.8279, -95.0614),
        ("flight 1/damage/-95.0614_29.8279.jpeg", 29.8279, -95.0614),
        ("18.07_-33.92.png", -33.92, 18.07),
        ("0.0_51.47.png", 51.47, 0.0),
        ("180.0_-90.0.png", -90.0, 180.0),
    ],
)
def test_a_name_says_the_position(name: str, latitude: float, longitude: float) -> None:
    fix = FilenamePosition.parse(HARVEY).locate(frame_named(name))

    assert fix is not None
    assert (fix.latitude, fix.longitude) == (latitude, longitude)
    assert (fix.source, fix.time) == ("filename", EXPOSED_AT)
    assert (fix.altitude_m, fix.accuracy_m, fix.is_of_ground) == (None, None, True)


def test_an_alert_says_that_the_place_of_a_name_is_the_ground_and_nothing_of_an_aircraft() -> None:
    frame = frame_named("-95.0614_29.8279.jpeg")
    fix = Locator.from_config(PositionConfig(sources=[f"filename:{HARVEY}"])).locate(frame)
    prediction = Prediction(
        {"damaged": 1.0, "undamaged": 0.0}, ModelName("terrain-damage", 1, "ab" * 32), "openvino", "CPU", 1.0
    )
    content = json.loads(encode(observation_message(Observation(frame, Tile(0, 0, 8, 8), prediction, fix))))

    assert content["geometry"] == {"type": "Point", "coordinates": [-95.0614, 29.8279]}
    assert content["properties"]["place"] == "ground"
    assert content["properties"]["fix"] == {"source": "filename", "age_s": 0.0, "accuracy_m": None}


def test_the_order_of_the_groups_is_that_of_the_expression() -> None:
    fix = FilenamePosition.parse(r"lat(?P<latitude>\d+)lon(?P<longitude>\d+)").locate(frame_named("lat12lon34.png"))

    assert fix is not None
    assert (fix.latitude, fix.longitude) == (12.0, 34.0)


@pytest.mark.parametrize("name", ["DJI_0018.JPG", "", "95_29.jpeg"])
def test_a_name_without_a_position_does_not_say_it(name: str) -> None:
    assert FilenamePosition.parse(HARVEY).locate(frame_named(name)) is None


def test_a_group_that_takes_no_part_is_no_position() -> None:
    provider = FilenamePosition.parse(r"(?P<longitude>-?\d+\.\d+)(_(?P<latitude>-?\d+\.\d+))?")

    assert provider.locate(frame_named("-95.0614.jpeg")) is None


@pytest.mark.parametrize(
    "name",
    ["181.0_29.0", "-180.001_29.0", "-95.0_90.1", "-95.0_-91.0", "0.0_0.0", "-0.0_0.0", "29.0_-95.0", "9" * 400 + ".0_1.0"],
)
def test_numbers_that_are_no_place_are_refused(name: str) -> None:
    with pytest.raises(ValueError):
        FilenamePosition.parse(HARVEY).locate(frame_named(name))


@pytest.mark.parametrize("name", ["nan_29.0", "-95.0_inf", "-95.0_", "west_north", "-95,0_29,0"])
def test_text_that_is_no_number_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        FilenamePosition.parse(ANYTHING).locate(frame_named(name))


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "without latitude and longitude"),
        (r"\d+_\d+", "without latitude and longitude"),
        ("(?P<latitude>.)", "without longitude"),
        ("(?P<longitude>.)(?P<Latitude>.)", "without latitude"),
        ("(", "not a regular expression"),
        ("(?P<latitude>.)(?P<latitude>.)", "not a regular expression"),
        ("(?P<latitude>*)(?P<longitude>.)", "not a regular expression"),
        ("(?P<latitude>.{99999999999})(?P<longitude>.)", "not a regular expression"),
        ("(" * 5000 + ")" * 5000, "not a regular expression"),
        ("(?P<latitude>.)\n(", "not a regular expression"),
    ],
    ids=[
        "empty",
        "no groups",
        "no longitude",
        "misspelt",
        "open",
        "twice",
        "nothing to repeat",
        "too often",
        "too deep",
        "two lines",
    ],
)
def test_an_expression_that_is_not_usable_is_a_mistake_of_the_configuration(expression: str, reason: str) -> None:
    assert reason in config_error(f"filename:{expression}")


def test_the_names_of_the_real_tiles_lie_around_houston(data: Path) -> None:
    names = [file.name for file in (data / "harvey" / "validation").rglob("*.jpeg")]
    provider = FilenamePosition.parse(HARVEY)
    fixes = [provider.locate(frame_named(name)) for name in names]

    assert len(names) > 1000
    assert all(fix is not None and 27 < fix.latitude < 31 and -99 < fix.longitude < -93 for fix in fixes)


_names = st.text(max_size=40) | st.builds(
    "{}_{}.jpeg".format, st.floats() | st.text(max_size=5), st.floats() | st.text(max_size=5)
)


@settings(deadline=None, max_examples=300)
@given(_names, st.sampled_from([HARVEY, ANYTHING]))
def test_no_name_whatever_ends_the_search_for_a_position(name: str, expression: str) -> None:
    fix = Locator.from_config(PositionConfig(sources=[f"filename:{expression}"])).locate(frame_named(name))

    if fix is not None:
        assert -90 <= fix.latitude <= 90
        assert -180 <= fix.longitude <= 180
        assert (fix.latitude, fix.longitude) != (0, 0)
