"""Where the log goes: a real socket stands in for journald's, and a process of its own for the service."""

from __future__ import annotations

import io
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.logs import GroundLogHandler, JournalHandler, room_of
from tests.conftest import PROJECT, Overflight

SERVICE = """
import logging, os, sys
from pathlib import Path
from edge.logs import set_up_logging
status = os.fstat(2)
if sys.argv[2] == "connected":
    os.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
elif sys.argv[2] == "of a parent":
    os.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino + 1}"
set_up_logging(logging.INFO, journal_socket=Path(sys.argv[1]))
log = logging.getLogger("edge.uplink")
log.debug("not shown")
log.info("connected")
log.warning("lost\\nsince noon")
"""


class Journald:
    """A datagram socket that reads what journald would."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(5)

    def read(self) -> dict[str, bytes]:
        """The next entry, by https://systemd.io/JOURNAL_NATIVE_PROTOCOL."""
        rest, fields = self._socket.recv(1 << 20), {}
        while rest:
            line, _, after = rest.partition(b"\n")
            name, equals, value = line.partition(b"=")
            if not equals:
                length = int.from_bytes(after[:8], "little")
                value, end, after = after[8 : 8 + length], after[8 + length : 9 + length], after[9 + length :]
                assert end == b"\n"
            fields[name.decode("ascii")] = value
            rest = after
        return fields

    def close(self) -> None:
        self._socket.close()
        self.path.unlink()


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    daemon = Journald(tmp_path / "socket")
    yield daemon
    daemon.close()


def logger_to(handler: logging.Handler, name: str) -> logging.Logger:
    """A logger that is heard by this handler alone."""
    logger = logging.Logger(name, logging.DEBUG)
    logger.addHandler(handler)
    return logger


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def journal(journald: Journald, stream: io.StringIO) -> Iterator[JournalHandler]:
    handler = JournalHandler(stream, journald.path)
    yield handler
    handler.close()


def service(folder: Path, stderr_is: str) -> str:
    """What a service writes to standard error."""
    environment = {key: value for key, value in os.environ.items() if key != "JOURNAL_STREAM"}
    command = [sys.executable, "-c", SERVICE, str(folder / "socket"), stderr_is]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True, env=environment)
    return result.stderr


# The set-up


@pytest.mark.parametrize("stderr_is", ["a terminal", "of a parent"])
def test_a_terminal_gets_lines_with_their_level(tmp_path: Path, stderr_is: str) -> None:
    assert service(tmp_path, stderr_is) == "INFO connected\nWARNING lost\nsince noon\n"


def test_a_service_writes_to_the_journal(tmp_path: Path, journald: Journald) -> None:
    assert service(tmp_path, "connected") == ""
    assert journald.read()["MESSAGE"] == b"connected"
    assert journald.read()["MESSAGE"] == b"lost\nsince noon"


def test_a_service_without_journald_s_socket_marks_each_line_with_its_priority(tmp_path: Path) -> None:
    assert service(tmp_path, "connected") == "<6>connected\n<4>lost\n<4>since noon\n"


def test_the_command_line_shows_what_its_level_lets_through(overflight: Overflight) -> None:
    keys = overflight.folder / "keys"
    keys.mkdir()
    (keys / "a.pub").write_text("no key")
    overflight.config["model"] = {"store": str(overflight.folder / "store"), "trusted_keys": str(keys)}

    assert f"WARNING {keys}/a.pub: public key: expected" in overflight.run("classify", overflight.inbox).stderr
    assert "WARNING" not in overflight.run("classify", overflight.inbox, "--log-level", "error").stderr


def test_a_level_that_there_is_not_is_named(overflight: Overflight) -> None:
    refused = overflight.run("status", "--log-level", "loud")

    assert refused.returncode == 2
    assert "'loud' (choose from" in refused.stderr
    assert "warning" in refused.stderr


# The journal


def test_a_record_comes_with_its_place_and_its_room(journald: Journald, journal: JournalHandler) -> None:
    logger = logger_to(journal, "edge.capture.directory")

    def warn() -> None:
        logger.warning("%s: %d bytes", "a.jpeg", 7)

    thread = threading.Thread(target=warn, name="classify")
    thread.start()
    thread.join(10)

    assert journald.read() == {
        "MESSAGE": b"a.jpeg: 7 bytes",
        "PRIORITY": b"4",
        "SYSLOG_IDENTIFIER": b"overflight",
        "CODE_FILE": __file__.encode(),
        "CODE_LINE": str(warn.__code__.co_firstlineno + 1).encode(),
        "CODE_FUNC": b"warn",
        "THREAD_NAME": b"classify",
        "OVERFLIGHT_ROOM": b"capture",
    }


@pytest.mark.parametrize(
    ("level", "priority"), [(50, b"2"), (40, b"3"), (35, b"4"), (30, b"4"), (25, b"6"), (20, b"6"), (10, b"7"), (5, b"7")]
)
def test_a_level_becomes_a_priority_of_syslog(journald: Journald, journal: JournalHandler, level: int, priority: bytes) -> None:
    journal.handle(logging.LogRecord("edge.uplink", level, __file__, 1, "text", None, None))

    assert journald.read()["PRIORITY"] == priority


def test_an_error_comes_with_its_traceback(journald: Journald, journal: JournalHandler) -> None:
    try:
        raise ValueError("deep inside")
    except ValueError:
        logger_to(journal, "edge").exception("defect")

    lines = journald.read()["MESSAGE"].decode().splitlines()
    assert lines[:2] == ["defect", "Traceback (most recent call last):"]
    assert lines[-1] == "ValueError: deep inside"


@pytest.mark.parametrize("text", ["", "=", "\n", "\n\n", "a\nMESSAGE=b\n", "Ü ☃", "trailing\n", "nul \0 inside"])
def test_any_text_arrives_as_it_was(journald: Journald, journal: JournalHandler, text: str) -> None:
    logger_to(journal, "edge.uplink").info("%s", text)

    entry = journald.read()
    assert entry["MESSAGE"].decode() == text
    assert len(entry) == 8


def test_a_name_that_is_no_unicode_is_written_out(journald: Journald, journal: JournalHandler) -> None:
    logger_to(journal, "edge.capture").info("%s", os.fsdecode(b"bad-\xff.jpeg"))

    assert journald.read()["MESSAGE"] == b"bad-\\udcff.jpeg"


@pytest.mark.parametrize("letter", ["x", "ü", "☃", "x\n"])
def test_a_text_that_is_too_long_is_cut_between_letters(
    journald: Journald, journal: JournalHandler, stream: io.StringIO, letter: str
) -> None:
    logger_to(journal, "edge.uplink").info("%s", "a" + letter * 1_000_000)

    message = journald.read()["MESSAGE"]
    assert 32_700 <= len(message) <= 32_768
    text, mark, _ = message.decode().partition(" [cut]")
    assert mark
    assert text[-1] in letter
    assert stream.getvalue() == ""


def test_a_journald_that_was_restarted_is_found_again(tmp_path: Path, stream: io.StringIO) -> None:
    first = Journald(tmp_path / "socket")
    handler = JournalHandler(stream, first.path)
    logger = logger_to(handler, "edge.uplink")
    logger.info("one")
    assert first.read()["MESSAGE"] == b"one"
    first.close()
    logger.error("two")
    second = Journald(tmp_path / "socket")
    logger.info("three")

    assert second.read()["MESSAGE"] == b"three"
    assert stream.getvalue() == "<3>two\n"
    handler.close()
    second.close()


# The ground


def ground(**options: object) -> tuple[GroundLogHandler, logging.Logger]:
    handler = GroundLogHandler("warning", **options)  # type: ignore[arg-type]
    return handler, logger_to(handler, "edge.position.locator")


def texts(handler: GroundLogHandler) -> list[str]:
    return [record.text for record in iter(handler.take, None)]


def test_warnings_wait_for_the_uplink_in_their_order() -> None:
    handler, logger = ground()
    before = datetime.now(UTC)
    logger.info("stays here")
    logger.warning("no fix for %d s", 5)
    logger.critical("gone")

    assert handler.waiting == 2
    first, second = handler.take(), handler.take()
    assert first is not None
    assert second is not None
    assert (first.level, first.room, first.text) == ("warning", "position", "no fix for 5 s")
    assert (second.level, second.text) == ("critical", "gone")
    assert before <= first.at <= second.at <= datetime.now(UTC)
    assert handler.take() is None
    assert handler.dropped == 0


def test_errors_alone_wait_where_only_those_are_asked_for() -> None:
    handler = GroundLogHandler("error")
    logger = logger_to(handler, "edge.uplink")
    logger.warning("stays here")
    logger.error("goes")

    assert texts(handler) == ["goes"]


def test_the_oldest_is_dropped_when_nobody_takes_them() -> None:
    handler, logger = ground(most=3)
    for number in range(10):
        logger.warning("%d", number)

    assert handler.dropped == 7
    assert texts(handler) == ["7", "8", "9"]
    logger.warning("later")
    assert handler.dropped == 7
    assert texts(handler) == ["later"]


def test_what_the_sender_says_stays_here() -> None:
    handler = GroundLogHandler("warning", leave_out=["edge.uplink", "paho"])
    for name in ["edge.uplink", "edge.uplink.send", "paho", "paho.mqtt.client", "edge.uplinks", "edge.journal"]:
        logger_to(handler, name).error("%s", name)

    assert texts(handler) == ["edge.uplinks", "edge.journal"]


def test_a_record_of_several_lines_goes_as_one_with_its_error_and_no_traceback() -> None:
    handler, logger = ground()
    try:
        raise ValueError("deep\ninside")
    except ValueError:
        logger.exception("defect\x1b[2J\n  at noon")
    logger.warning("x" * 10_000)

    assert texts(handler) == ["defect\\x1b[2J at noon: ValueError: deep inside", "x" * 2_000]


def test_many_threads_lose_nothing_that_is_not_counted() -> None:
    handler, logger = ground(most=50)
    taken: list[str] = []
    over = threading.Event()

    def write(writer: int) -> None:
        for number in range(300):
            logger.warning("%d %d", writer, number)

    def read() -> None:
        while not over.is_set():
            taken.extend(texts(handler))

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join(10)
    over.set()
    reader.join(10)
    taken.extend(texts(handler))

    assert len(set(taken)) == len(taken)
    assert len(taken) + handler.dropped == 1_200


@pytest.mark.parametrize(
    ("logger", "room"),
    [
        ("edge.capture.directory", "capture"),
        ("edge.uplink", "uplink"),
        ("edge", "edge"),
        ("paho.mqtt.client", "paho"),
        ("root", "root"),
        ("edges.of.something", "edges"),
    ],
)
def test_a_logger_belongs_to_a_room(logger: str, room: str) -> None:
    assert room_of(logger) == room
