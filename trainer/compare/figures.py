"""From single measurements to what a table says: medians over the rounds, and ratios within each round."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.compare.measure import Measurements
from trainer.compare.protocol import Loaded
from trainer.metrics import recalls


@dataclass(frozen=True, slots=True)
class Spread:
    """Of several rounds.

    Attributes:
        ratio: Median of the ratios to the base of the same round; None: the base was not measured.
    """

    median: float
    least: float
    most: float
    ratio: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How an engine answered.

    Attributes:
        accuracy: 0..1; so is `balanced_accuracy`.
        errors: Images decided wrongly.
        largest_difference: Of a probability to the base's of the same image; None: the base has no answers.
        decided_differently: Images that the base decides differently.
    """

    accuracy: float
    balanced_accuracy: float
    errors: int
    largest_difference: float | None
    decided_differently: int | None


@dataclass(frozen=True, slots=True)
class Figures:
    """What the table says of an engine.

    Attributes:
        failed: Why there are no figures; empty if all went well.
        is_base: Whether the others are set in relation to it.
        latency_s: Of one image, median of a round's calls; `latency_p95_s`: 95th percentile.
        images_per_s: Of many images.
        peak_ratio: Peak memory by that of the base.
        curve_s: Seconds by number of samples, median over the rounds.
    """

    label: str
    export: str
    engine: str
    failed: str
    is_base: bool
    loaded: Loaded | None
    peak_ratio: float | None
    latency_s: Spread | None
    latency_p95_s: Spread | None
    images_per_s: Spread | None
    agreement: Agreement | None
    curve_s: dict[int, float]


def figures(
    measured: Sequence[Measurements], base: Measurements, labels: NDArray[np.int32], throughput_samples: int
) -> list[Figures]:
    """What the table says, a row for each engine.

    Args:
        labels: (images,), the true ones.
    """
    # Nothing is set in relation to what did not come to its end.
    related = base if not base.failed else Measurements(base.row)
    return [_figures(one, related, labels, throughput_samples, is_base=one is base) for one in measured]


def spread(values: Mapping[int, float], base: Mapping[int, float]) -> Spread | None:
    """Median, least and most over the rounds, and the median of the ratios within a round; None: there was no round.

    A ratio within a round compares what was measured within seconds of each other: a machine that is slower for a while is
    slower for both.

    Args:
        values: By round.
        base: By round, of the base.
    """
    if not values:
        return None
    ratios = [values[number] / base[number] for number in values if number in base]
    return Spread(
        statistics.median(values.values()),
        min(values.values()),
        max(values.values()),
        statistics.median(ratios) if ratios else None,
    )


def agreement(probabilities: NDArray[np.float32], base: NDArray[np.float32] | None, labels: NDArray[np.int32]) -> Agreement:
    """How good the answers are, and how far from those of the base.

    Args:
        probabilities: (images, labels); `base` alike.
        labels: (images,), the true ones.
    """
    decided = probabilities.argmax(axis=1)
    errors = int((decided != labels).sum())
    return Agreement(
        1 - errors / len(labels),
        statistics.fmean(recalls(decided, labels)),
        errors,
        None if base is None else float(np.abs(probabilities.astype(np.float64) - base).max()),
        None if base is None else int((decided != base.argmax(axis=1)).sum()),
    )


def _figures(
    one: Measurements, base: Measurements, labels: NDArray[np.int32], throughput_samples: int, *, is_base: bool
) -> Figures:
    row = one.row
    if one.failed:
        # Half of the rounds would look like all of them.
        return Figures(row.label, row.subject.name, row.engine, one.failed, is_base, None, None, None, None, None, None, {})
    peak_ratio = one.loaded.peak_bytes / base.loaded.peak_bytes if one.loaded and base.loaded else None
    return Figures(
        row.label,
        row.subject.name,
        row.engine,
        "",
        is_base,
        one.loaded,
        peak_ratio,
        spread(_medians(one), _medians(base)),
        spread(_percentiles(one), _percentiles(base)),
        spread(_rates(one, throughput_samples), _rates(base, throughput_samples)),
        None if one.probabilities is None else agreement(one.probabilities, base.probabilities, labels),
        {samples: statistics.median(seconds.values()) for samples, seconds in one.curve_s.items()},
    )


def _medians(one: Measurements) -> dict[int, float]:
    return {number: statistics.median(seconds) for number, seconds in one.latency_s.items()}


def _percentiles(one: Measurements) -> dict[int, float]:
    return {number: float(np.percentile(seconds, 95)) for number, seconds in one.latency_s.items()}


def _rates(one: Measurements, samples: int) -> dict[int, float]:
    return {number: samples / seconds for number, seconds in one.throughput_s.items()}
