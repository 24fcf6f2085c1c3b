"""Who has a journal open: one process at a time."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from edge.journal.errors import JournalError
from edge.text import printable

_TRIES = 4
_PAUSE_S = 0.05
_CLOSED = b"closed\n"


class Owner:
    """The lock that says that this process owns a journal. It ends with the process, however that ends."""

    def __init__(self, journal: Path) -> None:
        """Take it; the folder is made where there is none.

        Raises:
            JournalError: Another daemon has the journal open, or its folder cannot be made.
        """
        try:
            _make_folder(journal.parent)
            self._descriptor = os.open(f"{journal}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise JournalError(f"journal {journal}: cannot be opened: {error.strerror}") from error
        try:
            self._take(journal)
            self.was_closed = os.pread(self._descriptor, 32, 0) in {_CLOSED, b""}
            self._write(f"{os.getpid()}\n".encode())
        except BaseException:
            os.close(self._descriptor)
            raise

    def _take(self, journal: Path) -> None:
        for attempt in range(_TRIES):
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                # Somebody who asks for the status holds it for an instant; a daemon holds it longer.
                if attempt + 1 < _TRIES:
                    time.sleep(_PAUSE_S)
                    continue
                owner = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
                raise JournalError(
                    f"journal {journal}: another daemon has it open (process {printable(owner) or 'unknown'})"
                ) from error

    def _write(self, content: bytes) -> None:
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, content, 0)
        except OSError:
            # On a full disk nobody is named; the lock holds all the same.
            return

    def close(self, *, well: bool) -> None:
        """Let go of it.

        Args:
            well: The journal was closed as it should be: the next one who opens it need not look for damage.
        """
        if well:
            self._write(_CLOSED)
        os.close(self._descriptor)


def is_open(path: Path | str) -> bool:
    """Whether a daemon has the journal open now.

    Raises:
        JournalError: Its lock cannot be looked at.
    """
    try:
        with open(f"{path}.lock", "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        raise JournalError(f"journal {path}: cannot be looked at: {error.strerror}") from error
    return False


def sync_folder(folder: Path) -> None:
    """Have the name of a new file in its folder, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_folder(folder: Path) -> None:
    """Make a folder, and those above it, so that a power cut does not take it with what will lie in it."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
    sync_folder(folder.parent)
