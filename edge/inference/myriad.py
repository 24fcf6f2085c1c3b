"""The engine of Movidius sticks: a model that runs in a process of its own, by an old OpenVINO in an old Python.

OpenVINO dropped the MYRIAD plugin after 2022, and the plugin can take its process with it when a stick hangs. So the daemon
starts `edge.inference.worker` with the interpreter that the operator names, and bounds whatever it asks of it.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge.bundle import Bundle
from edge.inference.engine import ANSWER_S, EngineError, Request, Result
from edge.inference.ir_v10 import ir_v10
from edge.inference.process import Worker

if TYPE_CHECKING:
    from edge.bundle.selftest import Weights
    from edge.records import Image

_log = logging.getLogger(__name__)

# A stick that is there is ready in a few seconds; that there is none, the plugin says after five.
START_S = 30.0


@dataclass(frozen=True, slots=True)
class _Finished:
    """A request of an engine that computes while it is asked."""

    outcome: Result

    def result(self) -> Result:
        return self.outcome


class MyriadEngine:
    """Runs a bundle's FP16 network on a stick, one image after the other."""

    name = "openvino"
    weights: Weights = "float"

    def __init__(
        self,
        bundle: Bundle,
        python: Path,
        device: str = "MYRIAD",
        start_s: float = START_S,
        answer_s: float = ANSWER_S,
    ) -> None:
        """
        Args:
            python: Interpreter that has numpy and an OpenVINO with the plugin, 2021.4 to 2022.3; or a program that sets up
                what such an interpreter needs and becomes it.
            device: As that OpenVINO names it; it drives CPUs too.
            start_s: From the start of the process until the model is on the device.
            answer_s: For one image.

        Raises:
            EngineError: The process cannot be started, the model cannot be loaded, or either took too long.
        """
        self.device = device
        self._answer_s = answer_s
        self._labels = len(bundle.manifest.labels)
        self._size = (bundle.manifest.input.height, bundle.manifest.input.width)
        # One image at a time: the worker does one thing after the other, and its memory holds one image.
        self._lock = threading.Lock()
        self._failure: str | None = None
        try:
            xml, weights = ir_v10(bundle)
            self._worker = Worker(python, max(len(xml) + len(weights), self._size[0] * self._size[1] * 3))
            # An engine that nobody has in hand any more is not always closed.
            weakref.finalize(self, self._worker.close)
            try:
                hello = self._worker.load(device, xml, weights, start_s)
            except EngineError:
                self._worker.close()
                raise
        except EngineError as error:
            raise EngineError(f"OpenVINO on {device}: {error}") from error
        _log.info("inference: OpenVINO %s on Python %s sees %s", hello.runtime, hello.python, ", ".join(hello.devices))

    def start(self, images: Sequence[Image]) -> Request:
        """As in `Engine`."""
        with self._lock:
            if self._failure is not None:
                raise EngineError(self._failure)
            begun = time.perf_counter()
            try:
                rows = [self._infer(image) for image in images]
            except EngineError as error:
                # Whatever it was, the next one starts anew; and nobody waits for the end of this one. Who asks in the meantime
                # may be the first to report it, and knows why.
                self._failure = str(error)
                self._worker.close()
                raise
            return _Finished(Result(np.array(rows, np.float32), (time.perf_counter() - begun) * 1000))

    def close(self) -> None:
        """As in `Engine`: the process ends, by itself if it is asked for nothing at the moment."""
        if self._lock.acquire(blocking=False):
            try:
                self._worker.quit()
            finally:
                self._lock.release()
        else:
            self._worker.kill()
            with self._lock:
                self._worker.close()

    def _infer(self, image: Image) -> tuple[float, ...]:
        if image.shape[:2] != self._size:
            image = _resized(image, self._size)
        values = self._worker.infer(image.tobytes(), (1, *image.shape), self._answer_s)
        if len(values) != self._labels:
            raise EngineError(f"gave {len(values)} probabilities, expected {self._labels}")
        return values


def _resized(image: Image, size: tuple[int, int]) -> Image:
    """An image at the model's size, by the interpolation that lies in the graphs of the other engines."""
    import cv2

    return np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
