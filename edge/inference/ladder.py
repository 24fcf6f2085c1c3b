"""The ladder: the ordered engines and devices. The best that works is used, the next one when it fails.

A rung that was lost is tried again after a while, and is in use again as soon as it passes its check: a stick that was pulled
and a driver that was restarted come back in the air, without anybody's hand.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from edge.inference.bound import within
from edge.inference.engine import Engine, EngineError, Loader

_log = logging.getLogger(__name__)

Told = Callable[[str, str | None], None]
"""Is told the name of a rung and in one line why it is not used; None: it is used again, or is not needed."""

LOAD_S = 60.0
"""Compiling for a GPU takes half a minute on small machines."""

# A rung that passes its check and then fails in flight, again and again, is tried ever more rarely: each time costs frames
# in hand the wait for an answer.
_MOST_DOUBLINGS = 5
_LOOK_S = 1.0


class Ladder:
    """Loads the first engine that works, steps down when it fails, and up again when a better one is back."""

    def __init__(
        self,
        rungs: Sequence[tuple[str, Loader]],
        told: Told,
        check: Callable[[Engine], None] = lambda engine: None,
        *,
        retry_s: float | None = None,
        load_s: float = LOAD_S,
    ) -> None:
        """
        Args:
            rungs: Name and loader of each engine, the best one first.
            check: Asks an engine that was loaded for what it must be able to do; raises `EngineError`.
            retry_s: A lost rung is tried again after so long; None: never.
            load_s: Loading and check together may take so long.

        Raises:
            EngineError: None works.
        """
        self._rungs = tuple(rungs)
        self._told = told
        self._check = check
        self._load_s = load_s
        self._lock = threading.RLock()
        self._engine: Engine | None = None
        self._at = -1
        self._lost: dict[int, str] = {}
        self._times_lost: dict[int, int] = {}
        self._retry_at: dict[int, float] = {}
        self._retry_s = retry_s
        self._closing = threading.Event()
        self._step_down()
        if retry_s is not None and len(self._rungs) > 1:
            threading.Thread(target=self._step_up, args=(retry_s,), name="ladder", daemon=True).start()

    @property
    def engine(self) -> Engine:
        """The engine in use.

        Raises:
            EngineError: The last one has failed.
        """
        with self._lock:
            if self._engine is None:
                raise EngineError("no engine is left")
            return self._engine

    @property
    def current(self) -> Engine | None:
        """The engine in use, without waiting for one that is being loaded."""
        return self._engine

    def leave(self, failed: Engine, reason: EngineError) -> Engine:
        """Leave an engine that failed; the next one is loaded unless another thread has done so already.

        Returns:
            The engine to go on with.

        Raises:
            EngineError: No engine is left.
        """
        with self._lock:
            if self._engine is failed:
                self._engine = None
                self._lose(self._at, f"{failed.name} on {failed.device} failed: {reason}")
                failed.close()
                self._step_down(str(reason))
            return self.engine

    def close(self) -> None:
        """Try no lost rung again. The engine in use stays for those who have it in hand."""
        self._closing.set()

    def _step_down(self, reason: str = "") -> None:
        """Load the next rung that works, and then say why those before it were left: who asks then sees it."""
        reasons = [reason] if reason else []
        first = max(self._at, 0)
        for index in range(self._at + 1, len(self._rungs)):
            try:
                self._engine, self._at = self._load(index), index
                break
            except EngineError as error:
                reasons.append(str(error))
                self._lose(index, f"{self._rungs[index][0]} cannot be used: {error}")
        for index in sorted(index for index in self._lost if index >= first):
            self._told(self._rungs[index][0], self._lost[index])
        if self._engine is None:
            raise EngineError("no engine works: " + ("; ".join(reasons) or "none is named"))

    def _load(self, index: int) -> Engine:
        """An engine that is loaded and passed its check.

        Raises:
            EngineError: It cannot be loaded, does not pass, or took too long.
        """
        name, load = self._rungs[index]

        def checked() -> Engine:
            engine = load()
            try:
                self._check(engine)
            except EngineError:
                engine.close()
                raise
            return engine

        return within(self._load_s, checked, f"load {name}")

    def _lose(self, index: int, reason: str) -> None:
        self._lost[index] = reason
        doublings = min(self._times_lost.get(index, 0), _MOST_DOUBLINGS)
        self._times_lost[index] = self._times_lost.get(index, 0) + 1
        self._retry_at[index] = time.monotonic() + (self._retry_s or 0.0) * 2**doublings

    def _step_up(self, retry_s: float) -> None:
        """The thread that tries lost rungs again."""
        while not self._closing.wait(min(retry_s, _LOOK_S)):
            for index in range(self._at):
                if self._closing.is_set() or self._retry_at.get(index, 0.0) > time.monotonic():
                    continue
                try:
                    engine = self._load(index)
                except EngineError as error:
                    _log.info("%s still cannot be used: %s", self._rungs[index][0], error)
                    self._retry_at[index] = time.monotonic() + retry_s
                    continue
                self._take_back(index, engine)
                break

    def _take_back(self, index: int, engine: Engine) -> None:
        with self._lock:
            if self._closing.is_set() or self._engine is None or index >= self._at:
                engine.close()
                return
            # Requests that still run on the engine before have it in hand.
            self._engine, self._at = engine, index
            back = [other for other in self._lost if other >= index]
            for other in back:
                del self._lost[other]
        for other in back:
            self._told(self._rungs[other][0], None)
