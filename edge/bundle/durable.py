"""How the store writes: what it replaces is the old thing or the new one at any moment, also after a power cut."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

# Root installs, and the daemon of another user reads.
FILE_MODE, FOLDER_MODE = 0o644, 0o755


def make_folder(folder: Path) -> None:
    """Make a folder that all can read, and those above it, for the owner of what is above; nothing where it is there.

    Raises:
        OSError: It cannot be made.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(FOLDER_MODE)
        if os.geteuid() == 0:
            above = folder.parent.stat()
            os.chown(folder, above.st_uid, above.st_gid)
    sync_folder(folder.parent)


def give_to_owner(folder: Path) -> None:
    """After root has changed a folder of another user's, let everything in it belong to that user again.

    Raises:
        OSError: It cannot be given.
    """
    owner = folder.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    for path in folder.rglob("*"):
        if path.lstat().st_uid == 0:
            os.lchown(path, owner.st_uid, owner.st_gid)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes, temporary: Path) -> None:
    """Write a file.

    Args:
        temporary: Where it is written first, on the same file system.

    Raises:
        OSError: It cannot be written; an old one is still there.
    """
    temporary.unlink(missing_ok=True)
    with temporary.open("xb") as file:
        os.fchmod(file.fileno(), FILE_MODE)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def replace_link(path: Path, target: str, temporary: Path) -> None:
    """Let a link lead elsewhere.

    Args:
        temporary: Where it is made first, in the same folder.

    Raises:
        OSError: It cannot be made; an old one is still there.
    """
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    os.replace(temporary, path)
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it.

    Raises:
        OSError: It cannot be removed.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
