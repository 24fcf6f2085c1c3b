"""A comparison for people: what was measured, on what, how, and what came of it, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.compare.comparison import Comparison
from trainer.compare.figures import Figures, Spread

_MB = 1e6
_NONE = "–"
_CURVE_COLUMNS = 5


def tables(comparison: Comparison) -> str:
    """Time and memory, answers, and what is missing."""
    parts = [_time_table(comparison.figures), _answer_table(comparison.figures)]
    failures = [f"- {one.label}: {one.failed}" for one in comparison.figures if one.failed]
    if failures:
        parts.append("Not measured:\n\n" + "\n".join(failures) + "\n")
    return "\n".join(parts)


def page(comparison: Comparison, charts: Sequence[tuple[str, str]]) -> str:
    """The whole page.

    Args:
        charts: File name of each chart, and what it shows.
    """
    drawn = "\n\n".join(f"![{shows}]({name})" for name, shows in charts)
    curve = f"## Time against number of samples\n\n{_curve_table(comparison)}\n" if comparison.plan.curve_rounds else ""
    return f"""# One network in every runtime

```
{comparison.command}
```

## Measured on

{_machine(comparison)}

## Measured how

{_method(comparison)}

## Figures

{tables(comparison)}
{drawn}

{curve}"""


def _machine(comparison: Comparison) -> str:
    machine = comparison.machine
    versions = ", ".join(f"{name} {version}" for name, version in comparison.versions.items())
    return "\n".join(
        (
            f"- Processor: {machine.processor}, {machine.cores} cores; memory: {machine.memory_bytes / 2**30:.1f} GiB",
            f"- System: {machine.system}; Python {machine.python}",
            f"- Runtimes: {versions or 'none could be loaded'}",
            f"- Load average of the minute before: {machine.load:.2f} (0 is a quiet machine)",
        )
    )


def _method(comparison: Comparison) -> str:
    plan, (height, width) = comparison.plan, comparison.size
    images = "; ".join(f"{part.images} of {part.name} ({part.how})" for part in comparison.images)
    threads = "1 thread" if plan.threads == 1 else f"{plan.threads} threads"
    return "\n".join(
        (
            f"- Images: {images}; {width}×{height}, decoded, the same bytes for every engine. Resizing and scaling are part of "
            "each engine's time.",
            f"- Each engine runs in a process of its own, on the CPU, with {threads} on as many cores, and waits while others "
            f"are measured. In each of {plan.rounds} rounds every engine has its turn once, in an order dealt anew (seed "
            f"{plan.seed}).",
            f"- Latency: one image, one call after the other, {plan.latency.least} to {plan.latency.most} calls in a turn; the "
            "median of a turn, and the time that 95 of 100 calls keep to.",
            f"- Images per second: {plan.throughput_samples} images in a turn, in each engine's own way: batches of 64, "
            "OpenVINO batches of 8 in asynchronous requests, as on the device.",
            "- Figures are medians over the rounds, in brackets the least and the most. A ratio is taken within a round, where "
            "both were measured within moments of each other, and is the median of those: what slows the machine for a while "
            "slows both.",
            f'- "×" is the ratio to {comparison.base}: of time and memory, less is better; of images per second, more.',
            "- Load and first result: once, from the import of the runtime on. Memory: what is resident in the process, with "
            "the runtime and Python: after the first result, and at most until it had also run in full batches.",
            f"- Time against the number of samples: each number once in each of {plan.curve_rounds} rounds; images from the "
            "first again where there are fewer.",
            "- Largest difference: of any probability to the base's for the same image. Decided differently: images.",
            "- FP16 is how the weights are stored; OpenVINO is told to compute in FP32, as on the device.",
        )
    )


def _time_table(figures: Sequence[Figures]) -> str:
    head = (
        "engine",
        "latency, ms",
        "×",
        "p95, ms",
        "images/s",
        "×",
        "load, s",
        "first result, s",
        "memory, MB",
        "peak, MB",
        "×",
    )
    return _table(head, [(one.label, *_time_cells(one)) for one in figures if not one.failed])


def _time_cells(one: Figures) -> tuple[str, ...]:
    p95, loaded = one.latency_p95_s, one.loaded
    return (
        _spread(one.latency_s, 1000),
        _ratio(one.latency_s.ratio if one.latency_s is not None else None),
        _NONE if p95 is None else _number(p95.median * 1000),
        _spread(one.images_per_s, 1),
        _ratio(one.images_per_s.ratio if one.images_per_s is not None else None),
        *(
            (_NONE,) * 4
            if loaded is None
            else (
                f"{loaded.load_s:.2f}",
                f"{loaded.first_result_s:.2f}",
                f"{loaded.loaded_bytes / _MB:.0f}",
                f"{loaded.peak_bytes / _MB:.0f}",
            )
        ),
        _ratio(one.peak_ratio),
    )


def _answer_table(figures: Sequence[Figures]) -> str:
    head = ("engine", "accuracy", "balanced accuracy", "errors", "largest difference", "decided differently")
    lines = [
        (
            one.label,
            f"{answers.accuracy:.2%}",
            f"{answers.balanced_accuracy:.2%}",
            str(answers.errors),
            _NONE if answers.largest_difference is None else f"{answers.largest_difference:.1e}",
            _NONE if answers.decided_differently is None else str(answers.decided_differently),
        )
        for one in figures
        if (answers := one.agreement) is not None
    ]
    return _table(head, lines)


def _curve_table(comparison: Comparison) -> str:
    """Seconds for some of the numbers; ``samples.csv`` has all."""
    samples = comparison.plan.samples
    last = len(samples) - 1
    shown = sorted({samples[round(last * step / (_CURVE_COLUMNS - 1))] for step in range(_CURVE_COLUMNS)})
    lines = [(one.label, *(_number(one.curve_s[count]) for count in shown)) for one in comparison.figures if not one.failed]
    head = ("engine", *(f"{count:,}, s" for count in shown))
    return f"Loading not included. All numbers of samples are in [samples.csv](samples.csv).\n\n{_table(head, lines)}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, so that it can also be read as it is."""
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in (head, *lines)]
    widths = [max(len(line[column]) for line in escaped) for column in range(len(head))]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [
        [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        for line in escaped
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in (padded[0], rule, *padded[1:]))


def _spread(spread: Spread | None, factor: float) -> str:
    if spread is None:
        return _NONE
    least, most = _number(spread.least * factor), _number(spread.most * factor)
    return f"{_number(spread.median * factor)} ({least}–{most})"


def _ratio(ratio: float | None) -> str:
    return _NONE if ratio is None else _number(ratio)


def _number(value: float) -> str:
    """Three digits that count, and all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"
