"""A journal and a clock for the outbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge.journal import Journal
from tests.edge.uplink.clock import Clock


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A new journal."""
    with closing(Journal(tmp_path / "journal.db", "uav-1")) as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()
