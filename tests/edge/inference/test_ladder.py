"""The ladder: which engine is used, when the next one is, and what is said about it.

Hardware that fails in a given way cannot be had for a test, so the engines here are small ones that do nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from edge.inference.engine import Engine, EngineError, Request
from edge.inference.ladder import Ladder


class IdleEngine:
    """An engine that can be loaded, and is not asked for more."""

    device = "CPU"

    def __init__(self, name: str) -> None:
        self.name = name

    def start(self, images: object) -> Request:
        raise NotImplementedError


def works(name: str) -> tuple[str, Callable[[], Engine]]:
    return name, lambda: IdleEngine(name)


def broken(name: str, reason: str) -> tuple[str, Callable[[], Engine]]:
    def load() -> Engine:
        raise EngineError(reason)

    return name, load


def test_first_engine_that_can_be_loaded_is_used_and_no_other_is_loaded() -> None:
    loaded: list[str] = []
    said: list[str] = []

    def load(name: str) -> Engine:
        loaded.append(name)
        return IdleEngine(name)

    ladder = Ladder([("GPU", lambda: load("gpu")), ("CPU", lambda: load("cpu"))], said.append)
    assert ladder.engine.name == "gpu"
    # A second model in memory, for the case that it is needed, a small device cannot afford.
    assert loaded == ["gpu"]
    assert said == []


def test_engine_that_cannot_be_loaded_is_passed_over_and_the_reason_told() -> None:
    said: list[str] = []
    ladder = Ladder([broken("GPU", "no driver"), works("CPU")], said.append)
    assert ladder.engine.name == "CPU"
    assert said == ["GPU cannot be used: no driver"]


def test_when_no_engine_can_be_loaded_the_error_names_every_reason() -> None:
    said: list[str] = []
    with pytest.raises(EngineError) as caught:
        Ladder([broken("GPU", "no driver"), broken("CPU", "no memory"), broken("TENSORFLOW", "not installed")], said.append)
    for reason in ("no driver", "no memory", "not installed"):
        assert reason in str(caught.value)
    assert len(said) == 3


def test_ladder_without_rungs_is_an_error() -> None:
    with pytest.raises(EngineError, match="no engine"):
        Ladder([], lambda reason: None)


def test_engine_that_fails_is_left_for_the_next_and_the_reason_told() -> None:
    said: list[str] = []
    ladder = Ladder([works("GPU"), broken("NPU", "no driver"), works("CPU")], said.append)
    failed = ladder.engine
    assert ladder.leave(failed, EngineError("device lost")).name == "CPU"
    assert ladder.engine.name == "CPU"
    assert said == ["GPU on CPU failed: device lost", "NPU cannot be used: no driver"]


def test_engine_that_was_left_already_is_not_left_again() -> None:
    said: list[str] = []
    ladder = Ladder([works("GPU"), works("CPU"), works("TENSORFLOW")], said.append)
    failed = ladder.engine
    second = ladder.leave(failed, EngineError("device lost"))
    # The answer of another request to the same engine comes later, and is an error too.
    assert ladder.leave(failed, EngineError("device lost")) is second
    assert len(said) == 1


def test_two_threads_whose_requests_fail_at_once_step_down_one_rung_only() -> None:
    for _ in range(20):
        ladder = Ladder([works("GPU"), works("CPU"), works("TENSORFLOW")], lambda reason: None)
        failed = ladder.engine
        together = threading.Barrier(2)
        went_on: list[Engine] = []

        def leave(
            ladder: Ladder = ladder,
            failed: Engine = failed,
            together: threading.Barrier = together,
            went_on: list[Engine] = went_on,
        ) -> None:
            together.wait()
            went_on.append(ladder.leave(failed, EngineError("device lost")))

        threads = [threading.Thread(target=leave) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert [engine.name for engine in went_on] == ["CPU", "CPU"]


def test_thread_that_asks_for_the_engine_while_the_next_is_being_loaded_gets_that() -> None:
    loading, go_on = threading.Event(), threading.Event()

    def load() -> Engine:
        # A model takes seconds to compile on a small device.
        loading.set()
        assert go_on.wait(10)
        return IdleEngine("CPU")

    ladder = Ladder([works("GPU"), ("CPU", load)], lambda reason: None)
    failed = ladder.engine
    got: list[str] = []

    def ask() -> None:
        try:
            got.append(ladder.engine.name)
        except EngineError as error:
            got.append(f"EngineError: {error}")

    leaver = threading.Thread(target=lambda: ladder.leave(failed, EngineError("device lost")))
    leaver.start()
    assert loading.wait(10)
    asker = threading.Thread(target=ask)
    asker.start()
    # Time for an answer that is given too early.
    asker.join(0.2)
    go_on.set()
    asker.join(10)
    leaver.join(10)
    assert got == ["CPU"]


def test_when_the_last_engine_fails_there_is_an_error_and_no_engine_any_more() -> None:
    said: list[str] = []
    ladder = Ladder([works("CPU")], said.append)
    failed = ladder.engine
    with pytest.raises(EngineError, match="no engine"):
        ladder.leave(failed, EngineError("device lost"))
    assert said == ["CPU on CPU failed: device lost"]
    with pytest.raises(EngineError, match="no engine"):
        _ = ladder.engine
    with pytest.raises(EngineError, match="no engine"):
        ladder.leave(failed, EngineError("device lost"))


def test_error_after_the_last_engine_failed_says_why_it_did() -> None:
    ladder = Ladder([works("CPU")], lambda reason: None)
    with pytest.raises(EngineError, match="device lost"):
        ladder.leave(ladder.engine, EngineError("device lost"))
