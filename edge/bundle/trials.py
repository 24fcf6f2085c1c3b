"""How bundles did in service, by the digest of their manifest: which have proved themselves, and which ended with the process.

A model that has the process killed cannot be left in flight; the next start has to know what happened in the ones before.
"""

from __future__ import annotations

import re
from pathlib import Path

from edge.bundle.durable import make_folder, replace_file, sync_folder
from edge.bundle.limits import MAX_TRIALS

_PASSED = "passed\n"
_BEGUN = re.compile(r"begun ([1-9][0-9]{0,3})\n")
_MAX_BYTES = 32


class Trials:
    """A folder with a file for each bundle that was on trial. Only the process that serves writes it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has_passed(self, digest: str) -> bool:
        """Whether a bundle has proved itself on live frames.

        Args:
            digest: SHA-256 of its manifest, in hexadecimal.
        """
        return self._read(digest) == _PASSED

    def unfinished(self, digest: str) -> int:
        """How many trials of a bundle were begun and came to no end, because the process did."""
        begun = _BEGUN.fullmatch(self._read(digest))
        return int(begun[1]) if begun else 0

    def begin(self, digest: str) -> None:
        """Remember that a trial begins.

        Raises:
            OSError: It cannot be written; nor can what the others write.
        """
        self._write(digest, f"begun {self.unfinished(digest) + 1}\n")
        by_age = sorted(self._folder.iterdir(), key=lambda file: file.lstat().st_mtime_ns)
        for file in by_age[:-MAX_TRIALS]:
            file.unlink()

    def interrupt(self, digest: str) -> None:
        """Take a beginning back: the process is stopped, which is no fault of the bundle."""
        begun = self.unfinished(digest) - 1
        if begun > 0:
            self._write(digest, f"begun {begun}\n")
        else:
            self.forget(digest)

    def succeed(self, digest: str) -> None:
        """Remember that a bundle has proved itself."""
        self._write(digest, _PASSED)

    def forget(self, digest: str) -> None:
        """Let the next trial be the first one."""
        if self._folder.is_dir():
            (self._folder / digest).unlink(missing_ok=True)
            sync_folder(self._folder)

    def _read(self, digest: str) -> str:
        try:
            with (self._folder / digest).open("rb") as file:
                return file.read(_MAX_BYTES).decode(errors="replace")
        except OSError:
            # Nothing is known of it: it has to prove itself.
            return ""

    def _write(self, digest: str, content: str) -> None:
        make_folder(self._folder)
        replace_file(self._folder / digest, content.encode(), self._folder / "new")
