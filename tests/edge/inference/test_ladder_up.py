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


# What was not there at the beginning, where the order is measured


def test_absent_rung_is_told_and_not_loaded_at_the_beginning(told: Told, stick: Stick) -> None:
    ladder = Ladder([works("CPU"), stick.rung], told, absent={"MYRIAD": "no stick"})
    assert ladder.engine.name == "CPU"
    assert told.all == [("MYRIAD", "MYRIAD cannot be used: no stick")]
    assert stick.loaded == []


@pytest.mark.parametrize(("is_faster", "used"), [(True, "MYRIAD"), (False, "CPU")])
def test_absent_rung_that_comes_is_used_if_it_is_faster_and_its_reason_is_gone(
    told: Told, stick: Stick, *, is_faster: bool, used: str
) -> None:
    asked: list[tuple[str, str]] = []

    def faster(engine: Engine, current: Engine) -> bool:
        asked.append((engine.name, current.name))
        return is_faster

    stick.is_there = False
    absent = {"MYRIAD": "no stick", "NPU": "no driver"}
    rungs = [works("CPU"), stick.rung, broken("NPU", "no driver"), works("TENSORFLOW")]
    ladder = Ladder(rungs, told, stick.check, retry_s=RETRY_S, absent=absent, is_faster=faster)
    wait_for(lambda: len(stick.tried_at) >= 2)
    assert told.lost.keys() == {"MYRIAD", "NPU"}
    stick.is_there = True
    wait_for(lambda: told.lost.keys() == {"NPU"})
    assert ladder.engine.name == used
    assert asked == [("MYRIAD", "CPU")]
    assert [engine.closed for engine in stick.loaded] == [not is_faster]
    # It is in the order from now on: the next one, or the one to go back to.
    other = ladder.leave(ladder.engine, EngineError("device lost"))
    assert {used, other.name} == {"CPU", "MYRIAD"}
    ladder.close()


def test_absent_rung_that_is_there_when_it_is_needed_is_used_and_its_reason_is_gone(told: Told, stick: Stick) -> None:
    ladder = Ladder([works("CPU"), stick.rung, works("TENSORFLOW")], told, absent={"MYRIAD": "no stick"})
    assert ladder.leave(ladder.engine, EngineError("device lost")).name == "MYRIAD"
    assert told.lost.keys() == {"CPU"}


# When it has lasted


def test_engine_that_lasted_is_forgiven_what_was_before(climb: Callable[..., Ladder], stick: Stick) -> None:
    ladder = climb(stick.rung, works("CPU"))
    for _ in range(4):
        ladder.leave(ladder.engine, EngineError("device lost"))
        wait_for(lambda: ladder.engine.name == "MYRIAD")
    time.sleep(11 * RETRY_S)
    left, tried = time.monotonic(), len(stick.tried_at)
    ladder.leave(ladder.engine, EngineError("device lost"))
    wait_for(lambda: ladder.engine.name == "MYRIAD")
    # The fifth time in a row would have been after sixteen times as long, and none before.
    assert stick.tried_at[tried] - left < RETRY_S * 16


def test_what_takes_long_to_be_tried_is_tried_more_rarely(told: Told) -> None:
    begun: list[float] = []
    took_s = 0.1

    def load() -> Engine:
        begun.append(time.monotonic())
        time.sleep(took_s)
        raise EngineError("no driver")

    ladder = Ladder([("GPU", load), works("CPU")], told, retry_s=RETRY_S)
    wait_for(lambda: len(begun) >= 3)
    ladder.close()
    # From the first retry on.
    assert begun[2] - begun[1] >= 10 * took_s


# All anew


def test_after_the_last_engine_failed_all_are_tried_anew_the_best_one_first(told: Told, stick: Stick) -> None:
    ladder = Ladder([stick.rung, works("CPU")], told)
    pull(ladder, stick)
    with pytest.raises(EngineError, match="device lost"):
        ladder.leave(ladder.engine, EngineError("device lost"))
    assert told.lost.keys() == {"MYRIAD", "CPU"}
    assert ladder.begin_again().name == "CPU"
    assert told.lost.keys() == {"MYRIAD"}
    with pytest.raises(EngineError, match="device lost"):
        ladder.leave(ladder.engine, EngineError("device lost"))
    stick.is_there = True
    assert ladder.begin_again().name == "MYRIAD"
    assert told.lost == {}
    # Another thread that comes later does not begin once more.
    loaded = len(stick.loaded)
    assert ladder.begin_again() is stick.loaded[-1]
    assert len(stick.loaded) == loaded


def test_where_none_works_anew_there_is_an_error(told: Told, stick: Stick) -> None:
    ladder = Ladder([stick.rung], told)
    stick.is_there = False
    with pytest.raises(EngineError, match="device lost"):
        ladder.leave(ladder.engine, EngineError("device lost"))
    with pytest.raises(EngineError, match="no engine works: no stick"):
        ladder.begin_again()
    assert told.lost == {"MYRIAD": "MYRIAD cannot be used: no stick"}
