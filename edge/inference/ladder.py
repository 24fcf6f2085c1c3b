"""The ladder: the ordered engines and devices. The best that works is used, the next one when it fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from edge.inference.engine import Engine, EngineError, Loader


class Ladder:
    """Loads the first engine that can be loaded and steps down when one fails."""

    def __init__(self, rungs: Sequence[tuple[str, Loader]], degraded: Callable[[str], None]) -> None:
        """
        Args:
            rungs: Name and loader of each engine, the best one first.
            degraded: Is told in one line why a rung was left.

        Raises:
            EngineError: None can be loaded.
        """
        self._rungs = list(rungs)
        self._degraded = degraded
        self._lock = threading.RLock()
        self._engine: Engine | None = None
        self._step_down()

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
                self._step_down([f"{failed.name} on {failed.device} failed: {reason}"], [str(reason)])
            return self.engine

    def _step_down(self, said: Sequence[str] = (), reasons: Sequence[str] = ()) -> None:
        """Load the next rung that can be loaded, and then say why those before it were left: who asks then sees it."""
        said, reasons = list(said), list(reasons)
        while self._engine is None and self._rungs:
            name, load = self._rungs.pop(0)
            try:
                self._engine = load()
            except EngineError as error:
                reasons.append(str(error))
                said.append(f"{name} cannot be used: {error}")
        for reason in said:
            self._degraded(reason)
        if self._engine is None:
            raise EngineError("no engine works: " + ("; ".join(reasons) or "none is named"))
