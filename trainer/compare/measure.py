"""Measures engines in turns: in every round each of them once, in an order that is dealt anew.

A machine gets hot, and other programs come and go. What is measured one engine after the other then compares hours of the
day; what is measured in turns compares engines.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.compare.process import Worker, WorkerError
from trainer.compare.protocol import Latency, Load, Loaded, Probabilities, Throughput, Timed, Written
from trainer.compare.subjects import Row

# Of the threads of the engine before, so that they have gone to sleep.
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: Of latency and throughput.
        curve_rounds: Of time against the number of samples.
        samples: Those numbers.
        throughput_samples: Images that images per second are measured with.
        latency: How many single images in a turn.
        threads: Of each engine, and cores.
        limit_s: Longest time that an engine may take for an answer.
        seed: Deals the order of each round.
    """

    rounds: int
    curve_rounds: int
    samples: tuple[int, ...]
    threads: int
    limit_s: float
    throughput_samples: int = 1024
    latency: Latency = field(default_factory=lambda: Latency(least=20, most=100, enough_s=1.0))
    seed: int = 1

    @property
    def turns(self) -> int:
        """Of each engine: to load and to answer for every image, and those of all rounds."""
        return 2 + 2 * self.rounds + self.curve_rounds * len(self.samples)


@dataclass(slots=True)
class Measurements:
    """What was measured of an engine.

    Attributes:
        failed: Why there is no more; empty if all went well.
        loaded: None: it could not be loaded.
        probabilities: (images, labels), columns as the labels of the data; None: it did not come to that.
        latency_s: By round, of each call.
        throughput_s: By round, for all samples.
        curve_s: By number of samples, of each round.
    """

    row: Row
    failed: str = ""
    loaded: Loaded | None = None
    probabilities: NDArray[np.float32] | None = None
    latency_s: dict[int, list[float]] = field(default_factory=dict)
    throughput_s: dict[int, float] = field(default_factory=dict)
    curve_s: dict[int, dict[int, float]] = field(default_factory=dict)


Watch = Callable[[str, Row], None]
"""Is told what is about to be done with which row."""


def measure(
    rows: Sequence[Row], pixels: NDArray[np.uint8], labels: Sequence[str], plan: Plan, watch: Watch
) -> list[Measurements]:
    """Measure all rows; one that fails costs itself alone.

    Args:
        pixels: (n, height, width, 3) uint8, BGR.
        labels: Of the data, in their order; the exports have the same ones in any order.
    """
    with tempfile.TemporaryDirectory(prefix="overflight-compare-") as folder, ExitStack() as workers:
        np.save(Path(folder) / "pixels.npy", pixels, allow_pickle=False)
        turns = [_Turns(row, plan, Path(folder), tuple(labels), watch=watch, workers=workers) for row in rows]
        for one in turns:
            one.load()
        for one in turns:
            one.probabilities()
        dealer = random.Random(plan.seed)  # noqa: S311 - an order, not a secret
        for number in range(1, plan.rounds + 1):
            for one in _dealt(turns, dealer):
                one.latency(number)
            for one in _dealt(turns, dealer):
                one.throughput(number)
        for number in range(1, plan.curve_rounds + 1):
            for samples in plan.samples:
                for one in _dealt(turns, dealer):
                    one.curve(number, samples)
        return [one.measured for one in turns]


class _Turns:
    """The turns of one engine. After a failure it has none."""

    def __init__(
        self, row: Row, plan: Plan, folder: Path, labels: tuple[str, ...], *, watch: Watch, workers: ExitStack
    ) -> None:
        self.measured = Measurements(row, failed=row.left_out)
        self._row = row
        self._plan = plan
        self._folder = folder
        self._labels = labels
        self._watch = watch
        self._workers = workers
        self._worker: Worker | None = None

    def load(self) -> None:
        self._turn("load", self._load)

    def probabilities(self) -> None:
        self._turn("accuracy", self._probabilities)

    def latency(self, number: int) -> None:
        def ask(worker: Worker) -> None:
            self.measured.latency_s[number] = worker.ask(self._plan.latency, Timed).seconds

        self._turn(f"latency, round {number}", lambda: ask(self._loaded()))

    def throughput(self, number: int) -> None:
        def ask(worker: Worker) -> None:
            [self.measured.throughput_s[number]] = worker.ask(Throughput(self._plan.throughput_samples), Timed).seconds

        self._turn(f"images per second, round {number}", lambda: ask(self._loaded()))

    def curve(self, number: int, samples: int) -> None:
        def ask(worker: Worker) -> None:
            [self.measured.curve_s.setdefault(samples, {})[number]] = worker.ask(Throughput(samples), Timed).seconds

        self._turn(f"{samples} samples, round {number}", lambda: ask(self._loaded()))

    def _turn(self, what: str, ask: Callable[[], None]) -> None:
        if self.measured.failed:
            return
        self._watch(what, self._row)
        time.sleep(_PAUSE_S)
        try:
            ask()
        except WorkerError as error:
            self.measured.failed = str(error)

    def _load(self) -> None:
        self._worker = self._workers.enter_context(Worker(self._plan.limit_s))
        record = self._row.subject.record
        # What was exported has the temperature in its weights, what can learn on has not.
        temperature = record.calibration.temperature if record.calibration is not None else 1.0
        request = Load(
            self._row.engine, str(self._row.model), str(self._folder / "pixels.npy"), self._plan.threads, temperature
        )
        self.measured.loaded = self._worker.ask(request, Loaded)

    def _probabilities(self) -> None:
        path = self._folder / "probabilities.npy"
        self._loaded().ask(Probabilities(str(path)), Written)
        answered = np.load(path, allow_pickle=False)
        own = self._row.subject.record.labels
        if answered.ndim != 2 or answered.shape[1] != len(own) or not np.isfinite(answered).all():
            self._loaded().close()
            raise WorkerError(f"gave {answered.shape}, expected a finite probability for each of {', '.join(own)}")
        self.measured.probabilities = answered[:, [own.index(label) for label in self._labels]]

    def _loaded(self) -> Worker:
        if self._worker is None:
            raise WorkerError("is not loaded")
        return self._worker


def _dealt(turns: Sequence[_Turns], dealer: random.Random) -> list[_Turns]:
    return dealer.sample(turns, len(turns))
