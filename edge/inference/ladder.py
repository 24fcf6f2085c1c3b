"""The ladder: the ordered engines and devices. The best that works is used, the next one when it fails.

A rung that was lost is tried again after a while, and is in use again as soon as it passes its check: a stick that was pulled
and a driver that was restarted come back in the air, without anybody's hand.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from edge.inference.bound import Pending, begin
from edge.inference.engine import Engine, EngineError, Loader, NoAnswerError, NoEngineError, as_engine_error

_log = logging.getLogger(__name__)

Told = Callable[[str, str | None], None]
"""Is told the name of a rung and in one line why it is not used; None: it is used again, or is not needed."""

LOAD_S = 60.0
"""Compiling for a GPU takes half a minute on small machines."""

# A rung that passes its check and then fails in flight, again and again, is tried ever more rarely: each time costs frames
# in hand the wait for an answer. One that lasted for so many waits is forgiven.
_MOST_DOUBLINGS = 5
_FORGIVEN_AFTER = 10
# What takes long to be tried, as a GPU for which all is compiled anew, is tried so rarely that it takes a tenth of the time.
_REST = 9
_LOOK_S = 1.0
_ROOM_S = 5.0
_NOBODY: Mapping[str, str] = MappingProxyType({})


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
        absent: Mapping[str, str] = _NOBODY,
        is_faster: Callable[[Engine, Engine], bool] = lambda engine, current: False,
    ) -> None:
        """
        Args:
            rungs: Name and loader of each engine, the best one first; no name twice.
            check: Asks an engine that was loaded for what it must be able to do; raises `EngineError`.
            retry_s: A lost rung is tried again after so long; None: never.
            load_s: Loading and check together may take so long.
            absent: Why rungs did not work just now, by name: they are lost from the beginning.
            is_faster: Whether an engine that lies behind the one in use is to be used instead once it works.

        Raises:
            EngineError: None works.
        """
        self._rungs = list(rungs)
        self._told = told
        self._check = check
        self._load_s = load_s
        self._is_faster = is_faster
        self._lock = threading.RLock()
        self._engine: Engine | None = None
        self._at = -1
        self._since = 0.0
        self._absent = frozenset(absent)
        self._lost: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self._times_lost: dict[str, int] = {}
        self._retry_at: dict[str, float] = {}
        # Until when a rung is not to be tried again.
        self._left_to_others: dict[str, float] = {}
        # Loads that did not come back: a second one beside them would be one more thread that waits for ever.
        self._loading: dict[str, Pending[Engine]] = {}
        self._retry_s = retry_s
        self._closing = threading.Event()
        for name, reason in absent.items():
            self._lose(name, f"{name} cannot be used: {reason}")
        self._step_down()
        if retry_s is not None and len(self._rungs) > 1:
            threading.Thread(target=self._step_up, args=(retry_s,), name="ladder", daemon=True).start()

    @property
    def engine(self) -> Engine:
        """The engine in use.

        Raises:
            NoEngineError: The last one has failed.
        """
        with self._lock:
            if self._engine is None:
                raise NoEngineError("no engine is left")
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
            EngineError: It was the last one; a `NoAnswerError` where it was left for one.
            NoEngineError: The last one was left meanwhile.
        """
        with self._lock:
            if self._engine is failed:
                self._engine = None
                name = self._rungs[self._at][0]
                if self._retry_s is not None and time.monotonic() - self._since > _FORGIVEN_AFTER * self._retry_s:
                    self._times_lost.pop(name, None)
                self._lose(name, f"{failed.name} on {failed.device} failed: {reason}")
                failed.close()
                self._step_down(reason)
            return self.engine

    def make_room(self, name: str) -> bool:
        """Step down from a rung that somebody else needs; it is tried again as others are.

        Returns:
            Whether it is not in use now; False: there is no other one.
        """
        with self._lock:
            if self._engine is None or self._rungs[self._at][0] != name:
                return True
            if self._at + 1 == len(self._rungs):
                return False
            # The other one needs time to take it.
            self._left_to_others[name] = time.monotonic() + _ROOM_S
            self.leave(self._engine, EngineError("makes room for another model"))
            return True

    def begin_again(self) -> Engine:
        """After the last engine failed, try all of them anew, the best one first.

        Returns:
            The engine to go on with: the one in use, if there is one.

        Raises:
            EngineError: None works.
        """
        with self._lock:
            if self._engine is None:
                self._lost, self._at = {}, -1
                self._step_down()
            return self.engine

    def close(self) -> None:
        """Try no lost rung again. What the engine in use has outside of this process is let go of: others may need it.

        Those who still have it in hand go on with it, or with the next one.
        """
        self._closing.set()
        with self._lock:
            if self._engine is not None:
                self._engine.close()

    def _step_down(self, failure: EngineError | None = None) -> None:
        """Load the next rung that works, and then say why others were left: who asks then sees it."""
        reasons = [] if failure is None else [str(failure)]
        for index in range(self._at + 1, len(self._rungs)):
            name = self._rungs[index][0]
            try:
                engine = self._load(index)
            except EngineError as error:
                reasons.append(str(error))
                self._lose(name, f"{name} cannot be used: {error}")
            else:
                self._use(index, engine)
                break
        for name, news in self._news():
            self._told(name, news)
        if self._engine is None:
            kind = NoAnswerError if isinstance(failure, NoAnswerError) else EngineError
            raise kind("no engine works: " + ("; ".join(reasons) or "none is named"))

    def _use(self, index: int, engine: Engine) -> None:
        self._engine, self._at, self._since = engine, index, time.monotonic()
        self._lost.pop(self._rungs[index][0], None)

    def _news(self) -> list[tuple[str, str | None]]:
        """What changed of the reasons since they were told."""
        gone = [(name, None) for name in self._said if name not in self._lost]
        news = [*gone, *(each for each in self._lost.items() if self._said.get(each[0]) != each[1])]
        self._said = dict(self._lost)
        return news

    def _load(self, index: int) -> Engine:
        """An engine that is loaded and passed its check.

        Raises:
            EngineError: It cannot be loaded, does not pass, or took too long.
        """
        name, load = self._rungs[index]

        def checked() -> Engine:
            try:
                engine = load()
                try:
                    self._check(engine)
                except BaseException:
                    engine.close()
                    raise
            except Exception as error:
                raise as_engine_error(error) from error
            return engine

        before = self._loading.pop(name, None)
        loading = before or begin(checked, f"load {name}")
        try:
            return loading.result(self._load_s if before is None else 0.0)
        except NoAnswerError:
            if not loading.is_done:
                self._loading[name] = loading
            raise

    def _lose(self, name: str, reason: str) -> None:
        self._lost[name] = reason
        doublings = min(self._times_lost.get(name, 0), _MOST_DOUBLINGS)
        self._times_lost[name] = self._times_lost.get(name, 0) + 1
        self._retry_at[name] = time.monotonic() + (self._retry_s or 0.0) * 2**doublings

    def _step_up(self, retry_s: float) -> None:
        """The thread that tries lost rungs again."""
        while not self._closing.wait(min(retry_s, _LOOK_S)):
            for index, (name, _) in enumerate(tuple(self._rungs)):
                not_before = max(self._retry_at.get(name, 0.0), self._left_to_others.get(name, 0.0))
                if self._closing.is_set() or name not in tuple(self._lost) or not_before > time.monotonic():
                    continue
                begun = time.monotonic()
                try:
                    engine = self._load(index)
                except EngineError as error:
                    _log.info("%s still cannot be used: %s", name, error)
                    took = time.monotonic() - begun
                    self._retry_at[name] = time.monotonic() + max(retry_s, _REST * took)
                    continue
                if self._take_back(index, engine):
                    break

    def _take_back(self, index: int, engine: Engine) -> bool:
        """Use an engine that works again, if it is better than the one in use; else know that it could be."""
        name, current = self._rungs[index][0], self._engine
        is_faster = index > self._at and current is not None and self._is_faster(engine, current)
        with self._lock:
            if self._closing.is_set() or self._engine is None:
                engine.close()
                return False
            if is_faster and index > self._at:
                self._rungs.insert(self._at, self._rungs.pop(index))
                index = self._at
            is_better = index < self._at or (is_faster and index == self._at)
            if is_better:
                # Requests that still run on the engine before have it in hand.
                self._use(index, engine)
                # What lies behind it is not missed, unless what is behind may be better.
                behind = [other for other, _ in self._rungs[index + 1 :] if other not in self._absent]
            else:
                engine.close()
                behind = [name]
            for other in behind:
                self._lost.pop(other, None)
            news = self._news()
        for other, reason in news:
            self._told(other, reason)
        return is_better
