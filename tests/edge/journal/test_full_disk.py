"""A disk that is full for a while: what was acknowledged is there, what was refused is not, and it goes on with room."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT
from tests.edge.journal.full import begin_on_a_full_disk, make_room_while_closed, make_room_while_open

OnASmallDisk = Callable[[Callable[[str], dict[str, Any]]], dict[str, Any]]


@pytest.fixture
def on_a_small_disk(tmp_path: Path) -> OnASmallDisk:
    """Runs a function of `full` in a child whose folder is a disk of 1 MiB, which no other process sees."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"'
    ways = (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"])
    permitted = [
        way
        for way in ways
        if shutil.which(way[0])
        and subprocess.run([*way, "sh", "-c", mount, folder, "true"], capture_output=True, check=False).returncode == 0
    ]
    if not permitted:
        reason = "neither unshare --mount nor unshare --user --mount may mount a tmpfs here"
        if os.environ.get("CI"):
            pytest.fail(f"CI must have this: {reason}")
        pytest.skip(reason)

    def run(function: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        command = [
            *permitted[0],
            "sh",
            "-c",
            mount,
            str(folder),
            sys.executable,
            "-m",
            "tests.edge.journal.full",
            function.__name__,
            folder,
        ]
        result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        facts: dict[str, Any] = json.loads(result.stdout)
        return facts

    return run


def test_a_full_disk_refuses_a_frame_and_takes_it_when_there_is_room(on_a_small_disk: OnASmallDisk) -> None:
    facts = on_a_small_disk(make_room_while_open)
    kept = len(facts["acknowledged"]) - 2
    full, marked = facts["full"], facts["marked"]

    assert kept > 10
    assert "journal.db: database or disk is full" in facts["reason"]
    # On the full disk: what was acknowledged is there and can be read, what was refused is not.
    assert (full["last_sequence"], full["waiting"]) == (kept, kept)
    assert full["sequences"] == list(range(1, kept + 1))
    assert (full["outcome_of_kept"], full["outcome_of_refused"]) == ("observed", None)
    assert full["deliver"] == "full"
    assert full["waiting_after_deliver"] == kept - marked
    assert full["sequences_after_deliver"] == list(range(marked + 1, kept + 1))
    # With room again: no gap, nothing lost, nothing twice.
    assert facts["added"] == 1
    assert facts["last_sequence"] == kept + 2
    assert facts["waiting"] == list(range(marked + 2, kept + 3))
    assert facts["names"] == facts["acknowledged"][marked + 1 :]
    assert set(facts["outcomes"]) == {"observed"}
    assert facts["same_id"]


def test_a_journal_that_is_closed_on_a_full_disk_loses_nothing(on_a_small_disk: OnASmallDisk) -> None:
    facts = on_a_small_disk(make_room_while_closed)

    assert len(facts["acknowledged"]) > 10
    # Whether SQLite can open it there is its own affair, as long as it says so.
    assert facts["opened_full"] == "worked" or "journal.db: " in facts["opened_full"]
    assert facts["names"] == facts["acknowledged"]
    assert facts["waiting"] == list(range(1, len(facts["names"]) + 1))


def test_a_journal_can_begin_once_there_is_room(on_a_small_disk: OnASmallDisk) -> None:
    facts = on_a_small_disk(begin_on_a_full_disk)

    assert "journal.db: " in facts["reason"]
    assert (facts["names"], facts["waiting"]) == (["after"], [1])
