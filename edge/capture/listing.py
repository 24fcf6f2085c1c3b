"""Lists a folder tree in name order, cheaply when little has changed, and tells of changes to it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

_log = logging.getLogger(__name__)

# A folder's own modification time changes with every name that comes or goes, in steps of up to two seconds (FAT).
_TIME_STEP_NS = 2_000_000_000
# Files that are rewritten in place do not touch it: now and then everything is listed whatever it says.
_FULL_EVERY = 10


class Listing:
    """The tree below a folder.

    Links are followed, but not to folders of the tree itself, whose files are there under their own names already; each
    folder is entered once in a scan. So no file comes up under two names, and a loop of links ends.
    """

    def __init__(self, root: str, skip: Collection[str]) -> None:
        """
        Args:
            skip: Names directly below the root that are left out, as are all that start with a dot.
        """
        self._root = root
        self._real_root = os.path.realpath(root)
        self._skip = frozenset(os.path.join(root, name) for name in skip)
        self._seen: dict[str, tuple[int, list[str]]] = {}
        self._scans = 0

    def scan(self, below: str | None = None) -> Iterator[str]:
        """Paths of all files in name order; of folders that did not change since they were last listed, none."""
        if below is not None:
            if not self._skipped(below):
                yield from self._folder(below, set(), full=True)
            return
        full = self._scans % _FULL_EVERY == 0
        self._scans += 1
        yield from self._folder(self._root, set(), full=full)

    def watch(self, changed: Callable[[str], None]) -> BaseObserver | None:
        """Call `changed` with the path of every file that was closed after writing or moved in, and of every new folder.

        Returns:
            The running observer, or None where the system cannot watch; then only scans find files.
        """
        from watchdog import events
        from watchdog.observers import Observer

        listing = self
        # Left out of the kernel's queue are the reading and the deletion of every file, by ourselves.
        wanted: list[type[events.FileSystemEvent]] = [
            events.FileCreatedEvent,
            events.FileClosedEvent,
            events.FileMovedEvent,
            events.DirCreatedEvent,
            events.DirMovedEvent,
        ]

        class Handler(events.FileSystemEventHandler):
            def on_any_event(self, event: events.FileSystemEvent) -> None:
                if event.event_type not in {"created", "closed", "moved"}:
                    return
                path = os.fsdecode(event.dest_path if event.event_type == "moved" else event.src_path)
                if path and not listing._skipped(path):
                    changed(path)

        observer = Observer()
        try:
            observer.schedule(Handler(), self._root, recursive=True, event_filter=wanted)
            observer.start()
        except OSError as error:
            _log.warning("%s: cannot be watched (%s): new files are found by listing it again", self._root, error)
            return None
        return observer

    def _skipped(self, path: str) -> bool:
        if any(path == folder or path.startswith(folder + os.sep) for folder in self._skip):
            return True
        return any(part.startswith(".") and part != "." for part in os.path.relpath(path, self._root).split(os.sep))

    def _folder(self, folder: str, entered: set[tuple[int, int]], *, full: bool) -> Iterator[str]:
        if folder != self._root and os.path.islink(folder) and self._is_inside(os.path.realpath(folder)):
            return
        try:
            status = os.stat(folder)
            identity = (status.st_dev, status.st_ino)
            if identity in entered:
                return
            entered.add(identity)
            modified_ns, subfolders = self._seen.get(folder, (-1, []))
            if full or modified_ns != status.st_mtime_ns:
                entries = self._entries(folder)
            else:
                entries = [(path, True) for path in subfolders]
        except OSError as error:
            _log.warning("%a: cannot be listed: %s", folder, error.strerror)
            self._seen.pop(folder, None)
            return
        settled = time.time_ns() - status.st_mtime_ns > _TIME_STEP_NS
        self._seen[folder] = (status.st_mtime_ns if settled else -1, [path for path, is_folder in entries if is_folder])
        for path, is_folder in entries:
            if is_folder:
                yield from self._folder(path, entered, full=full)
            else:
                yield path

    def _is_inside(self, path: str) -> bool:
        return path == self._real_root or path.startswith(self._real_root + os.sep)

    def _entries(self, folder: str) -> list[tuple[str, bool]]:
        """Paths with whether each is a folder, in the order of the paths below them."""
        with os.scandir(folder) as entries:
            found = [(entry.path, _is_folder(entry)) for entry in entries if not entry.name.startswith(".")]
        found = [item for item in found if item[0] not in self._skip]
        return sorted(found, key=lambda item: item[0] + os.sep if item[1] else item[0])


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link to itself, or to where we may not look.
        return False
