"""How files of a stranger are read: regular files only, no link on any part of the way, never more than was announced.

Paths are walked folder by folder from one that is open (openat), so nothing that is swapped meanwhile leads elsewhere.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edge.bundle.limits import READ_BYTES
from edge.bundle.manifest import BundleError, FileEntry
from edge.text import one_line

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@contextmanager
def open_folder(path: Path) -> Iterator[int]:
    """Open a folder that the caller trusts to be where it is; its own path may hold links.

    Raises:
        OSError: There is none.
    """
    descriptor = os.open(path, _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def open_subfolder(folder: int, name: str) -> Iterator[int]:
    """Open a folder in an open one, where no link leads to it.

    Raises:
        OSError: There is none.
    """
    if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        raise OSError(errno.ELOOP, f"{name} is a link")
    descriptor = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_bounded(folder: int, name: str, limit: int) -> bytes:
    """The bytes of a file below an open folder, `limit` at most.

    Raises:
        BundleError: It is missing, no regular file, reached by a link, longer, or cannot be read.
    """
    with _open_file(folder, name) as (descriptor, size):
        if size > limit:
            raise BundleError(f"{name} has {size} bytes, at most {limit} are allowed")
        content = b"".join(_pieces(descriptor, name, limit + 1))
    if len(content) > limit:
        raise BundleError(f"{name} grew beyond {limit} bytes while it was read")
    return content


def read_checked(folder: int, name: str, entry: FileEntry, take: Callable[[bytes], object]) -> None:
    """Hand a file that a manifest names on, piece by piece; only when this returns was it found to be that file.

    Raises:
        BundleError: As in `read_bounded`, or its size or hash is not the manifest's.
    """
    digest, length = hashlib.sha256(), 0
    with _open_file(folder, name) as (descriptor, size):
        if size != entry.bytes:
            raise BundleError(f"{name} has {size} bytes, the manifest says {entry.bytes}")
        for piece in _pieces(descriptor, name, entry.bytes):
            digest.update(piece)
            length += len(piece)
            take(piece)
    if length != entry.bytes:
        raise BundleError(f"{name} has {length} bytes, the manifest says {entry.bytes}")
    if digest.hexdigest() != entry.sha256:
        raise BundleError(f"{name} is altered: its SHA-256 is not the manifest's")


@contextmanager
def _open_file(folder: int, name: str) -> Iterator[tuple[int, int]]:
    """Open a regular file below an open folder; yields its descriptor and its size in bytes."""
    *parents, last = name.split("/")
    with ExitStack() as opened:
        try:
            for parent in parents:
                folder = opened.enter_context(open_subfolder(folder, parent))
            # Looked at before it is opened: some devices do something when they are.
            _check_regular(os.stat(last, dir_fd=folder, follow_symlinks=False), name)
            descriptor = os.open(last, _FILE, dir_fd=folder)
            opened.callback(os.close, descriptor)
            status = os.fstat(descriptor)
        except FileNotFoundError:
            raise BundleError(f"{name} is missing") from None
        except OSError as error:
            raise BundleError(f"{name} cannot be read: {one_line(error)}") from error
        _check_regular(status, name)
        yield descriptor, status.st_size


def _check_regular(status: os.stat_result, name: str) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise BundleError(f"{name} is a link")
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"{name} is not a regular file")


def _pieces(descriptor: int, name: str, limit: int) -> Iterator[bytes]:
    """What a file holds, `limit` bytes at most."""
    left = limit
    while left:
        try:
            piece = os.read(descriptor, min(left, READ_BYTES))
        except OSError as error:
            # A stick that was pulled, or is worn out.
            raise BundleError(f"{name} cannot be read: {one_line(error)}") from error
        if not piece:
            return
        left -= len(piece)
        yield piece
