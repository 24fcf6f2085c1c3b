"""A store, and bundles to install into it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.bundle import Store
from tests.edge.bundle.bundles import write_bundle


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store, which is not there yet."""
    return Store(tmp_path / "store", lock_s=5)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Writes bundles of the name and version that are asked for."""

    def make(version: int = 1, name: str = "town", **changes: Any) -> Path:
        folder = tmp_path / "made" / f"{name}-{version}-{len(list(tmp_path.glob('made/*')))}"
        return write_bundle(folder, name=name, version=version, **changes)

    return make
