"""Calls that may never come back: whoever waits is free again in time, and nothing is left of those that end."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from edge.inference.bound import Background, Pending, is_at_work, within
from edge.inference.engine import EngineError
from tests.conftest import wait_for

LONG_S = 60.0
SHORT_S = 0.1


def threads(name: str) -> int:
    """How many threads of a name there are."""
    return sum(thread.name == name for thread in threading.enumerate())


def fail() -> None:
    raise EngineError("device lost")


def crash() -> None:
    raise ZeroDivisionError


class Owner:
    """Calls its own methods on a thread of its own, as engines do."""

    def __init__(self) -> None:
        self._thread = Background("owner")

    def start(self) -> Pending[str]:
        return self._thread.start(self.name)

    def name(self) -> str:
        return threading.current_thread().name


@pytest.mark.parametrize(
    "make", [lambda call: within(LONG_S, call, "bounded"), lambda call: Background("b").start(call).result(LONG_S)]
)
def test_what_a_call_gives_or_raises_comes_to_who_waits_for_it(make: Callable[[Callable[[], object]], Any]) -> None:
    assert make(lambda: 7) == 7
    with pytest.raises(EngineError, match=r"^device lost$"):
        make(fail)
    with pytest.raises(ZeroDivisionError):
        make(crash)


def test_call_is_made_on_a_thread_that_the_process_does_not_wait_for() -> None:
    thread = within(LONG_S, threading.current_thread, "bounded")
    assert (thread.name, thread.daemon) == ("bounded", True)
    wait_for(lambda: not thread.is_alive())


def test_call_that_does_not_come_back_is_given_up() -> None:
    go_on = threading.Event()
    wait_for(lambda: not is_at_work())
    with pytest.raises(EngineError, match=r"^gave no answer within 0.1 s$"):
        within(SHORT_S, lambda: go_on.wait(LONG_S), "bounded")
    # Whoever ends the process wants to know.
    assert threads("bounded") == 1
    assert is_at_work()
    go_on.set()
    wait_for(lambda: threads("bounded") == 0)
    assert not is_at_work()


def test_what_comes_too_late_is_let_go_of() -> None:
    go_on = threading.Event()
    late: list[weakref.ref[Owner]] = []

    def load() -> Owner:
        assert go_on.wait(LONG_S)
        owner = Owner()
        late.append(weakref.ref(owner))
        return owner

    with pytest.raises(EngineError, match="gave no answer"):
        within(SHORT_S, load, "bounded")
    go_on.set()
    wait_for(lambda: bool(late) and threads("bounded") == 0)
    gc.collect()
    assert late[0]() is None


def test_calls_in_the_background_are_made_one_after_the_other_in_their_order() -> None:
    background = Background("background")
    begun: list[int] = []
    go_on = threading.Event()

    def call(number: int) -> int:
        begun.append(number)
        assert go_on.wait(LONG_S)
        return number

    calls = [background.start(lambda number=number: call(number)) for number in range(3)]  # type: ignore[misc]
    wait_for(lambda: bool(begun))
    with pytest.raises(EngineError, match="gave no answer"):
        calls[0].result(SHORT_S)
    assert begun == [0]
    go_on.set()
    assert [pending.result(LONG_S) for pending in reversed(calls)] == [2, 1, 0]
    assert begun == [0, 1, 2]


def test_a_call_that_fails_does_not_end_the_calls_after_it() -> None:
    background = Background("background")
    failed, good = background.start(fail), background.start(lambda: 7)
    assert good.result(LONG_S) == 7
    with pytest.raises(EngineError, match="device lost"):
        failed.result(LONG_S)


def test_thread_ends_with_who_made_calls_on_it() -> None:
    owner = Owner()
    assert owner.start().result(LONG_S) == "owner"
    assert threads("owner") == 1
    gone = weakref.ref(owner)
    del owner
    # By itself: an engine that a new model takes the place of is big, and nobody looks for it.
    wait_for(lambda: threads("owner") == 0)
    assert gone() is None


def test_calls_that_were_begun_are_ended_though_nobody_can_begin_more() -> None:
    owner = Owner()
    pending = [owner.start() for _ in range(3)]
    del owner
    assert [each.result(LONG_S) for each in pending] == ["owner"] * 3
