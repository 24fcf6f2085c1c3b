"""What every stream of a recording opens, and does not: as files that are there."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.config import ConfigError, PositionConfig
from edge.position import Locator
from edge.position.gpx import GpxStream
from edge.position.mavlink import MavlinkStream
from edge.position.nmea import NmeaStream
from edge.position.recorded_file import MAX_RECORDING_BYTES, open_recording
from edge.position.report import Stream, StreamError

PARSE: dict[str, Callable[[str], Stream]] = {
    "a.log": NmeaStream.parse,
    "a.gpx": GpxStream.parse,
    "a.tlog": MavlinkStream.parse,
}


def refusal(file: Path) -> str:
    """Why the stream of a file with this name ends."""
    stream = PARSE[file.name](str(file))
    assert stream.is_recording
    with pytest.raises(StreamError) as caught:
        list(stream.reports())
    return str(caught.value)


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.timeout(10)
@pytest.mark.parametrize("name", PARSE)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, bind])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    make(tmp_path / name)

    assert refusal(tmp_path / name) == f"{tmp_path / name}: not a file"


@pytest.mark.parametrize("name", PARSE)
def test_a_file_that_is_larger_than_any_recording_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    os.truncate(tmp_path / name, MAX_RECORDING_BYTES + 1)

    assert refusal(tmp_path / name) == (
        f"{tmp_path / name}: 2000000001 bytes, expected at most 2000000000: cut out what is needed"
    )


def test_a_file_of_the_greatest_size_is_opened(tmp_path: Path) -> None:
    (tmp_path / "a.log").touch()
    os.truncate(tmp_path / "a.log", MAX_RECORDING_BYTES)

    with open_recording(str(tmp_path / "a.log")) as file:
        assert file.read(4) == bytes(4)


@pytest.mark.timeout(10)
def test_a_pipe_in_the_configuration_is_said_in_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.log")

    with pytest.raises(ConfigError) as caught:
        Locator.from_config(PositionConfig(sources=[f"nmea:{tmp_path}/a.log"]))

    assert str(caught.value) == f"position.sources: nmea:{tmp_path}/a.log: {tmp_path}/a.log: not a file"
