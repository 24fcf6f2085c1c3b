"""Frames from a folder and its subfolders: what is there in name order, then what arrives.

Events of the file system say at once that a file was closed or moved in; because events get lost, the folder is also
listed again now and then. Each file is handed out once, also across restarts: the journal knows what was done with it.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.capture.files import OpenedFrame, key_of, read_frame, signature_of
from edge.capture.image import SUFFIXES
from edge.capture.listing import Listing
from edge.capture.times import CaptureTimes
from edge.config import CaptureConfig
from edge.records import FrameKey, Outcome

_log = logging.getLogger(__name__)

DONE = "done"
REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that is ready to be read.

    Attributes:
        may_grow: It was written to so recently that, should it end too early, its rest may still come.
    """

    key: FrameKey
    path: str
    may_grow: bool


@dataclass(slots=True)
class _Waiting:
    """A file that is left alone until it has not changed for `quiet_s`."""

    signature: tuple[int, int]
    since: float
    quiet_s: float


class DirectorySource:
    """The files of one folder, each handed out once.

    One thread iterates over `files`; any thread may `read`, `finish` and `put_back` what it gave.

    Attributes:
        live: Whether only the newest frame counts. Files wait in line until they are worked off.
    """

    live = False

    def __init__(
        self, config: CaptureConfig, outcome_of: Callable[[FrameKey], Outcome | None], times: CaptureTimes | None = None
    ) -> None:
        """
        Args:
            times: Says when a frame was taken; None: as the configuration has it.

        Raises:
            ConfigError: `capture.name_time` is no format of a time.
        """
        self._config = config
        self._times = CaptureTimes(config.name_time) if times is None else times
        self._root = os.path.abspath(config.source)
        self._outcome_of = outcome_of
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopped = False
        self._in_flight: dict[str, tuple[int, int]] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._changed: deque[str] = deque()
        # Change times of files that the system refused to read: another try waits until something changed.
        self._refused: dict[str, int] = {}
        self._listing = Listing(self._root, skip=(DONE, REJECTED))

    def files(self, *, once: bool) -> Iterator[FoundFile]:
        """Give every file that was not dealt with before.

        Args:
            once: End when all that is there has been dealt with, instead of watching on.
        """
        if not self._await_folder():
            return
        observer = None if once else self._listing.watch(self._on_change)
        try:
            next_scan = 0.0
            while not self._stopped:
                self._wake.clear()
                if self._stopped:
                    return
                if time.monotonic() >= next_scan:
                    for path in self._listing.scan():
                        yield from self._offer(path)
                        if self._stopped:
                            return
                    next_scan = time.monotonic() + self._config.rescan_s
                yield from self._changes()
                with self._lock:
                    if once and not self._waiting and not self._in_flight:
                        return
                self._wake.wait(self._pause(next_scan))
        finally:
            if observer is not None:
                observer.stop()
                observer.join(1.0)

    def stop(self) -> None:
        """End `files` soon, from any thread or signal handler."""
        self._stopped = True
        self._wake.set()

    def read(self, found: FoundFile) -> OpenedFrame:
        """Read a file; its pixels are decoded later.

        Raises:
            FileChangedError: It is not the file that was listed any more.
            IncompleteImageError: It ends too early.
            ImageError: It is no image that can be used.
            OSError: The system does not let it be read.
        """
        return read_frame(found.path, found.key, self._config, self._times)

    def finish(self, found: FoundFile, outcome: Outcome) -> None:
        """Do with a file what ``capture.after`` says. Call it once its outcome is in the journal."""
        if outcome == "unavailable":
            self._remember_refusal(found.path)
        self._apply_after(found, outcome)
        with self._lock:
            self._land(found)
        self._wake.set()

    def put_back(self, found: FoundFile) -> None:
        """Offer a file again when it has not changed for a while: it was incomplete, or changed while it was read."""
        waiting = _Waiting((found.key.size_bytes, found.key.modified_ns), time.monotonic(), self._config.incomplete_s)
        with self._lock:
            self._land(found)
            self._waiting[found.path] = waiting
        self._wake.set()

    def release(self, found: FoundFile) -> None:
        """Forget a file that vanished before it was read."""
        with self._lock:
            self._land(found)
        self._wake.set()

    def _land(self, found: FoundFile) -> None:
        """Take a file out of those in flight, unless a newer version of it is."""
        if self._in_flight.get(found.path) == (found.key.size_bytes, found.key.modified_ns):
            del self._in_flight[found.path]

    def _await_folder(self) -> bool:
        """Wait for the folder to exist, said once. False: stopped before."""
        if not os.path.isdir(self._root):
            _log.warning("%s does not exist yet: waiting for it", self._root)
        while not os.path.isdir(self._root):
            self._wake.wait(1.0)
            if self._stopped:
                return False
        return True

    def _on_change(self, path: str) -> None:
        self._changed.append(path)
        self._wake.set()

    def _changes(self) -> Iterator[FoundFile]:
        """Files that an event named, and waiting files whose time has come."""
        while self._changed and not self._stopped:
            path = self._changed.popleft()
            for file in self._listing.scan(path) if os.path.isdir(path) else (path,):
                yield from self._offer(file)
                if self._stopped:
                    return
        now = time.monotonic()
        with self._lock:
            due = [path for path, file in self._waiting.items() if now >= file.since + min(file.quiet_s, self._config.settle_s)]
        for path in sorted(due):
            if self._stopped:
                return
            yield from self._offer(path)

    def _pause(self, next_scan: float) -> float:
        """Seconds until there is something to do without an event."""
        with self._lock:
            looks = [file.since + file.quiet_s for file in self._waiting.values()]
        step = self._config.settle_s if looks else self._config.rescan_s
        return max(0.0, min([next_scan, *looks, time.monotonic() + step]) - time.monotonic())

    def _offer(self, path: str) -> Iterator[FoundFile]:
        """The file, if it is complete and was not dealt with before."""
        if os.path.splitext(path)[1].lower() not in SUFFIXES or os.path.basename(path).startswith("."):
            return
        try:
            status = os.stat(path)
        except OSError as error:
            with self._lock:
                self._waiting.pop(path, None)
            _log.info("%a: passed over: %s", path, error.strerror)
            return
        signature = signature_of(status)
        if not stat.S_ISREG(status.st_mode) or self._in_flight.get(path) == signature:
            self._forget_waiting(path)
            return
        key = key_of(path, self._root, status)
        outcome = self._outcome_of(key)
        if outcome is None or (outcome == "unavailable" and self._refused.get(path) != status.st_ctime_ns):
            found = self._settled(path, key)
            if found is not None:
                yield found
        else:
            self._forget_waiting(path)
        if outcome in {"observed", "rejected"}:
            # A power cut can come between the journal and the move: what was recorded then is moved now.
            self._apply_after(FoundFile(key, path, may_grow=False), outcome)

    def _forget_waiting(self, path: str) -> None:
        with self._lock:
            self._waiting.pop(path, None)

    def _settled(self, path: str, key: FrameKey) -> FoundFile | None:
        """The file if it has been left alone for long enough, by the clock of the file system or by our own."""
        signature = (key.size_bytes, key.modified_ns)
        age_s = time.time() - key.modified_ns / 1e9
        now = time.monotonic()
        with self._lock:
            waiting = self._waiting.get(path)
            if waiting is None and age_s >= self._config.settle_s:
                self._in_flight[path] = signature
                return FoundFile(key, path, may_grow=age_s < self._config.incomplete_s)
            if waiting is None or waiting.signature != signature:
                self._waiting[path] = _Waiting(signature, now, self._config.settle_s)
                return None
            if now - waiting.since < waiting.quiet_s:
                return None
            del self._waiting[path]
            self._in_flight[path] = signature
            return FoundFile(key, path, may_grow=waiting.quiet_s < self._config.incomplete_s)

    def _remember_refusal(self, path: str) -> None:
        try:
            self._refused[path] = os.stat(path).st_ctime_ns
        except OSError:
            self._refused.pop(path, None)

    def _apply_after(self, found: FoundFile, outcome: Outcome) -> None:
        after = self._config.after
        if after == "keep" or (after == "delete" and outcome != "observed"):
            return
        try:
            status = os.lstat(found.path)
            expected = (found.key.size_bytes, found.key.modified_ns)
            if not stat.S_ISLNK(status.st_mode) and signature_of(status) != expected:
                return
            if after == "delete":
                os.unlink(found.path)
            else:
                _move(found.path, os.path.join(self._root, DONE if outcome == "observed" else REJECTED), self._root)
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("%a: cannot %s: %s", found.path, after, error.strerror)


def _move(path: str, folder: str, root: str) -> None:
    """Move a file below another folder, with its path below the root; a file of that name there is not overwritten."""
    target = Path(folder, os.path.relpath(path, root))
    target.parent.mkdir(parents=True, exist_ok=True)
    free = target
    number = 0
    while os.path.lexists(free):
        number += 1
        free = target.with_name(f"{target.stem}-{number}{target.suffix}")
    os.rename(path, free)
