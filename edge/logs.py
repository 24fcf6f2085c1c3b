"""Where the log goes: to the terminal, to journald with its fields, and to the ground when that asked for it.

Under systemd a record keeps its level, its place in the code and its room as fields of the journal, so that
``journalctl -u overflight -p warning OVERFLIGHT_ROOM=uplink`` finds it.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
import threading
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TextIO

from edge.text import one_line, printable

LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
"""The levels of the log by their names on the command line."""

JOURNAL_SOCKET = Path("/run/systemd/journal/socket")

_TERMINAL_FORMAT = "%(levelname)s %(message)s"
# A datagram may hold 200 kB by the kernel's default. A longer value than this is cut.
_VALUE_MAX_BYTES = 32_768
_CUT = b" [cut]"
_GROUND_TEXT_MAX = 2_000


def set_up_logging(
    level: int,
    stream: TextIO | None = None,
    environment: Mapping[str, str] | None = None,
    journal_socket: Path = JOURNAL_SOCKET,
) -> None:
    """Send the log to the terminal or, where systemd started this process, to the journal.

    Does nothing where logging is set up already, as a program may have done that uses this one.

    Args:
        level: Records below it are not shown. Warnings are made nonetheless, because the ground may want them.
        stream: Where it goes; None: standard error.
        environment: Variables that may tell of a journal; None: those of this process.
    """
    stream = stream or sys.stderr
    handler: logging.Handler
    if _is_journal(stream, os.environ if environment is None else environment):
        handler = JournalHandler(stream, journal_socket)
    else:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter(_TERMINAL_FORMAT))
    handler.setLevel(level)
    logging.basicConfig(level=min(level, logging.WARNING), handlers=[handler])


def room_of(logger: str) -> str:
    """The room that a logger belongs to: "capture" for ``edge.capture.directory``; a library's own name otherwise."""
    package, _, inner = logger.partition(".")
    return inner.partition(".")[0] if package == "edge" and inner else package


class JournalHandler(logging.StreamHandler[TextIO]):
    """Sends records to journald by its native protocol, as libsystemd's ``sd_journal_send(3)`` does.

    The protocol: https://systemd.io/JOURNAL_NATIVE_PROTOCOL. Where journald does not take a record, it goes to the stream
    with the prefixes of ``sd-daemon(3)``, by which systemd still sees its level. A journald that is busy is waited for, as
    by a write to the stream.
    """

    def __init__(self, stream: TextIO, path: Path = JOURNAL_SOCKET) -> None:
        """
        Args:
            stream: What systemd connected to the journal.
            path: The socket of journald.
        """
        super().__init__(stream)
        # The level has a field of its own.
        self.setFormatter(logging.Formatter("%(message)s"))
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record."""
        try:
            # By its path each time: journald may have been restarted.
            self._socket.sendto(_datagram(record, super().format(record)), self._path)
        except OSError:
            super().emit(record)
        except Exception:  # noqa: BLE001 - a record that cannot be formatted must not stop the one who logs
            self.handleError(record)

    def format(self, record: logging.LogRecord) -> str:
        """A record's text for the stream, each line with its level."""
        prefix = f"<{_priority(record.levelno)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines() or [""])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()


@dataclass(frozen=True, slots=True)
class GroundRecord:
    """A record of the log for the ground: when (UTC), how bad, which room, and what, in one line."""

    at: datetime
    level: Literal["warning", "error", "critical"]
    room: str
    text: str


class GroundLogHandler(logging.Handler):
    """Keeps records until the uplink has room for them. Nobody waits for it: when it is full, the oldest is dropped."""

    def __init__(self, level: Literal["warning", "error"], most: int = 100, leave_out: Collection[str] = ()) -> None:
        """
        Args:
            level: Records below it stay here.
            most: So many records are kept.
            leave_out: Loggers, with all below them, whose records stay here: those of the sender, which would talk of
                sending for ever.
        """
        super().__init__(LEVELS[level])
        self._leave_out = frozenset(leave_out)
        self._kept: deque[GroundRecord] = deque(maxlen=most)
        self._dropped = 0
        # May be taken twice by one thread: what the garbage collector ends may log.
        self._guard = threading.RLock()

    @property
    def waiting(self) -> int:
        """How many records are kept."""
        return len(self._kept)

    @property
    def dropped(self) -> int:
        """How many records were dropped because nobody took them in time."""
        return self._dropped

    def take(self) -> GroundRecord | None:
        """Take out the oldest record; None: there is none."""
        with self._guard:
            return self._kept.popleft() if self._kept else None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        if self._is_left_out(record.name):
            return
        try:
            entry = GroundRecord(
                at=datetime.fromtimestamp(record.created, UTC),
                level=_ground_level(record.levelno),
                room=room_of(record.name),
                text=_ground_text(record),
            )
        except Exception:  # noqa: BLE001 - a record that cannot be formatted must not stop the one who logs
            self.handleError(record)
            return
        with self._guard:
            self._dropped += len(self._kept) == self._kept.maxlen
            self._kept.append(entry)

    def _is_left_out(self, logger: str) -> bool:
        return any(logger == name or logger.startswith(f"{name}.") for name in self._leave_out)


def _is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether systemd connected the stream to the journal: JOURNAL_STREAM is its device and inode, systemd.exec(5)."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # the stream is no file, or closed
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _priority(level: int) -> int:
    """The priority of syslog(3) for a level of logging."""
    steps = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
    return next((priority for least, priority in steps if level >= least), 7)


def _datagram(record: logging.LogRecord, text: str) -> bytes:
    fields = {
        "MESSAGE": text,
        "PRIORITY": _priority(record.levelno),
        "SYSLOG_IDENTIFIER": "overflight",
        "CODE_FILE": record.pathname,
        "CODE_LINE": record.lineno,
        "CODE_FUNC": record.funcName,
        "THREAD_NAME": record.threadName,
        "OVERFLIGHT_ROOM": room_of(record.name),
    }
    return b"".join(_field(name, str(value)) for name, value in fields.items())


def _field(name: str, text: str) -> bytes:
    """A field of the journal; a value of several lines comes with its length as 64 bits, the lowest byte first."""
    value = text.encode("utf-8", "backslashreplace")
    if len(value) > _VALUE_MAX_BYTES:
        # Half a letter at the end would make the value binary.
        value = value[: _VALUE_MAX_BYTES - len(_CUT)].decode("utf-8", "ignore").encode() + _CUT
    if b"\n" in value:
        return name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


def _ground_level(level: int) -> Literal["warning", "error", "critical"]:
    if level >= logging.CRITICAL:
        return "critical"
    return "error" if level >= logging.ERROR else "warning"


def _ground_text(record: logging.LogRecord) -> str:
    """What a record says, with its error but without a traceback, which no thin link should carry."""
    text = record.getMessage()
    if record.exc_info and record.exc_info[1] is not None:
        text += f": {type(record.exc_info[1]).__name__}: {one_line(record.exc_info[1])}"
    return printable(" ".join(text.split()))[:_GROUND_TEXT_MAX]
