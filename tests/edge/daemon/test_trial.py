"""The trial of a new model: one that tells frames apart passes, one that says the same of all of them does not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from edge.daemon.trial import Trial
from edge.records import ModelName, Prediction

TRIAL_S = 30.0


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def said(*damaged: float) -> list[Prediction]:
    """What a model says of some frames."""
    model = ModelName("town", 1, "0" * 64)
    return [Prediction({"damaged": each, "undamaged": 1 - each}, model, "openvino", "CPU", 1.0) for each in damaged]


def saw(trial: Trial, predictions: list[Prediction], levels: Sequence[int] = (40, 200)) -> None:
    """Let it see what was said of frames of even grey, of these levels one after the other."""
    frames = [np.full((16, 16, 3), levels[at % len(levels)], np.uint8) for at in range(len(predictions))]
    trial.saw(frames, predictions)


def outcome(trial: Trial) -> str:
    """Whether it is over, and how."""
    assert not (trial.is_alike and trial.is_passed)
    return "alike" if trial.is_alike else "passed" if trial.is_passed else "goes on"


def test_model_that_tells_frames_apart_passes_when_the_time_is_over() -> None:
    clock = Clock()
    trial = Trial(TRIAL_S, clock)
    saw(trial, said(0.1, 0.9))
    assert outcome(trial) == "goes on"
    clock.now_s += TRIAL_S
    assert outcome(trial) == "passed"


def test_model_that_says_the_same_of_every_frame_for_the_whole_time_is_found() -> None:
    clock = Clock()
    trial = Trial(TRIAL_S, clock)
    for _ in range(30):
        saw(trial, said(0.5, 0.5))
        assert outcome(trial) == "goes on"
        clock.now_s += 1
    assert outcome(trial) == "alike"


def test_one_frame_that_differs_is_enough() -> None:
    clock = Clock()
    trial = Trial(TRIAL_S, clock)
    saw(trial, said(*[0.5] * 100))
    clock.now_s += TRIAL_S - 1
    saw(trial, said(0.5, 0.51, 0.5))
    clock.now_s += 1
    assert outcome(trial) == "passed"


def test_few_frames_that_are_alike_prove_nothing() -> None:
    clock = Clock()
    trial = Trial(TRIAL_S, clock)
    saw(trial, said(*[0.5] * 31))
    clock.now_s += 10 * TRIAL_S
    assert outcome(trial) == "goes on"
    saw(trial, said(0.5), [200])
    assert outcome(trial) == "alike"


def test_time_counts_from_the_first_frame_on() -> None:
    clock = Clock()
    trial = Trial(TRIAL_S, clock)
    clock.now_s += 10 * TRIAL_S
    assert outcome(trial) == "goes on"
    saw(trial, said(*[0.5] * 32))
    assert outcome(trial) == "goes on"
    clock.now_s += TRIAL_S
    assert outcome(trial) == "alike"


def test_last_digits_that_move_tell_nothing_apart() -> None:
    clock = Clock()
    trial = Trial(TRIAL_S, clock)
    saw(trial, said(*[0.5, 0.5 + 5e-7, 0.5 - 5e-7] * 11))
    clock.now_s += TRIAL_S
    assert outcome(trial) == "alike"


def test_without_a_frame_it_goes_on() -> None:
    clock = Clock()
    trial = Trial(TRIAL_S, clock)
    trial.saw([], [])
    clock.now_s += 10 * TRIAL_S
    assert outcome(trial) == "goes on"


@pytest.mark.parametrize("levels", [[0], [120, 121, 119]], ids=["below a lens cap", "over a still field"])
def test_of_frames_that_are_alike_a_good_model_says_the_same(levels: list[int]) -> None:
    clock = Clock()
    trial = Trial(TRIAL_S, clock)
    saw(trial, said(*[0.5] * 1000), levels)
    clock.now_s += 10 * TRIAL_S
    saw(trial, said(*[0.5] * 1000), levels)
    assert outcome(trial) == "goes on"
    # Then the ground comes in sight.
    saw(trial, said(0.5, 0.9), [200])
    assert outcome(trial) == "passed"
