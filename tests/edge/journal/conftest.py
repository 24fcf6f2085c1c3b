"""What the tests of the journal need: a new one, and faults.c, compiled."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge.journal import Journal
from tests.conftest import _skip_or_fail


@pytest.fixture(scope="session")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that stands between a program and its disk."""
    if shutil.which("cc") is None:
        _skip_or_fail("there is no C compiler (apt-get install gcc libc6-dev)")
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source], check=True)
    return library


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a journal goes; nothing is there yet."""
    return tmp_path / "state" / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    """A new journal."""
    with closing(Journal(path, "uav-1")) as opened:
        yield opened
