"""Classifies images with a bundle, on the best engine that works."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from edge.bundle import Bundle
from edge.inference.devices import ANY_DEVICE, Devices, check, rungs
from edge.inference.engine import BATCH, Engine, EngineError, NoEngineError, Request, Result
from edge.inference.ladder import Ladder, Told
from edge.records import Prediction

if TYPE_CHECKING:
    from edge.records import Image

_log = logging.getLogger(__name__)

# Pixels of larger images go in fewer at a time: inside the graph each takes sixteen times its bytes.
_RUN_BYTES = 4 << 20


def _log_reason(rung: str, reason: str | None) -> None:
    _log.warning("inference: %s", reason or f"{rung} is used again")


class Classifier:
    """A bundle on an engine; `input` says what tiles it was trained on.

    >>> classifier = Classifier(Bundle.shipped())
    >>> classifier.classify([cv2.imread("ruin.jpeg")])[0].label
    'damaged'
    """

    def __init__(self, bundle: Bundle, devices: Devices = ANY_DEVICE, told: Told = _log_reason) -> None:
        """
        Args:
            devices: What it may run on.
            told: Is told in one line why an engine was left for a worse one, and when it is back; by default the log is.

        Raises:
            EngineError: No engine works.
        """
        self._model = bundle.model
        self._labels = bundle.manifest.labels
        self.input = bundle.manifest.input
        found = rungs(bundle, devices)
        self._ladder = Ladder(
            found.loaders,
            told,
            partial(check, bundle),
            retry_s=devices.retry_s,
            absent=found.absent,
            is_faster=found.is_faster,
        )

    def close(self) -> None:
        """Try no lost engine again; requests that still run come to their end."""
        self._ladder.close()

    def make_room(self, rung: str) -> bool:
        """Let go of a device that takes one model at a time, for another model.

        Returns:
            Whether it is free; False: there is no other engine to go on with.
        """
        return self._ladder.make_room(rung)

    @property
    def engine(self) -> Engine:
        """The engine in use."""
        return self._ladder.engine

    @property
    def current(self) -> Engine | None:
        """The engine in use, without waiting for one that is being loaded; None while there is none."""
        return self._ladder.current

    def classify(self, images: Sequence[Image]) -> list[Prediction]:
        """Classify images of any sizes, in their order.

        Args:
            images: Each (height, width, 3) uint8, BGR.

        Raises:
            EngineError: No engine works any more.
        """
        return [prediction for started in self.start(images) for prediction in started.predictions()]

    def classify_each(self, images: Sequence[Image]) -> list[Prediction | EngineError]:
        """Classify images of which one may be too much for every engine, each by itself.

        All engines are tried anew. Where they work, and still none has an answer, that is the image's fault.

        Returns:
            For each image its prediction, or why there is none.

        Raises:
            EngineError: No engine works any more.
        """
        return [self._classify_one(image) for image in images]

    def _classify_one(self, image: Image) -> Prediction | EngineError:
        while True:
            self._ladder.begin_again()
            try:
                return self.classify([image])[0]
            except NoEngineError:
                # Another thread's image was too much for the last one.
                continue
            except EngineError as error:
                # Ready for the next one, and the status is as it was.
                self._ladder.begin_again()
                return error

    def start(self, images: Sequence[Image]) -> list[Started]:
        """Begin to classify images: one request for each run of equally large ones, `BATCH` at most.

        The predictions of the requests, one after the other, are in the order of the images.
        """
        runs: list[list[Image]] = []
        for image in images:
            if runs and runs[-1][0].shape == image.shape and len(runs[-1]) < min(BATCH, max(1, _RUN_BYTES // image.size)):
                runs[-1].append(image)
            else:
                runs.append([image])
        return [Started(self, run) for run in runs]


class Started:
    """A request that runs, with the images that it is about: should its engine fail, the next one gets them."""

    def __init__(self, classifier: Classifier, images: Sequence[Image]) -> None:
        self._classifier = classifier
        self._images = images
        self._begun = self._begin()

    @property
    def count(self) -> int:
        """How many images it is about."""
        return len(self._images)

    def predictions(self) -> list[Prediction]:
        """Wait for the predictions.

        Raises:
            EngineError: No engine works any more.
        """
        while not isinstance(self._begun, EngineError):
            engine, request = self._begun
            try:
                if isinstance(request, EngineError):
                    raise request
                result = request.result()
                self._check(result)
            except EngineError as error:
                self._classifier._ladder.leave(engine, error)
                self._begun = self._begin()
            else:
                return self._predictions(engine, result)
        raise self._begun

    def _begin(self) -> tuple[Engine, Request | EngineError] | EngineError:
        """Ask the engine in use. That it refuses, or that there is none, is for whoever waits for the predictions."""
        try:
            engine = self._classifier.engine
        except EngineError as error:
            return error
        try:
            return engine, engine.start(self._images)
        except EngineError as error:
            return engine, error

    def _check(self, result: Result) -> None:
        """An engine that answers nonsense has failed, whatever it says itself."""
        expected = (len(self._images), len(self._classifier._labels))
        if result.probabilities.shape != expected:
            raise EngineError(f"gave probabilities of shape {result.probabilities.shape}, expected {expected}")
        if not np.isfinite(result.probabilities).all():
            raise EngineError("gave a probability that is no number")

    def _predictions(self, engine: Engine, result: Result) -> list[Prediction]:
        labels, model = self._classifier._labels, self._classifier._model
        share_ms = result.elapsed_ms / len(self._images)
        return [
            Prediction(dict(zip(labels, row, strict=True)), model, engine.name, engine.device, share_ms)
            for row in result.probabilities.tolist()
        ]
