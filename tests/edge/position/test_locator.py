"""The order of trust: the first provider that knows is believed, what cannot be is refused, and nothing is guessed."""

from __future__ import annotations

import io
import logging
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge.capture.image import decode
from edge.config import ConfigError, PositionConfig
from edge.position import Locator
from edge.records import Frame, FrameKey

NAME = r"filename:(?P<longitude>-?\d+\.\d+)_(?P<latitude>-?\d+\.\d+)"


def frame_named(name: str, latitude: float | None = None) -> Frame:
    """A frame with a name and, where a latitude is given, EXIF that puts it there, on longitude 10."""
    exif: dict[str, Any] = {}
    if latitude is not None:
        tags, file = Image.Exif(), io.BytesIO()
        parts = (Fraction(str(latitude)), Fraction(0), Fraction(0))
        tags.get_ifd(0x8825).update({1: "N", 2: parts, 3: "E", 4: (Fraction(10), Fraction(0), Fraction(0))})
        Image.new("RGB", (32, 24)).save(file, "JPEG", exif=tags)
        exif = decode(file.getvalue(), (24, 32), 10**6).exif
    moment = datetime(2026, 11, 21, tzinfo=UTC)
    return Frame(FrameKey("/in", name, 1, 1), moment, 32, 24, np.zeros((24, 32, 3), np.uint8), exif)


@pytest.mark.parametrize(
    ("sources", "trusted", "latitude"),
    [
        (["exif", NAME, "fixed:30,40"], "exif", 20.0),
        ([NAME, "exif", "fixed:30,40"], "filename", 25.5),
        (["fixed:30,40", "exif", NAME], "fixed", 30.0),
    ],
)
def test_the_first_source_that_knows_is_believed(sources: list[str], trusted: str, latitude: float) -> None:
    fix = Locator.from_config(PositionConfig(sources=sources)).locate(frame_named("11.5_25.5.jpeg", latitude=20.0))

    assert fix is not None
    assert (fix.source, fix.latitude) == (trusted, latitude)


def test_a_source_that_does_not_know_leaves_it_to_the_next() -> None:
    fix = Locator.from_config(PositionConfig(sources=["exif", NAME])).locate(frame_named("11.5_25.5.jpeg"))

    assert fix is not None
    assert (fix.source, fix.latitude, fix.longitude) == ("filename", 25.5, 11.5)


def test_a_source_that_does_not_know_is_no_event(caplog: pytest.LogCaptureFixture) -> None:
    Locator.from_config(PositionConfig(sources=["exif", NAME])).locate(frame_named("DJI_0018.JPG"))

    assert not caplog.records


def test_what_cannot_be_is_refused_with_its_reason_and_the_next_source_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    fix = Locator.from_config(PositionConfig(sources=["exif", "fixed:30,40"])).locate(frame_named("a.jpeg", latitude=91.0))

    assert fix is not None
    assert fix.source == "fixed"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.messages == ["'a.jpeg': position from exif refused: latitude 91.0 is not within -90..90"]


def test_a_refused_position_is_never_given_out(caplog: pytest.LogCaptureFixture) -> None:
    assert Locator.from_config(PositionConfig(sources=["exif"])).locate(frame_named("a.jpeg", latitude=91.0)) is None
    assert len(caplog.messages) == 1


def test_a_position_that_nobody_knows_is_unknown() -> None:
    frame = frame_named("DJI_0018.JPG")

    assert Locator.from_config(PositionConfig(sources=["exif", NAME])).locate(frame) is None
    assert Locator.from_config(PositionConfig(sources=[])).locate(frame) is None


def test_a_name_cannot_forge_lines_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    Locator.from_config(PositionConfig(sources=[NAME])).locate(frame_named("999.0_1.0\nERROR all is lost\x1b[2J"))

    assert len(caplog.messages) == 1
    assert caplog.messages[0].isprintable()


@pytest.mark.parametrize("source", ["", "gps", "EXIF", "exif ", "gpsd ", "Fixed:1,2", ":"])
def test_an_unknown_source_is_told_which_there_are(source: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Locator.from_config(PositionConfig(sources=["exif", source]))

    assert str(caught.value) == f"position.sources: {source}: expected one of exif, filename, fixed, gpsd, gpx, mavlink, nmea"


def test_exif_takes_no_argument() -> None:
    with pytest.raises(ConfigError) as caught:
        Locator.from_config(PositionConfig(sources=["exif:gps"]))

    assert str(caught.value) == "position.sources: exif:gps: expected exif without an argument"


def test_a_source_with_control_characters_is_refused_in_one_printable_line() -> None:
    with pytest.raises(ConfigError) as caught:
        Locator.from_config(PositionConfig(sources=["exif\n\x1b[2J"]))

    assert str(caught.value).isprintable()
