"""The way up the ladder: an engine that was lost is used again once it works, and nobody waits for it meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from edge.inference.engine import Engine, EngineError
from edge.inference.ladder import Ladder
from tests.conftest import wait_for
from tests.edge.inference.rungs import IdleEngine, Rung, Stick, Told, broken, works

RETRY_S = 0.05


@pytest.fixture
def climb(told: Told, stick: Stick) -> Iterator[Callable[..., Ladder]]:
    """Makes ladders that try lost rungs again soon."""
    ladders: list[Ladder] = []

    def make(*rungs: Rung, retry_s: float = RETRY_S, load_s: float = 10.0) -> Ladder:
        ladders.append(Ladder(rungs, told, stick.check, retry_s=retry_s, load_s=load_s))
        return ladders[-1]

    yield make
    for ladder in ladders:
        ladder.close()


def pull(ladder: Ladder, stick: Stick) -> Engine:
    """Pull the stick that is in use out; returns the engine to go on with."""
    stick.is_there = False
    return ladder.leave(ladder.engine, EngineError("device lost"))


def test_lost_engine_that_is_back_is_used_again_and_its_reason_is_gone(
    climb: Callable[..., Ladder], told: Told, stick: Stick
) -> None:
    ladder = climb(stick.rung, works("CPU"))
    assert pull(ladder, stick).name == "CPU"
    assert told.lost == {"MYRIAD": "MYRIAD on CPU failed: device lost"}
    stick.is_there = True
    wait_for(lambda: ladder.engine.name == "MYRIAD")
    wait_for(lambda: told.lost == {})
    # A new one: what the old one had of the stick went with it.
    assert [engine.closed for engine in stick.loaded] == [True, False]


def test_engine_that_was_never_there_is_used_once_it_comes(climb: Callable[..., Ladder], told: Told, stick: Stick) -> None:
    stick.is_there = False
    ladder = climb(stick.rung, works("CPU"))
    assert told.lost == {"MYRIAD": "MYRIAD cannot be used: no stick"}
    stick.is_there = True
    wait_for(lambda: ladder.engine.name == "MYRIAD")
    wait_for(lambda: told.lost == {})


def test_engine_that_loads_again_and_fails_its_check_is_not_used(
    climb: Callable[..., Ladder], told: Told, stick: Stick
) -> None:
    ladder = climb(stick.rung, works("CPU"))
    pull(ladder, stick)
    stick.is_there, stick.is_sound = True, False
    wait_for(lambda: len(stick.loaded) >= 4)
    assert ladder.engine.name == "CPU"
    assert told.lost == {"MYRIAD": "MYRIAD on CPU failed: device lost"}
    stick.is_sound = True
    wait_for(lambda: ladder.engine.name == "MYRIAD")
    assert {engine.closed for engine in stick.loaded[:-1]} == {True}
    assert not stick.loaded[-1].closed


def test_engine_in_use_stays_for_who_has_it_in_hand_when_a_better_one_is_back(
    climb: Callable[..., Ladder], told: Told, stick: Stick
) -> None:
    worse = IdleEngine("CPU")
    ladder = climb(stick.rung, ("CPU", lambda: worse))
    pull(ladder, stick)
    stick.is_there = True
    wait_for(lambda: ladder.engine.name == "MYRIAD")
    assert not worse.closed
    # Should it fail now, the one in use is not to blame.
    assert ladder.leave(worse, EngineError("device lost")).name == "MYRIAD"
    wait_for(lambda: told.lost == {})


def test_what_lies_below_the_engine_in_use_is_not_missed(climb: Callable[..., Ladder], told: Told, stick: Stick) -> None:
    ladder = climb(broken("GPU", "no driver"), stick.rung, broken("NPU", "no driver"), works("CPU"))
    pull(ladder, stick)
    assert told.lost.keys() == {"GPU", "MYRIAD", "NPU"}
    stick.is_there = True
    wait_for(lambda: ladder.engine.name == "MYRIAD")
    wait_for(lambda: told.lost.keys() == {"GPU"})


def test_better_engine_that_hangs_while_it_is_tried_again_holds_nobody_up(climb: Callable[..., Ladder]) -> None:
    trying, go_on = threading.Event(), threading.Event()
    loaded: list[str] = []

    def load() -> Engine:
        if loaded:
            trying.set()
            assert go_on.wait(60)
        loaded.append("GPU")
        return IdleEngine("GPU")

    ladder = climb(("GPU", load), works("CPU"))
    ladder.leave(ladder.engine, EngineError("device lost"))
    assert trying.wait(10)
    # The thread that asks does not wait for the one that tries.
    assert ladder.engine.name == "CPU"
    go_on.set()
    wait_for(lambda: ladder.engine.name == "GPU")


def test_engine_that_passes_and_fails_again_and_again_is_tried_ever_more_rarely(
    climb: Callable[..., Ladder], stick: Stick
) -> None:
    ladder = climb(stick.rung, works("CPU"))
    back_after: list[float] = []
    for _ in range(4):
        left = time.monotonic()
        ladder.leave(ladder.engine, EngineError("device lost"))
        wait_for(lambda: ladder.engine.name == "MYRIAD")
        back_after.append(stick.tried_at[-1] - left)
    # It may be later, on a busy machine, but never earlier.
    for times, waited in enumerate(back_after):
        assert waited >= RETRY_S * 2**times


def test_without_a_time_for_it_no_engine_is_tried_again(told: Told, stick: Stick) -> None:
    threads = set(threading.enumerate())
    ladder = Ladder([stick.rung, works("CPU")], told)
    pull(ladder, stick)
    wait_for(lambda: set(threading.enumerate()) <= threads)
    assert len(stick.tried_at) == 1


# The end


def test_ladder_that_is_closed_tries_no_engine_again(climb: Callable[..., Ladder], stick: Stick) -> None:
    threads = set(threading.enumerate())
    ladder = climb(stick.rung, works("CPU"))
    pull(ladder, stick)
    wait_for(lambda: len(stick.tried_at) >= 3)
    ladder.close()
    wait_for(lambda: set(threading.enumerate()) <= threads)
    # The engine in use stays for who has it in hand.
    assert ladder.engine.name == "CPU"


def test_engine_that_is_back_just_when_the_ladder_is_closed_is_closed_too(
    climb: Callable[..., Ladder], told: Told, stick: Stick
) -> None:
    loading, go_on = threading.Event(), threading.Event()
    threads = set(threading.enumerate())

    def load() -> Engine:
        engine = stick.load()
        if len(stick.loaded) > 1:
            loading.set()
            assert go_on.wait(10)
        return engine

    ladder = climb(("MYRIAD", load), works("CPU"))
    ladder.leave(ladder.engine, EngineError("device lost"))
    assert loading.wait(10)
    ladder.close()
    go_on.set()
    wait_for(lambda: set(threading.enumerate()) <= threads)
    assert stick.loaded[-1].closed
    assert ladder.engine.name == "CPU"
    assert told.lost.keys() == {"MYRIAD"}
