"""Bundles that failed, by the digest of their manifest: what did not work once is not tried again."""

from __future__ import annotations

import re
from pathlib import Path

from edge.bundle.durable import make_folder, replace_file
from edge.bundle.limits import MAX_REASON_LETTERS, MAX_REFUSALS
from edge.bundle.manifest import BundleError
from edge.text import one_line, printable

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Refusals:
    """A folder with a file for each bundle that failed, named by its digest; the file says why.

    An operator who knows better removes the file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def reason(self, digest: str) -> str | None:
        """Why a bundle is refused, in one line; None: it is not.

        Args:
            digest: SHA-256 of its manifest, in hexadecimal.
        """
        try:
            with self._file(digest).open("rb") as file:
                content = file.read(4 * MAX_REASON_LETTERS)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return f"the reason cannot be read: {one_line(error)}"
        return _line(content.decode(errors="replace")) or "no reason was left"

    def add(self, digest: str, reason: str, temporary: Path) -> None:
        """Remember that a bundle failed; the oldest refusals are forgotten beyond `MAX_REFUSALS`.

        Raises:
            OSError: It cannot be written.
        """
        make_folder(self.folder)
        replace_file(self._file(digest), f"{_line(reason)}\n".encode(), temporary)
        by_age = sorted(self.folder.iterdir(), key=lambda file: file.lstat().st_mtime_ns)
        for file in by_age[:-MAX_REFUSALS]:
            file.unlink()

    def _file(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise BundleError(f"{digest[:80]!a} is no SHA-256 of a manifest, expected 64 hexadecimal digits")
        return self.folder / digest


def _line(text: str) -> str:
    return printable(" ".join(text.split()))[:MAX_REASON_LETTERS]
