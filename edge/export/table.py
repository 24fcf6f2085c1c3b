"""A report for people: a table that fits 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from datetime import timedelta

from edge.export.report import Figures, JournalFigures, Report, Spread
from edge.journal import Run
from edge.text import printable

_WIDTH = 80
_NAME_WIDTH = 26
_CELL_WIDTH = 26


def report_lines(report: Report) -> list[str]:
    """A report in lines of at most 80 columns; a path that is longer is left whole."""
    columns = [figures for figures in (report.run, report.total) if figures is not None]
    lines = [*_journal_lines(report.journal), ""]
    lines.append(_row("", ["all runs" if figures.run is None else f"run {figures.run}" for figures in columns]))
    cells = [_cells(figures) for figures in columns]
    # All runs have every label that one has.
    names = dict.fromkeys(name for each in reversed(cells) for name in each)
    lines += [_row(name, [each.get(name, "0") for each in cells]) for name in names]
    reasons = columns[-1].reasons if columns else {}
    if reasons:
        lines += ["", "most frequent reasons why frames were rejected"]
        lines += [_shortened(f"{count:8}  {printable(reason)}", _WIDTH) for reason, count in reasons.items()]
    machine = None if report.run is None else report.run.machine
    if machine is not None:
        lines += ["", *textwrap.wrap(_machine(machine), _WIDTH, initial_indent="machine   ", subsequent_indent=" " * 10)]
    return lines


def _journal_lines(journal: JournalFigures) -> Iterator[str]:
    yield f"journal   {printable(journal.path)}, {journal.size_bytes / 1e6:.1f} MB"
    if journal.oldest_at is not None:
        yield f"frames    {journal.oldest_at} to {journal.newest_at}"
    if not journal.missing:
        yield f"alerts    numbered up to {journal.last_sequence}, none is missing"
    else:
        gaps = ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in journal.gaps)
        text = f"numbered up to {journal.last_sequence}, {journal.missing} ARE MISSING: {gaps}"
        yield from textwrap.wrap(text, _WIDTH, initial_indent="alerts    ", subsequent_indent=" " * 10)
    if journal.rescued:
        yield f"          {journal.rescued} of a damaged journal wait, too"
    for path in journal.set_aside:
        yield f"damaged   {printable(path)} was set aside"


def _cells(figures: Figures) -> Mapping[str, str]:
    frames = sum(figures.frames.values())
    cells = {
        "started": figures.started_at or "-",
        "first frame": figures.first_frame_at or "-",
        "last frame": figures.last_frame_at or "-",
        "time with frames": str(timedelta(seconds=round(figures.duration_s))),
        "frames": str(frames),
    }
    cells |= {f"  {outcome}": _share(count, frames) for outcome, count in figures.frames.items()}
    cells |= {
        "frames/s": "-" if figures.frames_per_s is None else f"{figures.frames_per_s:.1f}",
        "inference ms, median/p95": _spread(figures.inference_ms),
        "total ms, median/p95": _spread(figures.total_ms),
        "alerts": str(figures.alerts),
        "  delivered": _share(figures.delivered, figures.alerts),
        "  waiting": _share(figures.waiting, figures.alerts),
        "results": str(figures.results),
        "  without position": _share(figures.without_position, figures.results),
    }
    for counts in (figures.labels, figures.models, figures.engines):
        cells |= {f"  {printable(name)}": _share(count, figures.results) for name, count in counts.items()}
    box = figures.box
    cells["south-west corner"] = "-" if box is None else f"{box.south:.5f}, {box.west:.5f}"
    cells["north-east corner"] = "-" if box is None else f"{box.north:.5f}, {box.east:.5f}"
    return cells


def _row(name: str, cells: list[str]) -> str:
    return f"{_shortened(name, _NAME_WIDTH):{_NAME_WIDTH}}" + "".join(f" {cell:>{_CELL_WIDTH}}" for cell in cells)


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _share(count: int, total: int) -> str:
    return f"{count} ({count / total:6.1%})" if total else str(count)


def _spread(spread: Spread | None) -> str:
    return "-" if spread is None else f"{spread.median:.2f} / {spread.p95:.2f}"


def _machine(machine: Run) -> str:
    cores = f"{machine.physical_cores or 'unknown'} physical and {machine.logical_cores or 'unknown'} logical cores"
    return (
        f"{printable(machine.system)} ({printable(machine.system_version)}), {cores},"
        f" {machine.memory_bytes / 1e9:.1f} GB of memory, {'in a container' if machine.in_container else 'in no container'};"
        f" overflight {printable(machine.version)}"
    )
