"""Which model classifies, and how it is changed in flight.

A model that `overflight model` activated is loaded and tested beside the one that serves, and takes over between two frames.
Then it is on trial: should it fail on live frames, or say the same of every one of them, the one before it serves again, the
store goes back to that, and the status says so.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge.bundle import Bundle, BundleError, Trials
from edge.config import Config
from edge.daemon.trial import Trial
from edge.health import Conditions
from edge.inference import Classifier, EngineError
from edge.inference.engine import Mode
from edge.model import devices_of, last_install, store_of, trust_of
from edge.records import Prediction
from edge.text import one_line
from edge.triage import Triage

if TYPE_CHECKING:
    from edge.records import Image

_log = logging.getLogger(__name__)

_LOOK_S = 0.5
# Who installs tests a model while it holds the lock.
_LOCK_S = 10.0
_MODEL, _TRUST = "model", "signature"
# The process may end for other reasons while a model is on trial: the battery is taken out.
_MOST_UNFINISHED = 3


@dataclass(frozen=True, slots=True)
class Serving:
    """A model that classifies, with what is decided by it.

    Attributes:
        lost: Why engines are not used, by name of the rung.
    """

    bundle: Bundle
    classifier: Classifier
    triage: Triage
    lost: dict[str, str]

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.bundle.model.name} {self.bundle.model.version}"


class Models:
    """The model that serves. Lanes ask for it before each batch, and say what became of it.

    Attributes:
        last_install: What the last install came to; None: there was none.
    """

    def __init__(self, config: Config, journal_folder: Path, mode: Mode, conditions: Conditions) -> None:
        """Load the active bundle; if it does not work, the one before it or the one that ships with the package.

        Args:
            journal_folder: Compiled models are kept there, where the configuration names no other place.

        Raises:
            BundleError: Not even the shipped bundle can be opened.
            EngineError: No engine works.
        """
        self._config = config
        self._conditions = conditions
        self._devices = devices_of(config.model, mode, journal_folder / "cache")
        self._store = store_of(config.model, lock_s=_LOCK_S) if config.model.store else None
        self._lock = threading.Lock()
        # What is to be written into the store, but not by a thread that has frames in hand: it syncs to the disk.
        self._to_write: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._unwritten: list[Callable[[], None]] = []
        self._write_at = 0.0
        # What to go back to while the one that serves is on trial: loaded, or to be loaded when it is needed.
        self._before: Serving | Bundle | None = None
        self._trial: Trial | None = None
        # Where the link pointed when it was last followed, and when that is tried again all the same.
        self._followed: Path | None = None
        self._again_at = math.inf
        # The bundle that no engine could load when it was tried for the first time.
        self._doubted: Bundle | None = None
        self._shown: set[str] = set()
        self._current: Serving = None  # type: ignore[assignment]  # until the next line
        self.last_install = None if self._store is None else last_install(self._store)
        self._load_first()
        self._followed = None if self._store is None else self._store.active()
        self._show(self._current)

    @property
    def current(self) -> Serving:
        """The model to classify with."""
        return self._current

    def saw(self, serving: Serving, images: Sequence[Image], predictions: Sequence[Prediction]) -> None:
        """Say what a model said of frames, in no particular order."""
        trial = self._trial
        if trial is None or serving is not self._current:
            return
        with self._lock:
            if self._trial is not trial:
                return
            trial.saw(images, predictions)
            if trial.is_passed:
                self._end_trial()
                return
            if not trial.is_alike:
                return
        reason = f"said the same of every frame for {self._config.model.trial_s:g} s"
        try:
            self._go_back(serving, reason)
        except EngineError as error:
            with self._lock:
                self._before = self._trial = None
            self._conditions.set(_MODEL, f"{serving.title}: {reason}; the one before it cannot be loaded: {error}")

    def leave(self, failed: Serving, error: EngineError) -> Serving:
        """Leave a model that fails on every engine; returns the one to go on with.

        Raises:
            EngineError: It is not on trial: the engines have failed, or the frames are to blame.
        """
        with self._lock:
            if self._current is not failed:
                return self._current
            if self._before is None:
                raise error
        return self._go_back(failed, str(error))

    def watch(self, stopping: threading.Event) -> None:
        """Take over what is activated, until the daemon stops."""
        while not stopping.wait(_LOOK_S):
            self._write()
            self._look_at_last_install()
            self.follow()

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
        if bundle.model == self._current.bundle.model:
            self._conditions.set(_MODEL, None)
            return
        try:
            serving = self._make(bundle)
        except EngineError as error:
            if self._doubted is None or self._doubted.model != bundle.model:
                self._doubt(bundle, error)
            else:
                self._condemn(bundle, str(error))
            return
        self._doubted = None
        self._begin_trial(bundle)
        with self._lock:
            if self._trial is None:
                self._before = self._current
            else:
                # What has not proved itself is nothing to go back to.
                self._current.classifier.close()
            self._current, self._trial = serving, Trial(self._config.model.trial_s)
        _log.info("model: %s serves now, on trial for %g s", serving.title, self._config.model.trial_s)
        self._conditions.set(_MODEL, None)
        self._show(serving)

    def _look_at_last_install(self) -> None:
        if self._store is not None and (last := last_install(self._store)) != self.last_install:
            self.last_install = last
            self._conditions.announce()

    def close(self) -> None:
        """Let go of the models."""
        with self._lock:
            for serving in (self._current, self._before):
                if isinstance(serving, Serving):
                    serving.classifier.close()
            if self._trial is not None and (trials := self._trials_of(self._current.bundle)):
                _try_to_write(lambda: trials.interrupt(self._current.bundle.model.sha256))

    def _load_first(self) -> None:
        """Take the best model that works.

        Raises:
            BundleError, EngineError: None does.
        """
        failed: list[tuple[Bundle, EngineError]] = []
        candidates = self._candidates()
        for bundle in candidates:
            trials = self._trials_of(bundle)
            if trials and trials.unfinished(bundle.model.sha256) >= _MOST_UNFINISHED:
                self._condemn(bundle, f"the process ended {_MOST_UNFINISHED} times while it was on trial")
                continue
            try:
                self._current = self._make(bundle)
            except EngineError as error:
                failed.append((bundle, error))
                continue
            if failed:
                # This one works on the same engines: it may have been the model.
                self._doubt(*failed[0])
            if trials and not trials.has_passed(bundle.model.sha256):
                self._begin_trial(bundle)
                self._before, self._trial = next(candidates), Trial(self._config.model.trial_s)
            return
        raise failed[-1][1]

    def _candidates(self) -> Iterator[Bundle]:
        """Bundles that can be opened, the best one first."""
        if self._store is not None:
            trust = trust_of(self._config.model)
            for warning in trust.keys.warnings:
                _log.warning("%s", warning)
            for folder in dict.fromkeys((self._store.active(), self._store.previous())):
                if folder is None:
                    continue
                try:
                    yield Bundle.open(folder, trust)
                except BundleError as error:
                    self._cannot_open(error)
        yield Bundle.shipped()

    def _cannot_open(self, error: BundleError) -> None:
        """Damaged, or its key was withdrawn: no fault of the model, which a new copy or key may mend."""
        self._conditions.set(_MODEL, str(error))
        self._again_at = time.monotonic() + self._config.model.retry_s

    def _make(self, bundle: Bundle) -> Serving:
        lost: dict[str, str] = {}

        def told(rung: str, reason: str | None) -> None:
            lost.pop(rung, None) if reason is None else lost.update({rung: reason})
            self._shown.add(rung)
            if self._current is not None and self._current.lost is lost:
                self._conditions.set(f"inference {rung}", reason)

        classifier = Classifier(bundle, self._devices, told)
        configured = self._config.triage.threshold
        threshold = bundle.manifest.threshold if configured is None else configured
        return Serving(bundle, classifier, Triage(bundle.manifest.alert_labels, threshold), lost)

    def _go_back(self, failed: Serving, reason: str) -> Serving:
        """
        Raises:
            EngineError: What served before cannot be loaded any more.
        """
        with self._lock:
            if self._current is not failed or self._before is None:
                return self._current
            before = self._before if isinstance(self._before, Serving) else self._make(self._before)
            self._current, self._before, self._trial = before, None, None
        failed.classifier.close()
        self._show(before)
        self._conditions.set(_MODEL, f"{failed.title}: {reason}; {before.title} serves again")
        self._to_write.put(lambda: self._withdraw(failed.bundle, reason))
        return before

    def _begin_trial(self, bundle: Bundle) -> None:
        """Remember it, should the process end with it."""
        trials = self._trials_of(bundle)
        if trials and not trials.has_passed(bundle.model.sha256):
            _try_to_write(lambda: trials.begin(bundle.model.sha256))

    def _end_trial(self) -> None:
        if isinstance(self._before, Serving):
            self._before.classifier.close()
        self._before = self._trial = None
        digest = self._current.bundle.model.sha256
        if trials := self._trials_of(self._current.bundle):
            self._to_write.put(lambda: trials.succeed(digest))

    def _trials_of(self, bundle: Bundle) -> Trials | None:
        """Where it is remembered how a bundle did; None: it came with the package, and has nothing to prove."""
        return None if self._store is None or bundle.is_shipped else self._store.trials

    def _doubt(self, bundle: Bundle, error: EngineError) -> None:
        """Say that a model cannot be loaded, and have it tried once more: the machine may have had no memory left."""
        self._doubted = bundle
        self._again_at = time.monotonic() + self._config.model.retry_s
        self._conditions.set(_MODEL, f"{bundle.model.name} {bundle.model.version}: {error}")

    def _condemn(self, bundle: Bundle, reason: str) -> None:
        """Say that a model does not serve, and have the store go back to one that does."""
        self._conditions.set(_MODEL, f"{bundle.model.name} {bundle.model.version}: {reason}")
        self._to_write.put(lambda: self._withdraw(bundle, reason))
        self._write()

    def _write(self) -> None:
        """Write into the store what is to be written; what cannot be is tried again."""
        while not self._to_write.empty():
            self._unwritten.append(self._to_write.get())
            self._write_at = 0.0
        if self._unwritten and time.monotonic() >= self._write_at:
            self._unwritten = [each for each in self._unwritten if not _try_to_write(each)]
            self._write_at = time.monotonic() + self._config.model.retry_s

    def _withdraw(self, bundle: Bundle, reason: str) -> None:
        if self._store is None or bundle.is_shipped:
            return
        self._store.withdraw(bundle.path, reason)
        # Where the link points now may be somewhere else again, and is then followed.
        self._followed = None if self._current is None or self._current.bundle.is_shipped else self._current.bundle.path

    def _show(self, serving: Serving) -> None:
        """Have the status say what there is to say of the model that serves now, and nothing of the one before it."""
        for rung in self._shown - set(serving.lost):
            self._conditions.set(f"inference {rung}", None)
        for rung, reason in dict(serving.lost).items():
            self._conditions.set(f"inference {rung}", reason)
        unsigned = serving.bundle.signed_by is None and not serving.bundle.is_shipped
        reason = f"{serving.title} is not signed, and serves because model.allow_unsigned is set"
        self._conditions.set(_TRUST, reason if unsigned else None)
        self._conditions.announce()


def _try_to_write(write: Callable[[], None]) -> bool:
    """False: it could not be written, which is said; what serves does not depend on it."""
    try:
        write()
    except (BundleError, OSError) as error:
        _log.error("model: %s", one_line(error))
        return False
    return True
