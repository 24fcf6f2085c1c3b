"""The figures of a comparison as files of comma-separated values, in base units: seconds, bytes, shares of 1."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Sequence

from trainer.compare.comparison import Comparison
from trainer.compare.figures import Figures, Spread

_COLUMNS = (
    "row",
    "export",
    "engine",
    "is_base",
    "failed",
    "load_s",
    "first_result_s",
    "latency_s",
    "latency_least_s",
    "latency_most_s",
    "latency_ratio",
    "latency_p95_s",
    "images_per_s",
    "images_per_s_least",
    "images_per_s_most",
    "images_per_s_ratio",
    "memory_loaded_bytes",
    "memory_peak_bytes",
    "memory_peak_ratio",
    "accuracy",
    "balanced_accuracy",
    "errors",
    "largest_difference",
    "decided_differently",
)


def comparison_csv(comparison: Comparison) -> str:
    """One line for each engine."""
    return _written(_COLUMNS, (_values(one) for one in comparison.figures))


def runs_csv(comparison: Comparison) -> str:
    """One line for each single measurement, also of rows that failed later."""
    lines: list[tuple[object, ...]] = []
    for one in comparison.measured:
        label = one.row.label
        if one.loaded is not None:
            lines.append((label, "load", 1, "", 1, one.loaded.load_s))
            lines.append((label, "first result", 1, 1, 1, one.loaded.first_result_s))
        for number, calls in one.latency_s.items():
            lines += [(label, "latency", number, 1, call, seconds) for call, seconds in enumerate(calls, 1)]
        samples = comparison.plan.throughput_samples
        lines += [(label, "throughput", number, samples, 1, seconds) for number, seconds in one.throughput_s.items()]
        for samples, rounds in one.curve_s.items():
            lines += [(label, "samples", number, samples, 1, seconds) for number, seconds in rounds.items()]
    return _written(("row", "measured", "round", "samples", "call", "seconds"), lines)


def samples_csv(comparison: Comparison) -> str:
    """Time against number of samples: one line for each engine and number."""
    lines = [
        (one.row.label, samples, statistics.median(rounds.values()), min(rounds.values()), max(rounds.values()))
        for one in comparison.measured
        if not one.failed
        for samples, rounds in one.curve_s.items()
    ]
    return _written(("row", "samples", "seconds", "seconds_least", "seconds_most"), lines)


def _values(one: Figures) -> tuple[object, ...]:
    loaded, answers = one.loaded, one.agreement
    return (
        one.label,
        one.export,
        one.engine,
        int(one.is_base),
        one.failed,
        loaded and loaded.load_s,
        loaded and loaded.first_result_s,
        *_spread(one.latency_s),
        one.latency_p95_s and one.latency_p95_s.median,
        *_spread(one.images_per_s),
        loaded and loaded.loaded_bytes,
        loaded and loaded.peak_bytes,
        one.peak_ratio,
        answers and answers.accuracy,
        answers and answers.balanced_accuracy,
        answers and answers.errors,
        answers and answers.largest_difference,
        answers and answers.decided_differently,
    )


def _spread(spread: Spread | None) -> tuple[float | None, ...]:
    return (None,) * 4 if spread is None else (spread.median, spread.least, spread.most, spread.ratio)


def _written(columns: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([f"{value:.7g}" if isinstance(value, float) else value for value in line] for line in lines)
    return file.getvalue()
