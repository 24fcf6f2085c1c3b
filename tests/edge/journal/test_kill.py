"""Whenever the process is killed that records and delivers: what was acknowledged is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT


@pytest.mark.parametrize("count", [20, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
def test_killed_at_random_moments_of_recording_and_delivering(tmp_path: Path, count: int) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "tests.edge.journal.killed", tmp_path, str(count)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    seen: dict[str, int] = json.loads(finished.stdout)
    assert seen["killed"] == count
    # The moments were such ones: most came in the midst of something, after something was there.
    assert seen["in the midst"] > count / 4, seen
    assert seen["alerts"] > count, seen
