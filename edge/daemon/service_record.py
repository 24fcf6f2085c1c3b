"""What the store is to know of how bundles do in service. It is written by the thread that has time: it syncs to the disk."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable

from edge.bundle import Bundle, BundleError, Store
from edge.text import one_line

_log = logging.getLogger(__name__)

# The process may end for other reasons while it holds a model for the first time: the battery is taken out.
_MOST_ENDS = 3


class ServiceRecord:
    """Keeps in a store which bundles have proved themselves, failed, or ended with the process.

    A bundle that came with the package has nothing to prove, and without a store there is nothing to be kept.
    """

    def __init__(self, store: Store | None, retry_s: float) -> None:
        """
        Args:
            retry_s: What cannot be written is tried again after so long.
        """
        self._store = store
        self._retry_s = retry_s
        self._to_write: queue.SimpleQueue[Callable[[Store], None]] = queue.SimpleQueue()
        self._unwritten: list[Callable[[Store], None]] = []
        self._write_at = 0.0
        self._has_withdrawn = False

    def has_proved(self, bundle: Bundle) -> bool:
        """Whether a bundle has passed its trial."""
        return self._store is None or bundle.is_shipped or self._store.trials.has_passed(bundle.model.sha256)

    def ends_with_the_process(self, bundle: Bundle) -> bool:
        """Whether the process has ended again and again when it had begun to use a bundle."""
        if self._store is None or bundle.is_shipped:
            return False
        return self._store.trials.unfinished(bundle.model.sha256) >= _MOST_ENDS

    def begin(self, bundle: Bundle) -> None:
        """Remember, before it can happen, that the process may end with a bundle."""
        if not self.has_proved(bundle):
            self._try(lambda store: store.trials.begin(bundle.model.sha256))

    def go_on(self, bundle: Bundle) -> None:
        """Take the last beginning back: the process goes on."""
        if not self.has_proved(bundle):
            self._try(lambda store: store.trials.interrupt(bundle.model.sha256))

    def survived(self, bundle: Bundle) -> None:
        """Remember later that the process goes on, whatever was before."""
        if not self.has_proved(bundle):
            self._to_write.put(lambda store: store.trials.forget(bundle.model.sha256))

    def proved(self, bundle: Bundle) -> None:
        """Remember later that a bundle has passed its trial."""
        if not self.has_proved(bundle):
            self._to_write.put(lambda store: store.trials.succeed(bundle.model.sha256))

    def withdraw(self, bundle: Bundle, reason: str, *, refuse: bool) -> None:
        """Have the store go back, later, from a bundle that does not serve.

        Args:
            refuse: Whether it is never to be tried again.
        """

        def withdraw(store: Store) -> None:
            store.withdraw(bundle.path, reason, refuse=refuse)
            self._has_withdrawn = True

        if not bundle.is_shipped:
            self._to_write.put(withdraw)

    def write(self) -> bool:
        """Write what is to be written; what cannot be is tried again later.

        Returns:
            Whether the store has gone back from a bundle.
        """
        while not self._to_write.empty():
            self._unwritten.append(self._to_write.get())
            self._write_at = 0.0
        if not self._unwritten or time.monotonic() < self._write_at:
            return False
        self._has_withdrawn = False
        self._unwritten = [each for each in self._unwritten if not self._try(each)]
        self._write_at = time.monotonic() + self._retry_s
        return self._has_withdrawn

    def _try(self, write: Callable[[Store], None]) -> bool:
        """False: it could not be written, which is said; what serves does not depend on it."""
        if self._store is None:
            return True
        try:
            write(self._store)
        except (BundleError, OSError) as error:
            _log.error("model: %s", one_line(error))
            return False
        return True
