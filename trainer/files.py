"""How the trainer writes: complete or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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

    Raises:
        OSError: It cannot be written; an old target is still there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
        folder = Path(temporary) / "new"
        folder.mkdir()
        yield folder
        for path in (*folder.rglob("*"), folder):
            _sync(path)
        if target.exists():
            # Kept until the new one is in its place.
            os.rename(target, Path(temporary) / "old")
        try:
            os.rename(folder, target)
        except OSError:
            if (Path(temporary) / "old").exists():
                os.rename(Path(temporary) / "old", target)
            raise
        _sync(target.parent)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
