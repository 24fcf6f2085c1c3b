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

from edge.bundle import Bundle, BundleError
from edge.config import Config
from edge.health import Conditions
from edge.inference import Classifier, EngineError
from edge.inference.engine import Mode
from edge.model import devices_of, store_of, trust_of
from edge.records import Prediction
from edge.triage import Triage

_log = logging.getLogger(__name__)

_LOOK_S = 0.5
# Who installs tests a model while it holds the lock.
_LOCK_S = 10.0
# Fewer frames than that can be alike by chance, or because the drone stands still over a field.
_LEAST_FRAMES = 16
# Even of a still scene a camera's noise moves the last digits.
_ALIKE = 1e-6
_MODEL, _TRUST = "model", "signature"


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


class Trial:
    """Watches what a new model says of live frames."""

    def __init__(self, trial_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            trial_s: From the first frame on.
        """
        self._trial_s = trial_s
        self._clock = clock
        self._begun: float | None = None
        self._frames = 0
        self._first: Prediction | None = None
        self._varied = False

    @property
    def is_alike(self) -> bool:
        """Whether it said the same of every frame for the whole time."""
        return not self._varied and self._frames >= _LEAST_FRAMES and self._is_over

    @property
    def is_passed(self) -> bool:
        """Whether it lasted, and told frames apart."""
        return self._varied and self._is_over

    @property
    def _is_over(self) -> bool:
        return self._begun is not None and self._clock() - self._begun >= self._trial_s

    def saw(self, predictions: Sequence[Prediction]) -> None:
        """Take what it said of some frames."""
        for prediction in predictions:
            if self._first is None:
                self._first, self._begun = prediction, self._clock()
            self._frames += 1
            self._varied = self._varied or any(
                abs(value - self._first.probabilities[label]) > _ALIKE for label, value in prediction.probabilities.items()
            )


class Models:
    """The model that serves. Lanes ask for it before each batch, and say what became of it."""

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
        self._condemned: queue.SimpleQueue[tuple[Bundle, str]] = queue.SimpleQueue()
        self._before: Serving | None = None
        self._trial: Trial | None = None
        # Where the link pointed when it was last followed, and when that is tried again all the same.
        self._followed = None if self._store is None else self._store.active()
        self._again_at = math.inf
        self._shown: set[str] = set()
        self._current: Serving = None  # type: ignore[assignment]  # until the next line
        self._load_first()
        self._show(self._current)

    @property
    def current(self) -> Serving:
        """The model to classify with."""
        return self._current

    def saw(self, serving: Serving, predictions: Sequence[Prediction]) -> None:
        """Say what a model said of frames, in no particular order."""
        trial = self._trial
        if trial is None or serving is not self._current:
            return
        with self._lock:
            if self._trial is not trial:
                return
            trial.saw(predictions)
            if trial.is_passed:
                self._end_trial()
                return
            if not trial.is_alike:
                return
        self._go_back(serving, f"said the same of every frame for {self._config.model.trial_s:g} s")

    def leave(self, failed: Serving, error: EngineError) -> Serving:
        """Leave a model that fails on every engine; returns the one to go on with.

        Raises:
            EngineError: It is not on trial: the engines have failed, not the model.
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
            while not self._condemned.empty():
                self._withdraw(*self._condemned.get())
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
            self._condemn(bundle, str(error))
            return
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

    def close(self) -> None:
        """Let go of the models."""
        with self._lock:
            for serving in (self._current, self._before):
                if serving is not None:
                    serving.classifier.close()

    def _load_first(self) -> None:
        """Take the best model that works.

        Raises:
            BundleError, EngineError: None does.
        """
        failed: list[tuple[Bundle, EngineError]] = []
        for bundle in self._candidates():
            try:
                self._current = self._make(bundle)
            except EngineError as error:
                failed.append((bundle, error))
                continue
            for other, reason in failed:
                # This one works on the same engines: it was the model.
                self._condemn(other, str(reason))
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
        with self._lock:
            if self._current is not failed or self._before is None:
                return self._current
            self._current, self._before, self._trial = self._before, None, None
            serving = self._current
        failed.classifier.close()
        self._show(serving)
        self._conditions.set(_MODEL, f"{failed.title}: {reason}; {serving.title} serves again")
        # Not on the thread that has frames in hand: the store syncs to the disk.
        self._condemned.put((failed.bundle, reason))
        return serving

    def _end_trial(self) -> None:
        if self._before is not None:
            self._before.classifier.close()
        self._before = self._trial = None

    def _condemn(self, bundle: Bundle, reason: str) -> None:
        """Say that a model does not serve, and have the store go back to one that does."""
        self._conditions.set(_MODEL, f"{bundle.model.name} {bundle.model.version}: {reason}")
        self._withdraw(bundle, reason)

    def _withdraw(self, bundle: Bundle, reason: str) -> None:
        if self._store is None or bundle.is_shipped:
            return
        try:
            self._store.withdraw(bundle.path, reason)
            # Where the link points now may be somewhere else again, and is then followed.
            self._followed = None if self._current.bundle.is_shipped else self._current.bundle.path
        except BundleError as error:
            _log.error("model: the store cannot go back: %s", error)

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
