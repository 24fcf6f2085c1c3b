"""Bounds on calls into runtimes that may never come back: a driver that hangs must not hold the flight up.

A call that is given up cannot be ended; its thread is left behind, waits with the driver, and dies with the process.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from edge.inference.engine import NoAnswerError

_Value = TypeVar("_Value")

_unfinished: set[Pending[Any]] = set()


class Pending(Generic[_Value]):
    """A call that runs on another thread."""

    def __init__(self, call: Callable[[], _Value]) -> None:
        self._call = call
        self._done = threading.Event()
        self._value: _Value
        self._error: BaseException | None = None
        _unfinished.add(self)

    def run(self) -> None:
        """Make the call, on the thread that is meant to."""
        try:
            self._value = self._call()
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits for the value
            self._error = error
        finally:
            _unfinished.discard(self)
            self._done.set()

    @property
    def is_done(self) -> bool:
        """Whether the call came back."""
        return self._done.is_set()

    def result(self, seconds: float) -> _Value:
        """Wait for the value.

        Raises:
            NoAnswerError: It did not come in time; else what the call raised.
        """
        if not self._done.wait(seconds):
            raise no_answer(seconds)
        if self._error is not None:
            raise self._error
        return self._value


class Background:
    """A thread of its own for a runtime that computes while it is called, one call after the other."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[Pending[Any] | None] = queue.SimpleQueue()
        threading.Thread(target=_run, args=(self._calls,), name=name, daemon=True).start()

    def start(self, call: Callable[[], _Value]) -> Pending[_Value]:
        """Have the call made after those before it."""
        pending = Pending(call)
        self._calls.put(pending)
        return pending

    def __del__(self) -> None:
        self._calls.put(None)


def within(seconds: float, call: Callable[[], _Value], name: str) -> _Value:
    """Make a call on a thread of its own, and wait so long for it.

    Raises:
        NoAnswerError: It did not come back in time; else what the call raised.
    """
    return begin(call, name).result(seconds)


def begin(call: Callable[[], _Value], name: str) -> Pending[_Value]:
    """Make a call on a thread of its own."""
    pending = Pending(call)
    threading.Thread(target=pending.run, name=name, daemon=True).start()
    return pending


def is_at_work() -> bool:
    """Whether calls run, those included that were given up.

    The process must then end at once: a runtime that comes back while the interpreter ends has it aborted.
    """
    return bool(_unfinished)


def no_answer(seconds: float) -> NoAnswerError:
    """The reason why a call was given up."""
    return NoAnswerError(f"gave no answer within {seconds:g} s")


def _run(calls: queue.SimpleQueue[Pending[Any] | None]) -> None:
    while (pending := calls.get()) is not None:
        pending.run()
        # Kept until the next one, a call would keep the engine whose method it is, and with it this thread.
        del pending
