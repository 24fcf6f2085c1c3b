"""The figures of a comparison as charts: SVG files that are legible on white and on black.

Colours are those of Okabe and Ito (2008, jfly.uni-koeln.de/color), which people of any colour vision can tell apart; the
shape of a mark and the stroke of a line say the same once more.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from trainer.compare.engines import ENGINES
from trainer.compare.figures import Figures, Spread

_INK, _PAPER, _GREY = "#1f2328", "#ffffff", "#868d96"
_NIGHT = {_INK: "#e6edf3", _PAPER: "#0d1117"}
_COLOURS = ("#d55e00", "#e69f00", "#009e73", "#56b4e9", "#0072b2", "#cc79a7", "#868d96")
_MARKS = ("o", "s", "^", "v", "D", "P", "X")
_STROKES = ("-", "--", ":", "-.")
_STYLE: dict[str, Any] = {
    "axes.edgecolor": _GREY,
    "axes.facecolor": "none",
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": _INK,
    "axes.titlelocation": "left",
    "figure.facecolor": _PAPER,
    "font.size": 10.0,
    "grid.color": _GREY,
    "grid.alpha": 0.25,
    "savefig.facecolor": _PAPER,
    "svg.fonttype": "none",
    "svg.hashsalt": "overflight",
    "text.color": _INK,
    "xtick.color": _GREY,
    "xtick.labelcolor": _INK,
    "ytick.color": _GREY,
    "ytick.labelcolor": _INK,
}
_BESIDE: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 9}
_WIDTH_INCHES = 8.6
_MOST_FOR_BARS = 20.0
# Between two labels at the ends of lines, as a share of the height of the axes.
_LABEL_SPACE = 0.045


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart.

    Attributes:
        name: Of the file.
        shows: What, in words.
        svg: Its content.
    """

    name: str
    shows: str
    svg: str


def draw(figures: Sequence[Figures]) -> list[Chart]:
    """All charts of which there is anything to show."""
    shown = [one for one in figures if not one.failed]
    if not shown:
        return []
    charts = [
        _bars("latency.svg", "Latency of one image, ms (less is better)", shown, lambda one: _scaled(one.latency_s, 1000)),
        _bars("throughput.svg", "Images per second (more is better)", shown, lambda one: _scaled(one.images_per_s, 1)),
        _bars("memory.svg", "Peak memory of the process, MB (less is better)", shown, _memory),
    ]
    if any(one.curve_s for one in shown):
        charts.append(_curves("samples.svg", "Seconds for a number of samples, without loading (less is better)", shown))
    return charts


def _scaled(spread: Spread | None, factor: float) -> tuple[float, float, float]:
    if spread is None:
        return 0.0, 0.0, 0.0
    return spread.median * factor, spread.least * factor, spread.most * factor


def _memory(one: Figures) -> tuple[float, float, float]:
    value = one.loaded.peak_bytes / 1e6 if one.loaded is not None else 0.0
    return value, value, value


def _bars(name: str, title: str, shown: Sequence[Figures], measured: Callable[[Figures], tuple[float, float, float]]) -> Chart:
    """A bar for each engine, with its figure, and a thin line from the least to the most.

    Where the largest would hide the smallest, a mark on a logarithmic axis instead: the length of a bar there means nothing.
    """
    values = np.array([measured(one) for one in shown])
    places = np.arange(len(shown))
    with rc_context(_STYLE):
        figure, axes = _figure(1.0 + 0.36 * len(shown), title)
        colours = [_colour(one) for one in shown]
        if values[:, 0].max() > _MOST_FOR_BARS * values[:, 0].min() > 0:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.grid(axis="x", which="major")
            axes.hlines(places, values[:, 1], values[:, 2], color=colours, linewidth=2.5)
            for place, value, one in zip(places, values[:, 0], shown, strict=True):
                axes.plot(value, place, _mark(one), color=_colour(one), markersize=8)
        else:
            axes.barh(places, values[:, 0], height=0.68, color=colours)
            axes.hlines(places, values[:, 1], values[:, 2], color=_INK, linewidth=1.2)
            axes.set_xlim(left=0)
        for place, (value, _, most) in zip(places, values, strict=True):
            axes.annotate(f"{value:,.3g}" if value < 100 else f"{value:,.0f}", (most, place), (7, 0), **_BESIDE)
        axes.set_yticks(places, [one.label for one in shown])
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.tick_params(axis="y", length=0)
        return Chart(name, title, _svg(figure, title))


def _curves(name: str, title: str, shown: Sequence[Figures]) -> Chart:
    """Both axes logarithmic: engines of very different speed are told apart, and a fixed time a sample is a slope of 1."""
    exports = list(dict.fromkeys(one.export for one in shown))
    with rc_context(_STYLE):
        figure, axes = _figure(5.6, title)
        axes.set_xscale("log")
        axes.set_yscale("log")
        ends = []
        for one in shown:
            samples, seconds = list(one.curve_s), list(one.curve_s.values())
            stroke = _STROKES[exports.index(one.export) % len(_STROKES)]
            axes.plot(samples, seconds, stroke, color=_colour(one), marker=_mark(one), markersize=3.5, linewidth=1.4)
            ends.append((seconds[-1], one))
        axes.set(xlabel="samples", ylabel="seconds")
        axes.grid(which="major")
        counts = list(shown[0].curve_s)
        axes.set_xticks(sorted({counts[0], counts[len(counts) // 4], counts[len(counts) // 2], counts[-1]}))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        _label_ends(axes, ends)
        return Chart(name, title, _svg(figure, title))


def _label_ends(axes: Axes, ends: Sequence[tuple[float, Figures]]) -> None:
    """The name of each line beside its end, moved apart where they would lie upon each other."""
    low, high = np.log(axes.get_ylim())
    ordered = sorted(ends, key=lambda end: end[0])
    wanted = [(np.log(seconds) - low) / (high - low) for seconds, _ in ordered]
    for height, (seconds, one) in zip(apart(wanted), ordered, strict=True):
        axes.annotate(
            one.label,
            (list(one.curve_s)[-1], seconds),
            (1.06, height),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": _colour(one),
                "linewidth": 0.8,
                "relpos": (0, 0.5),
                "shrinkA": 2,
                "shrinkB": 3,
            },
        )


def apart(wanted: Sequence[float]) -> list[float]:
    """Heights, ascending, each at least the space of a label above the one before, and together no higher than needed."""
    heights = list(wanted)
    for below, above in pairwise(range(len(heights))):
        heights[above] = max(heights[above], heights[below] + _LABEL_SPACE)
    top = max(1.0, _LABEL_SPACE * (len(heights) - 1))
    for index in reversed(range(len(heights))):
        heights[index] = min(heights[index], top)
        top = heights[index] - _LABEL_SPACE
    return heights


def _figure(height_inches: float, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH_INCHES, height_inches), layout="constrained")
    axes: Axes = figure.add_subplot()
    axes.set_title(title, fontsize=11)
    return figure, axes


def _colour(one: Figures) -> str:
    return _COLOURS[list(ENGINES).index(one.engine) % len(_COLOURS)]


def _mark(one: Figures) -> str:
    return _MARKS[list(ENGINES).index(one.engine) % len(_MARKS)]


def _svg(figure: Figure, title: str) -> str:
    """The same figure gives the same bytes; where the reader has chosen dark pages, ink and paper change places."""
    file = io.StringIO()
    FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None, "Title": title})
    night = "".join(
        f'[style*="{attribute}: {day}"] {{ {attribute}: {dark} !important; }} '
        for day, dark in _NIGHT.items()
        for attribute in ("fill", "stroke")
    )
    style = f"<style>@media (prefers-color-scheme: dark) {{ {night}}}</style>"
    return re.sub(r"(<svg\b[^>]*>)", lambda match: match[1] + style, file.getvalue(), count=1)
