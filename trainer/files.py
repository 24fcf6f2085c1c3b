"""How the trainer writes: complete or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

_WRITING = ".writing-"


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that at any moment there is the old one or the new one, also after a power cut.

    Raises:
        OSError: It cannot be written; the old one is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """A folder to write into, which takes the target's place when all went well and is gone if not.

    What a process that was killed left beside the target is cleared away.

    Raises:
        OSError: It cannot be written; an old target is still there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _clear_wrecks(target)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}{_WRITING}") as name, _locked(Path(name)):
        folder, old = Path(name) / "new", Path(name) / "old"
        folder.mkdir()
        yield folder
        for path in (*folder.rglob("*"), folder):
            _sync(path)
        try:
            if target.exists():
                # Kept until the new one is in its place.
                os.rename(target, old)
            os.rename(folder, target)
        except BaseException:
            # Also where a signal ends the process here.
            if old.exists() and not target.exists():
                os.rename(old, target)
            raise
        _sync(target.parent)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _clear_wrecks(target: Path) -> None:
    """Remove what processes left that were killed while they wrote a target, and put back the old one if it was away."""
    for wreck in target.parent.glob(f".{escape(target.name)}{_WRITING}????????"):
        with suppress(BlockingIOError, FileNotFoundError, NotADirectoryError), _locked(wreck):
            if (wreck / "old").exists() and not target.exists():
                os.rename(wreck / "old", target)
            shutil.rmtree(wreck)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which ends with its process.

    Raises:
        BlockingIOError: Another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
