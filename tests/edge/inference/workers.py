"""What tests of the engine of sticks and of its process share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

from edge.bundle import Bundle
from edge.inference.engine import Engine
from edge.inference.myriad import MyriadEngine

# Long enough for any machine; whoever waits so long fails by the test's own timeout.
LONG_S = 60.0
SHORT_S = 0.5

GREY = np.full((128, 128, 3), 128, np.uint8)
SLEEP = "time.sleep(1000)"
# Holds the interpreter: no other thread of the worker runs any more.
SLEEP_HARD = "ctypes.PyDLL(None).sleep(1000)"


@contextmanager
def loaded(bundle: Bundle, python: Path, device: str = "CPU", answer_s: float = LONG_S) -> Iterator[MyriadEngine]:
    """An engine while the block lasts."""
    engine = MyriadEngine(bundle, python, device, LONG_S, answer_s)
    try:
        yield engine
    finally:
        engine.close()


def judge(engine: Engine, images: list[np.ndarray]) -> np.ndarray:
    """Probabilities of images, each in a request of its own."""
    return np.concatenate([engine.start([image]).result().probabilities for image in images])


def worker() -> psutil.Process:
    """The one worker that this process has."""
    (process,) = (child for child in psutil.Process().children() if "worker.py" in " ".join(child.cmdline()))
    return process


def ended(process: psutil.Process) -> bool:
    """Whether a process has ended, be it reaped or not."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
