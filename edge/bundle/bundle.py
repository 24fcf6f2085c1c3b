"""Opens a bundle: every file is read once, after its size, and used only after its hash."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from edge.bundle.manifest import MANIFEST, MAX_MANIFEST_BYTES, BundleError, FileEntry, Manifest, parse_manifest
from edge.records import ModelName

SHIPPED = Path(__file__).parent / "terrain-damage"


class Bundle:
    """A model package whose files were found to be those that its manifest names.

    Attributes:
        path: The folder.
        model: Name, version and the manifest's hash.
    """

    def __init__(self, path: Path, manifest: Manifest, sha256: str) -> None:
        self.path = path
        self.manifest = manifest
        self.model = ModelName(manifest.name, manifest.version, sha256)

    @classmethod
    def open(cls, path: Path | str = SHIPPED) -> Bundle:
        """Open a bundle and check all of its files.

        Raises:
            BundleError: It is missing, incomplete, altered or not a bundle.
        """
        folder = Path(path)
        try:
            content = _read_regular(folder / MANIFEST, MAX_MANIFEST_BYTES)
            manifest = parse_manifest(content)
            for name, entry in manifest.files.items():
                _checked(folder, name, entry)
        except BundleError as error:
            raise BundleError(f"bundle {folder}: {error}") from error
        return cls(folder, manifest, hashlib.sha256(content).hexdigest())

    def read(self, name: str) -> bytes:
        """The bytes of a file that the manifest names, checked again: what was verified is what is used.

        Raises:
            BundleError: The manifest does not name it, or it is not the file that the manifest names.
        """
        try:
            return _checked(self.path, name, self.manifest.files[name])
        except KeyError:
            raise BundleError(f"bundle {self.path}: the manifest names no {name}") from None
        except BundleError as error:
            raise BundleError(f"bundle {self.path}: {error}") from error

    def has(self, name: str) -> bool:
        """Whether the manifest names a file."""
        return name in self.manifest.files


def _checked(folder: Path, name: str, entry: FileEntry) -> bytes:
    content = _read_regular(folder / name, entry.bytes)
    if len(content) != entry.bytes:
        raise BundleError(f"{name} has {len(content)} bytes, the manifest says {entry.bytes}")
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise BundleError(f"{name} is altered: its SHA-256 is not the manifest's")
    return content


def _read_regular(path: Path, limit: int) -> bytes:
    """Read a file that is no link, device or pipe, and no longer than `limit` bytes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise BundleError(f"{path.name} is missing") from None
    except OSError as error:
        raise BundleError(f"{path.name} cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{path.name} is not a regular file")
        if status.st_size > limit:
            raise BundleError(f"{path.name} has {status.st_size} bytes, at most {limit} are allowed")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(limit + 1)
    except OSError as error:
        raise BundleError(f"{path.name} cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
