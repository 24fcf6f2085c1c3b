"""Whatever ends a process that changes the store, and whenever: a whole bundle serves, the one from before or the one after."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT


def kill(mode: str, folder: Path, count: int) -> dict[str, int]:
    """Have processes killed by `tests.edge.bundle.killed`, which looks after each; returns what it saw."""
    finished = subprocess.run(
        [sys.executable, "-m", "tests.edge.bundle.killed", mode, folder, str(count)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    seen: dict[str, int] = json.loads(finished.stdout)
    return seen


@pytest.mark.timeout(300)
def test_killed_at_500_random_moments_of_install_activate_and_rollback(tmp_path: Path) -> None:
    seen = kill("random", tmp_path, 500)
    assert seen["killed"] == 500
    # The moments were such ones: something lay half done, and changes were caught before and after they came into force.
    assert min(seen["half done"], seen["before"], seen["after"]) >= 5, seen


@pytest.mark.timeout(300)
def test_killed_before_every_single_step_of_every_change(tmp_path: Path) -> None:
    seen = kill("step", tmp_path, 0)
    assert seen["killed"] > 400, seen
    assert min(seen["half done"], seen["before"]) > 200, seen
    assert seen["after"] >= 10, seen
