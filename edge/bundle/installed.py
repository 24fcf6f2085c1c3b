"""A bundle that lies in a store, as far as the name of its folder tells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edge.records import ModelName

_DIGITS = 12
_DIRECTORY = re.compile(rf"([a-z0-9][a-z0-9-]{{0,63}})-([1-9][0-9]{{0,9}})-([0-9a-f]{{{_DIGITS}}})")


@dataclass(frozen=True, slots=True)
class Installed:
    """A bundle in a store.

    Attributes:
        path: Its folder.
        digest: The first 12 digits of the SHA-256 of its manifest.
    """

    path: Path
    name: str
    version: int
    digest: str

    @classmethod
    def parse(cls, path: Path) -> Installed | None:
        """Read the name of a folder; None: it is none that a store gives."""
        match = _DIRECTORY.fullmatch(path.name)
        return cls(path, match[1], int(match[2]), match[3]) if match else None

    @classmethod
    def place(cls, folder: Path, model: ModelName) -> Installed:
        """Where a bundle lies in a folder of bundles."""
        digest = model.sha256[:_DIGITS]
        return cls(folder / f"{model.name}-{model.version}-{digest}", model.name, model.version, digest)
