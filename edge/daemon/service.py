"""The model in service: lanes classify with it. A new one is on trial, and left for the one before it should it fail."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.bundle import Bundle
from edge.config import Config
from edge.daemon.service_record import ServiceRecord
from edge.daemon.trial import Trial
from edge.health import Conditions
from edge.inference import Classifier, Devices, EngineError
from edge.inference.devices import MYRIAD
from edge.inference.engine import NoAnswerError
from edge.records import Prediction
from edge.triage import Sightings, Triage

if TYPE_CHECKING:
    from edge.records import Image

_log = logging.getLogger(__name__)

# After so many tiles the process does not end with the model.
_LEAST_ANSWERED = 16
_MANY_HOPELESS = 32
MODEL = "model"
_TRUST, _TILES = "signature", "tiles"


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
        return title_of(self.bundle)


class Service:
    """Lanes ask it for the model before each batch, and say what became of it.

    Attributes:
        sightings: What is decided about places, whatever model serves.
    """

    def __init__(
        self,
        config: Config,
        devices: Devices,
        record: ServiceRecord,
        conditions: Conditions,
        threshold: float | None = None,
    ) -> None:
        """Nothing serves before `begin` is called.

        Args:
            threshold: What a command has set; None: that of the configuration, or of the model.

        Raises:
            ConfigError: ``triage.area`` is no area.
        """
        self.sightings = Sightings.from_config(config.triage)
        self._threshold = threshold
        self._config = config
        self._devices = devices
        self._record = record
        self._conditions = conditions
        self._lock = threading.Lock()
        self._current: Serving = None  # type: ignore[assignment]  # begin sets it
        # What to go back to while the one that serves is on trial: loaded, or to be loaded when it is needed.
        self._before: Serving | Bundle | None = None
        self._trial: Trial | None = None
        # Tiles that one on trial has given answers about; None: it had none in hand yet.
        self._answered: int | None = None
        self._hopeless = 0
        self._shown: set[str] = set()

    @property
    def current(self) -> Serving:
        """The model that serves."""
        return self._current

    def take(self) -> Serving:
        """The model to classify with. The first time that it gets tiles is remembered, should the process end with them."""
        if self._trial is not None and self._answered is None:
            with self._lock:
                if self._trial is not None and self._answered is None:
                    self._record.begin(self._current.bundle)
                    self._answered = 0
        return self._current

    def saw(self, serving: Serving, images: Sequence[Image], predictions: Sequence[Prediction]) -> None:
        """Say what a model said of tiles, in no particular order."""
        if self._hopeless:
            self._hopeless = 0
            self._conditions.set(_TILES, None)
        trial = self._trial
        if trial is None or serving is not self._current:
            return
        with self._lock:
            if self._trial is not trial:
                return
            self._count_answered(len(predictions))
            trial.saw(images, predictions)
            if trial.is_passed:
                self._end_trial()
                return
            if not trial.is_alike:
                return
        reason = f"said the same of every tile for {self._config.model.trial_s:g} s"
        if self._one_before(serving) is None:
            self._conditions.set(MODEL, f"{serving.title}: {reason}")
            return
        self._go_back(serving, reason)

    def rescue(
        self, failed: Serving, images: Sequence[Image], failure: EngineError
    ) -> tuple[Serving, Sequence[Prediction | EngineError]]:
        """Find answers about tiles, after a model failed on every engine.

        A model on trial is left if the one before it can do what it cannot. What neither can do is the tiles' fault.

        Returns:
            The model that answered, and for each tile its prediction, or why there is none.

        Raises:
            EngineError: No engine works any more.
        """
        serving, answers = self._rescue(failed, images, failure)
        errors = [answer for answer in answers if isinstance(answer, EngineError)]
        with self._lock:
            self._hopeless = self._hopeless + len(errors) if len(errors) == len(answers) else 0
            many = self._hopeless >= _MANY_HOPELESS
        if many:
            self._conditions.set(_TILES, f"no engine has an answer about {_MANY_HOPELESS} tiles in a row: {errors[-1]}")
        return serving, answers

    def begin(self, serving: Serving, before: Bundle | None) -> None:
        """Let the first model serve.

        Args:
            before: What to go back to, if it is on trial; None: it has nothing to prove.
        """
        self._current, self._before = serving, before
        if before is not None:
            self._trial = Trial(self._config.model.trial_s)
        self._show()

    def replace(self, serving: Serving) -> None:
        """Let another model serve, on trial."""
        with self._lock:
            if self._trial is None:
                self._before = self._current
            else:
                # What has not proved itself is nothing to go back to.
                self._current.classifier.close()
            self._current, self._trial, self._answered = serving, Trial(self._config.model.trial_s), None
        _log.info("model: %s serves now, on trial for %g s", serving.title, self._config.model.trial_s)
        self._conditions.set(MODEL, None)
        self._show()

    @property
    def is_begun(self) -> bool:
        """Whether a model serves."""
        return self._current is not None

    def set_threshold(self, threshold: float | None) -> None:
        """Alert from another probability on; None: from that of the configuration, or of the model, again."""
        with self._lock:
            self._threshold = threshold
            for serving in (self._current, self._before):
                if isinstance(serving, Serving):
                    serving.triage.threshold = self._threshold_for(serving.bundle)

    def make_room(self) -> bool:
        """Have the model that serves let go of a stick, which takes one model at a time. False: it has nothing else."""
        engine = self._current.classifier.current
        return engine is None or engine.device != MYRIAD or self._current.classifier.make_room(MYRIAD)

    def close(self) -> None:
        """Let go of the models."""
        with self._lock:
            for serving in (self._current, self._before):
                if isinstance(serving, Serving):
                    serving.classifier.close()
            if self._answered is not None:
                # The process ends because it is told to.
                self._record.survived(self._current.bundle)

    def make(self, bundle: Bundle) -> Serving:
        """Load a model beside the one that serves.

        Raises:
            EngineError: No engine works with it.
        """
        lost: dict[str, str] = {}

        def told(rung: str, reason: str | None) -> None:
            lost.pop(rung, None) if reason is None else lost.update({rung: reason})
            self._shown.add(rung)
            if self._current is not None and self._current.lost is lost:
                self._conditions.set(f"inference {rung}", reason)

        classifier = Classifier(bundle, self._devices, told)
        triage = Triage(bundle.manifest.alert_labels, self._threshold_for(bundle), self.sightings)
        return Serving(bundle, classifier, triage, lost)

    def _threshold_for(self, bundle: Bundle) -> float:
        configured = self._config.triage.threshold if self._threshold is None else self._threshold
        return bundle.manifest.threshold if configured is None else configured

    def _rescue(
        self, failed: Serving, images: Sequence[Image], failure: EngineError
    ) -> tuple[Serving, Sequence[Prediction | EngineError]]:
        if failed is not self._current:
            # Another thread has left it.
            return self._current, self._current.classifier.classify_each(images)
        before = self._one_before(failed)
        if before is None:
            return failed, failed.classifier.classify_each(images)
        if isinstance(failure, NoAnswerError):
            # The machine may have been too busy, or it hangs: to ask it once more about each tile takes too long.
            serving = self._go_back(failed, str(failure), refuse=False)
            return serving, serving.classifier.classify_each(images)
        try:
            answers = failed.classifier.classify_each(images)
        except EngineError as error:
            serving = self._go_back(failed, str(error))
            return serving, serving.classifier.classify_each(images)
        unanswered = [at for at, answer in enumerate(answers) if isinstance(answer, EngineError)]
        others = before.classifier.classify_each([images[at] for at in unanswered])
        if all(isinstance(other, EngineError) for other in others):
            return failed, answers
        serving = self._go_back(failed, str(answers[unanswered[0]]))
        return serving, serving.classifier.classify_each(images)

    def _one_before(self, serving: Serving) -> Serving | None:
        """What to go back to from a model on trial; None: it is not on trial, or there is nothing that works."""
        with self._lock:
            before = self._before if serving is self._current else None
        if not isinstance(before, Bundle):
            return before
        try:
            loaded = self.make(before)
        except EngineError as error:
            _log.error("model: nothing to go back to: %s", error)
            loaded = None
        with self._lock:
            if self._before is before:
                self._before = loaded
                return loaded
            if loaded is not None:
                loaded.classifier.close()
            return self._before if isinstance(self._before, Serving) else None

    def _go_back(self, failed: Serving, reason: str, *, refuse: bool = True) -> Serving:
        with self._lock:
            if self._current is not failed or not isinstance(self._before, Serving):
                return self._current
            before = self._before
            self._current, self._before, self._trial, self._answered = before, None, None, None
        failed.classifier.close()
        self._show()
        self._conditions.set(MODEL, f"{failed.title}: {reason}; {before.title} serves again")
        self._record.withdraw(failed.bundle, reason, refuse=refuse)
        return before

    def _count_answered(self, count: int) -> None:
        if self._answered is not None:
            before, self._answered = self._answered, self._answered + count
            if before < _LEAST_ANSWERED <= self._answered:
                self._record.survived(self._current.bundle)

    def _end_trial(self) -> None:
        if isinstance(self._before, Serving):
            self._before.classifier.close()
        self._before = self._trial = self._answered = None
        self._record.proved(self._current.bundle)

    def _show(self) -> None:
        """Have the status say what there is to say of the model that serves now, and nothing of the one before it."""
        serving = self._current
        for rung in self._shown - set(serving.lost):
            self._conditions.set(f"inference {rung}", None)
        for rung, reason in dict(serving.lost).items():
            self._conditions.set(f"inference {rung}", reason)
        unsigned = serving.bundle.signed_by is None and not serving.bundle.is_shipped
        reason = f"{serving.title} is not signed, and serves because model.allow_unsigned is set"
        self._conditions.set(_TRUST, reason if unsigned else None)
        self._conditions.announce()


def title_of(bundle: Bundle) -> str:
    """For people."""
    return f"{bundle.model.name} {bundle.model.version}"
