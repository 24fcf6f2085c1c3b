"""One at a time: a lock that ends with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.bundle.manifest import BundleError

_LOOK_S = 0.02


@contextmanager
def locked(folder: Path, wait_s: float) -> Iterator[None]:
    """Hold the lock of a folder.

    Raises:
        BundleError: Another process held it for longer than `wait_s`.
        OSError: There is no such folder.
    """
    # Of the folder itself: a file would belong to whoever came first, and root must not shut the daemon's user out.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + wait_s
        while not _is_taken(descriptor):
            if time.monotonic() >= deadline:
                raise BundleError(f"{folder}: another process is at work there")
            time.sleep(_LOOK_S)
        yield
    finally:
        os.close(descriptor)


def _is_taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
