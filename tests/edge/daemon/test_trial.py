"""The trial of a new model: one that tells frames apart passes, one that says the same of all of them does not."""

from __future__ import annotations

from edge.daemon.models import Trial
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


def outcome(trial: Trial) -> str:
    """Whether it is over, and how."""
    assert not (trial.is_alike and trial.is_passed)
    return "alike" if trial.is_alike else "passed" if trial.is_passed else "goes on"


def test_model_that_tells_frames_apart_passes_when_the_time_is_over() -> None:
    clock = Clock()
    trial = Trial(TRIAL_S, clock)
    trial.saw(said(0.1, 0.9))
    assert outcome(trial) == "goes on"
    clock.now_s += TRIAL_S
    assert outcome(trial) == "passed"


def test_model_that_says_the_same_of_every_frame_for_the_whole_time_is_found() -> None:
    clock = Clock()
    trial = Trial(TRIAL_S, clock)
    for _ in range(30):
        trial.saw(said(0.5, 0.5))
        assert outcome(trial) == "goes on"
        clock.now_s += 1
    assert outcome(trial) == "alike"


def test_one_frame_that_differs_is_enough() -> None:
    clock = Clock()
    trial = Trial(TRIAL_S, clock)
    trial.saw(said(*[0.5] * 100))
    clock.now_s += TRIAL_S - 1
    trial.saw(said(0.5, 0.51, 0.5))
    clock.now_s += 1
    assert outcome(trial) == "passed"


def test_few_frames_that_are_alike_prove_nothing() -> None:
    clock = Clock()
    trial = Trial(TRIAL_S, clock)
    trial.saw(said(*[0.5] * 15))
    clock.now_s += 10 * TRIAL_S
    assert outcome(trial) == "goes on"
    trial.saw(said(0.5))
    assert outcome(trial) == "alike"


def test_time_counts_from_the_first_frame_on() -> None:
    clock = Clock()
    trial = Trial(TRIAL_S, clock)
    clock.now_s += 10 * TRIAL_S
    assert outcome(trial) == "goes on"
    trial.saw(said(*[0.5] * 16))
    assert outcome(trial) == "goes on"
    clock.now_s += TRIAL_S
    assert outcome(trial) == "alike"


def test_last_digits_that_move_tell_nothing_apart() -> None:
    clock = Clock()
    trial = Trial(TRIAL_S, clock)
    trial.saw(said(*[0.5, 0.5 + 5e-7, 0.5 - 5e-7] * 10))
    clock.now_s += TRIAL_S
    assert outcome(trial) == "alike"


def test_without_a_frame_it_goes_on() -> None:
    clock = Clock()
    trial = Trial(TRIAL_S, clock)
    trial.saw([])
    clock.now_s += 10 * TRIAL_S
    assert outcome(trial) == "goes on"
