"""What the daemon leaves for `overflight status` on this machine."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

import msgspec

from edge.messages import HealthMessage, StatusMessage

_log = logging.getLogger(__name__)

# A memory card lives longer when it is not written to for figures that nobody looks at.
_REFRESH_S = 60.0


class Report(msgspec.Struct, frozen=True):
    """Status, and the last figures beside it."""

    status: StatusMessage
    health: HealthMessage | None


class LocalReport:
    """A file beside the journal."""

    def __init__(self, journal: Path) -> None:
        self._path = report_path(journal)
        self._health: HealthMessage | None = None
        self._left_at = 0.0
        self._lock = threading.Lock()

    def leave(self, status: StatusMessage) -> None:
        """Write how the device is."""
        temporary = self._path.with_suffix(".new")
        with self._lock:
            self._left_at = time.monotonic()
            try:
                temporary.write_bytes(msgspec.json.encode(Report(status, self._health)))
                os.replace(temporary, self._path)
            except OSError as error:
                # On a full disk the old one stays; the journal is what counts.
                _log.warning("%s: cannot be written: %s", self._path, error.strerror)

    def refresh(self, status: StatusMessage, health: HealthMessage) -> None:
        """Take new figures, and write them now and then."""
        self._health = health
        if time.monotonic() - self._left_at >= _REFRESH_S:
            self.leave(status)


def report_path(journal: Path) -> Path:
    """Where the daemon of a journal leaves its report."""
    return journal.with_name(journal.name + ".status.json")


def read_report(journal: Path) -> Report | None:
    """The report of the daemon of a journal; None: it left none that can be read."""
    try:
        return msgspec.json.decode(report_path(journal).read_bytes(), type=Report)
    except (FileNotFoundError, msgspec.DecodeError):
        # It may have died before it left one, or on a full disk.
        return None
