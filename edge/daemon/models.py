"""Which model classifies, and how it is changed in flight.

A model that `overflight model` activated is loaded and tested beside the one that serves, and takes over between two frames.
Then it is on trial: should it fail on live frames, or say the same of every one of them, the one before it serves again, the
store goes back to that, and the status says so.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from edge.bundle import Bundle, BundleError
from edge.config import Config
from edge.daemon.service import MODEL, Service, Serving, title_of
from edge.daemon.service_record import ServiceRecord
from edge.health import Conditions
from edge.inference import EngineError
from edge.inference.engine import Mode
from edge.model import devices_of, last_install, store_of, trust_of

_log = logging.getLogger(__name__)

_LOOK_S = 0.5
# Who installs tests a model while it holds the lock.
_LOCK_S = 10.0


class Models:
    """Has the best model of the store serve.

    Attributes:
        service: The model in service.
        last_install: What the last install came to; None: there was none.
    """

    def __init__(
        self, config: Config, journal_folder: Path, mode: Mode, conditions: Conditions, threshold: float | None = None
    ) -> None:
        """Load the active bundle; if it does not work, the one before it or the one that ships with the package.

        Args:
            journal_folder: Compiled models are kept there, where the configuration names no other place.
            threshold: What a command has set; None: nothing.

        Raises:
            BundleError: Not even the shipped bundle can be opened.
            EngineError: No engine works.
        """
        self._config = config
        self._conditions = conditions
        self._store = store_of(config.model, lock_s=_LOCK_S) if config.model.store else None
        self._record = ServiceRecord(self._store, config.model.retry_s)
        devices = devices_of(config.model, mode, journal_folder / "cache")
        self.service = Service(config, devices, self._record, conditions, threshold)
        # Where the link pointed when it was last followed, and when that is tried again all the same.
        self._followed: Path | None = None
        self._again_at = math.inf
        # The bundle that no engine could load when it was tried for the first time.
        self._doubted: Bundle | None = None
        self.last_install = None if self._store is None else last_install(self._store)
        self._load_first()
        self._followed = None if self._store is None else self._store.active()

    def watch(self, stopping: threading.Event) -> None:
        """Take over what is activated, until the daemon stops."""
        while not stopping.wait(_LOOK_S):
            self._write()
            self._look_at_last_install()
            self.follow()
        self._write()

    def follow(self) -> None:
        """Take over the store's active bundle, if it is another one than at the last look."""
        if self._store is None:
            return
        active = self._store.active()
        if active == self._followed and time.monotonic() < self._again_at:
            return
        self._followed, self._again_at = active, math.inf
        try:
            bundle = Bundle.shipped() if active is None else Bundle.open(active, trust_of(self._config.model))
        except BundleError as error:
            self._cannot_open(error)
            return
        if bundle.model == self.service.current.bundle.model:
            self._conditions.set(MODEL, None)
            return
        if not self._is_refused(bundle):
            self._take_over(bundle)

    def _take_over(self, bundle: Bundle) -> None:
        if not self.service.make_room():
            self._conditions.set(
                MODEL, f"{title_of(bundle)}: serves from the next start on: its only device has no room for two"
            )
            return
        try:
            serving = self._load(bundle)
        except EngineError as error:
            if self._doubted is None or self._doubted.model != bundle.model:
                self._doubt(bundle, error)
            else:
                self._condemn(bundle, str(error))
            return
        self._doubted = None
        self.service.replace(serving)

    def _look_at_last_install(self) -> None:
        if self._store is not None and (last := last_install(self._store)) != self.last_install:
            self.last_install = last
            self._conditions.announce()

    def close(self) -> None:
        """Let go of the models."""
        self.service.close()
        self._record.write()

    def _load_first(self) -> None:
        """Take the best model that works.

        Raises:
            BundleError, EngineError: None does.
        """
        failed: list[tuple[Bundle, EngineError]] = []
        candidates = self._candidates()
        for bundle in candidates:
            try:
                serving = self._load(bundle)
            except EngineError as error:
                failed.append((bundle, error))
                continue
            if failed:
                # This one works on the same engines: it may have been the model.
                self._doubt(*failed[0])
            self.service.begin(serving, None if self._record.has_proved(bundle) else _first_that_opens(candidates))
            return
        raise failed[-1][1]

    def _candidates(self) -> Iterator[Bundle]:
        """Bundles that can be opened, the best one first.

        Raises:
            BundleError: Of the last one: the shipped bundle cannot be.
        """
        if self._store is not None:
            trust = trust_of(self._config.model)
            for warning in trust.keys.warnings:
                _log.warning("%s", warning)
            for folder in dict.fromkeys((self._store.active(), self._store.previous())):
                if folder is None:
                    continue
                try:
                    bundle = Bundle.open(folder, trust)
                except BundleError as error:
                    self._cannot_open(error)
                    continue
                if self._record.ends_with_the_process(bundle):
                    # No fault for ever: an operator may activate it again.
                    self._condemn(bundle, "the process ended with it again and again", refuse=False)
                elif not self._is_refused(bundle):
                    yield bundle
        yield Bundle.shipped()

    def _is_refused(self, bundle: Bundle) -> bool:
        """Whether a bundle failed before. A process that was killed may have left the link to it."""
        reason = None if self._store is None else self._store.refusal(bundle.model.sha256)
        if reason is not None and not bundle.is_shipped:
            self._condemn(bundle, f"failed before: {reason}", refuse=False)
            return True
        return False

    def _cannot_open(self, error: BundleError) -> None:
        """Damaged, or its key was withdrawn: no fault of the model, which a new copy or key may mend."""
        self._conditions.set(MODEL, str(error))
        self._again_at = time.monotonic() + self._config.model.retry_s

    def _load(self, bundle: Bundle) -> Serving:
        """Load a model that may take the process with it.

        Raises:
            EngineError: No engine works with it.
        """
        self._record.begin(bundle)
        try:
            return self.service.make(bundle)
        finally:
            self._record.go_on(bundle)

    def _doubt(self, bundle: Bundle, error: EngineError) -> None:
        """Say that a model cannot be loaded, and have it tried once more: the machine may have had no memory left."""
        self._doubted = bundle
        self._again_at = time.monotonic() + self._config.model.retry_s
        self._conditions.set(MODEL, f"{title_of(bundle)}: {error}")

    def _condemn(self, bundle: Bundle, reason: str, *, refuse: bool = True) -> None:
        """Say that a model does not serve, and have the store go back to one that does."""
        self._conditions.set(MODEL, f"{title_of(bundle)}: {reason}")
        self._record.withdraw(bundle, reason, refuse=refuse)
        self._write()

    def _write(self) -> None:
        if self._record.write() and self.service.is_begun:
            # Where the link points now may be somewhere else again, and is then followed.
            bundle = self.service.current.bundle
            self._followed = None if bundle.is_shipped else bundle.path


def _first_that_opens(bundles: Iterator[Bundle]) -> Bundle | None:
    try:
        return next(bundles, None)
    except BundleError as error:
        _log.error("model: nothing to go back to: %s", error)
        return None
