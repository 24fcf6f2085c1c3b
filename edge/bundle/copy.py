"""Copies a bundle: only what its manifest names, checked while it is copied, and on the disk before anybody relies on it."""

from __future__ import annotations

import os
from pathlib import Path

from edge.bundle.durable import FILE_MODE, FOLDER_MODE, sync_folder
from edge.bundle.files import read_checked
from edge.bundle.header import Header
from edge.bundle.limits import SPARE_BYTES
from edge.bundle.manifest import MANIFEST, SIGNATURE, BundleError

_BLOCK_BYTES = 4096


def check_room(header: Header, folder: Path) -> None:
    """See that a bundle fits on the disk, before anything is copied.

    Raises:
        BundleError: It does not.
    """
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    needed = header.manifest.total_bytes + (len(header.manifest.files) + 2) * _BLOCK_BYTES + SPARE_BYTES
    if needed > free:
        raise BundleError(f"needs {needed / 1e6:.1f} MB on the disk of {folder}, which has {free / 1e6:.1f} MB left")


def copy_bundle(source: int, header: Header, target: Path) -> None:
    """Copy a bundle into a new folder.

    Args:
        source: A descriptor of the bundle's folder.

    Raises:
        BundleError: A file is not the one that the manifest names.
        OSError: The copy cannot be written.
    """
    target.mkdir()
    for name, entry in header.manifest.files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        with (target / name).open("xb") as file:
            read_checked(source, name, entry, file.write)
    (target / MANIFEST).write_bytes(header.content)
    if header.signature is not None:
        (target / SIGNATURE).write_bytes(header.signature)
    _settle(target)


def _settle(target: Path) -> None:
    """Have every file and every name of a folder on the disk, for all to read."""
    for folder, _, names in os.walk(target, topdown=False):
        for name in names:
            descriptor = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fchmod(descriptor, FILE_MODE)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        os.chmod(folder, FOLDER_MODE)
        sync_folder(Path(folder))
