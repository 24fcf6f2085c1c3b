"""Wherever a crash, a power cut or a failing disk meets the journal: what it acknowledged is there, once, and it goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

SHARES = [pytest.param(True, marks=[pytest.mark.long, pytest.mark.timeout(900)], id="all"), pytest.param(False, id="some")]


def run(faults: Path, folder: Path, mode: str, share: int) -> subprocess.CompletedProcess[str]:
    """Run `tests.edge.journal.crashes`, with each `share`-th of its crashes."""
    return subprocess.run(
        [sys.executable, "-m", "tests.edge.journal.crashes", mode, folder, str(share)],
        cwd=PROJECT,
        env=os.environ | {"LD_PRELOAD": str(faults)},
        capture_output=True,
        text=True,
        check=False,
    )


def crash(faults: Path, folder: Path, mode: str, share: int = 1) -> dict[str, int]:
    """What `tests.edge.journal.crashes` saw, which looks after each crash itself."""
    finished = run(faults, folder, mode, share)
    assert finished.returncode == 0, finished.stderr
    seen: dict[str, int] = json.loads(finished.stdout)
    return seen


def test_the_trace_has_all_that_the_journal_writes(faults: Path, tmp_path: Path) -> None:
    # The program has made the files anew from the trace and found the same bytes on the disk.
    seen = crash(faults, tmp_path, "trace")
    assert min(seen["SYNC"], seen["UNLINK"], seen["CREATE"]) >= 5, seen
    assert seen["WRITE"] > 200, seen


@pytest.mark.parametrize("everywhere", SHARES)
def test_killed_at_every_call(faults: Path, tmp_path: Path, everywhere: bool) -> None:
    seen = crash(faults, tmp_path, "kill", 1 if everywhere else 4)
    assert seen["killed"] > 250, seen
    assert seen["torn"] > 50, seen


@pytest.mark.parametrize("everywhere", SHARES)
def test_the_power_is_cut_at_every_call(faults: Path, tmp_path: Path, everywhere: bool) -> None:
    seen = crash(faults, tmp_path, "power", 1 if everywhere else 3)
    assert min(seen["some"], seen["torn"]) > 100, seen
    assert seen["without names, without data"] >= 40, seen


def test_the_power_is_cut_on_the_first_start(faults: Path, tmp_path: Path) -> None:
    seen = crash(faults, tmp_path, "power on the first start", 3)
    assert min(seen["some"], seen["torn"]) > 20, seen


def test_a_journal_whose_syncs_did_nothing_would_be_found_out(faults: Path, tmp_path: Path) -> None:
    finished = run(faults, tmp_path, "power without syncs", 1)
    assert finished.returncode == 1
    assert "AssertionError: power cut after call" in finished.stderr


@pytest.mark.parametrize("everywhere", SHARES)
def test_every_call_fails_for_a_while(faults: Path, tmp_path: Path, everywhere: bool) -> None:
    seen = crash(faults, tmp_path, "errors", 1 if everywhere else 13)
    assert seen["failed"] > 100, seen
    # The others failed where SQLite can do without: at a checkpoint, or when a file is removed.
    assert seen["refused"] > seen["failed"] / 2, seen


@pytest.mark.parametrize("everywhere", SHARES)
def test_the_power_is_cut_after_a_sync_that_failed(faults: Path, tmp_path: Path, everywhere: bool) -> None:
    seen = crash(faults, tmp_path, "power after an error", 1 if everywhere else 200)
    assert min(seen["some"], seen["torn"]) > 100, seen
