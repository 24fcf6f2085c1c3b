"""What is known of bundles in service outlasts the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.bundle import Trials
from edge.bundle.limits import MAX_TRIALS

DIGEST, OTHER = "1" * 64, "2" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "trials"


def test_of_a_bundle_that_was_never_on_trial_nothing_is_known(folder: Path) -> None:
    trials = Trials(folder)
    assert not trials.has_passed(DIGEST)
    assert trials.unfinished(DIGEST) == 0
    trials.forget(DIGEST)
    assert not folder.exists()


def test_trials_that_came_to_no_end_are_counted_by_whoever_comes_next(folder: Path) -> None:
    for begun in (1, 2, 3):
        Trials(folder).begin(DIGEST)
        assert Trials(folder).unfinished(DIGEST) == begun
    assert Trials(folder).unfinished(OTHER) == 0


def test_trial_that_is_interrupted_does_not_count(folder: Path) -> None:
    trials = Trials(folder)
    trials.begin(DIGEST)
    trials.interrupt(DIGEST)
    assert trials.unfinished(DIGEST) == 0
    assert list(folder.iterdir()) == []
    trials.begin(DIGEST)
    trials.begin(DIGEST)
    trials.interrupt(DIGEST)
    assert trials.unfinished(DIGEST) == 1


def test_bundle_that_has_passed_is_known_until_it_is_forgotten(folder: Path) -> None:
    trials = Trials(folder)
    trials.begin(DIGEST)
    trials.succeed(DIGEST)
    assert Trials(folder).has_passed(DIGEST)
    assert Trials(folder).unfinished(DIGEST) == 0
    trials.forget(DIGEST)
    assert not trials.has_passed(DIGEST)


@pytest.mark.parametrize("content", [b"", b"begun -1\n", b"begun 99999\n", b"\xff" * 100, b"passed"])
def test_what_cannot_be_understood_says_nothing(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / DIGEST).write_bytes(content)
    trials = Trials(folder)
    assert not trials.has_passed(DIGEST)
    assert trials.unfinished(DIGEST) == 0


def test_the_oldest_are_forgotten(folder: Path) -> None:
    trials = Trials(folder)
    for number in range(MAX_TRIALS + 5):
        trials.begin(f"{number:064}")
    assert len(list(folder.iterdir())) == MAX_TRIALS
    assert trials.unfinished(f"{MAX_TRIALS + 4:064}") == 1
