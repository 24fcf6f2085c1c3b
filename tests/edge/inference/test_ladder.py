"""The ladder: which engine is used, when the next one is, and what is said about it."""

from __future__ import annotations

import threading

import pytest

from edge.inference.engine import Engine, EngineError
from edge.inference.ladder import Ladder
from tests.edge.inference.rungs import IdleEngine, Stick, Told, broken, works


def test_first_engine_that_can_be_loaded_is_used_and_no_other_is_loaded(told: Told) -> None:
    loaded: list[str] = []

    def load(name: str) -> Engine:
        loaded.append(name)
        return IdleEngine(name)

    ladder = Ladder([("GPU", lambda: load("gpu")), ("CPU", lambda: load("cpu"))], told)
    assert ladder.engine.name == "gpu"
    # A second model in memory, for the case that it is needed, a small device cannot afford.
    assert loaded == ["gpu"]
    assert told.all == []


def test_engine_that_cannot_be_loaded_is_passed_over_and_the_reason_told(told: Told) -> None:
    ladder = Ladder([broken("GPU", "no driver"), works("CPU")], told)
    assert ladder.engine.name == "CPU"
    assert told.all == [("GPU", "GPU cannot be used: no driver")]


def test_engine_that_does_not_pass_its_check_is_closed_and_passed_over(told: Told, stick: Stick) -> None:
    stick.is_sound = False
    ladder = Ladder([stick.rung, works("CPU")], told, stick.check)
    assert ladder.engine.name == "CPU"
    assert told.all == [("MYRIAD", "MYRIAD cannot be used: gives nonsense")]
    assert [engine.closed for engine in stick.loaded] == [True]


@pytest.mark.parametrize("part", ["load", "check"])
def test_rung_that_hangs_while_it_is_loaded_is_left_for_the_next(told: Told, part: str) -> None:
    go_on = threading.Event()

    def hang() -> None:
        assert go_on.wait(60)

    def load() -> Engine:
        if part == "load":
            hang()
        return IdleEngine("GPU")

    def check(engine: Engine) -> None:
        if engine.name == "GPU":
            hang()

    ladder = Ladder([("GPU", load), works("CPU")], told, check, load_s=0.1)
    assert ladder.engine.name == "CPU"
    assert told.all == [("GPU", "GPU cannot be used: gave no answer within 0.1 s")]
    go_on.set()


def test_when_no_engine_can_be_loaded_the_error_names_every_reason(told: Told) -> None:
    with pytest.raises(EngineError) as caught:
        Ladder([broken("GPU", "no driver"), broken("CPU", "no memory"), broken("TENSORFLOW", "not installed")], told)
    for reason in ("no driver", "no memory", "not installed"):
        assert reason in str(caught.value)
    assert len(told.all) == 3


def test_ladder_without_rungs_is_an_error(told: Told) -> None:
    with pytest.raises(EngineError, match="no engine"):
        Ladder([], told)


def test_engine_that_fails_is_closed_and_left_for_the_next_and_the_reason_told(told: Told) -> None:
    failing = IdleEngine("GPU")
    ladder = Ladder([("GPU", lambda: failing), broken("NPU", "no driver"), works("CPU")], told)
    assert ladder.leave(failing, EngineError("device lost")).name == "CPU"
    assert ladder.engine.name == "CPU"
    assert told.all == [("GPU", "GPU on CPU failed: device lost"), ("NPU", "NPU cannot be used: no driver")]
    assert failing.closed


def test_reason_is_told_once_though_further_engines_are_left_later(told: Told) -> None:
    ladder = Ladder([broken("GPU", "no driver"), works("NPU"), works("CPU"), works("TENSORFLOW")], told)
    for name in ("CPU", "TENSORFLOW"):
        assert ladder.leave(ladder.engine, EngineError("device lost")).name == name
    assert [rung for rung, _ in told.all] == ["GPU", "NPU", "CPU"]


def test_reason_is_told_when_the_next_engine_is_there() -> None:
    seen: list[str | None] = []

    def told(rung: str, reason: str | None) -> None:
        seen.append(None if ladder.current is None else ladder.current.name)

    ladder = Ladder([works("GPU"), works("CPU")], told)
    ladder.leave(ladder.engine, EngineError("device lost"))
    # Whoever is told asks for the status, which would name no engine.
    assert seen == ["CPU"]


def test_engine_that_was_left_already_is_not_left_again(told: Told) -> None:
    ladder = Ladder([works("GPU"), works("CPU"), works("TENSORFLOW")], told)
    failed = ladder.engine
    second = ladder.leave(failed, EngineError("device lost"))
    # The answer of another request to the same engine comes later, and is an error too.
    assert ladder.leave(failed, EngineError("device lost")) is second
    assert len(told.all) == 1


def test_two_threads_whose_requests_fail_at_once_step_down_one_rung_only(told: Told) -> None:
    for _ in range(20):
        ladder = Ladder([works("GPU"), works("CPU"), works("TENSORFLOW")], told)
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


def test_thread_that_asks_for_the_engine_while_the_next_is_being_loaded_gets_that(told: Told) -> None:
    loading, go_on = threading.Event(), threading.Event()

    def load() -> Engine:
        # A model takes seconds to compile on a small device.
        loading.set()
        assert go_on.wait(10)
        return IdleEngine("CPU")

    ladder = Ladder([works("GPU"), ("CPU", load)], told)
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
    assert ladder.current is None
    asker = threading.Thread(target=ask)
    asker.start()
    # Time for an answer that is given too early.
    asker.join(0.2)
    go_on.set()
    asker.join(10)
    leaver.join(10)
    assert got == ["CPU"]


def test_when_the_last_engine_fails_there_is_an_error_and_no_engine_any_more(told: Told) -> None:
    ladder = Ladder([works("CPU")], told)
    failed = ladder.engine
    with pytest.raises(EngineError, match="no engine"):
        ladder.leave(failed, EngineError("device lost"))
    assert told.all == [("CPU", "CPU on CPU failed: device lost")]
    with pytest.raises(EngineError, match="no engine"):
        _ = ladder.engine
    with pytest.raises(EngineError, match="no engine"):
        ladder.leave(failed, EngineError("device lost"))


def test_error_after_the_last_engine_failed_says_why_it_did(told: Told) -> None:
    ladder = Ladder([works("CPU")], told)
    with pytest.raises(EngineError, match="device lost"):
        ladder.leave(ladder.engine, EngineError("device lost"))
