"""The pictures of the report, as SVG that lies in the page itself and takes on its colours, by day and by night."""

from __future__ import annotations

import io
import math
import re
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from trainer.evaluate.calibration import Reliability
from trainer.evaluate.evaluate import Calibration
from trainer.evaluate.places import Distance
from trainer.evaluate.threshold import Threshold

# A colour that nothing else has, for the page's own text colour to take its place.
_INK = "#010203"
_BLUE, _ORANGE, _GREY = "#3b82c4", "#d9822b", "#8a8f98"
_INCHES = (4.6, 3.7)
_STYLE: Any = {
    "axes.edgecolor": _GREY,
    "axes.facecolor": "none",
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.size": 10.0,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "overflight",
    "text.color": _INK,
    # A label may have a dollar sign in its name.
    "text.parse_math": False,
    "xtick.color": _GREY,
    "xtick.labelcolor": _INK,
    "ytick.color": _GREY,
    "ytick.labelcolor": _INK,
}
_MOST_STEPS = 400

_styled = rc_context(_STYLE)


class Plot:
    """Axes to draw on, that become SVG; made and drawn on in the style of the report (`_styled`)."""

    def __init__(self, key: str) -> None:
        """Args:
        key: Unlike that of any other plot of the page.
        """
        self._key = key
        self._figure = Figure(figsize=_INCHES, layout="constrained")
        self.axes: Axes = self._figure.add_subplot()

    def svg(self, alternative: str) -> str:
        """The ``svg`` element.

        Args:
            alternative: What it shows, for who cannot see it.
        """
        file = io.StringIO()
        self._figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        drawn = file.getvalue()
        drawn = drawn[drawn.index("<svg") :].replace(_INK, "currentColor")
        # All plots share one page, in which an id must be there once.
        drawn = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{self._key}-", drawn)
        # Its style would be that of the whole page.
        drawn = re.sub(r"<(metadata|style)\b.*?</\1>", "", drawn, flags=re.DOTALL)
        drawn = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font: \1 system-ui, sans-serif", drawn)
        drawn = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", drawn, count=1)
        drawn = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", drawn, count=1)
        return drawn.replace("<svg", f'<svg role="img" aria-label="{_escaped(alternative)}"', 1)


@_styled
def confusion_plot(key: str, confusion: tuple[tuple[int, ...], ...], labels: tuple[str, ...]) -> str:
    """Tiles by true and decided label; the darker, the larger the share of the true label."""
    plot = Plot(key)
    axes, counts = plot.axes, np.array(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for row, column in np.ndindex(*counts.shape):
        fill = _BLUE if row == column else _ORANGE
        axes.axvspan(
            column - 0.5,
            column + 0.5,
            ymin=1 - (row + 1) / len(counts),
            ymax=1 - row / len(counts),
            color=fill,
            alpha=0.08 + 0.5 * float(shares[row, column]),
            linewidth=0,
        )
        text = f"{counts[row, column]}\n{shares[row, column]:.1%}"
        axes.text(column, row, text, ha="center", va="center", fontsize=10 if len(labels) <= 4 else 7)
    axes.set(xlabel="decided", ylabel="true", xlim=(-0.5, len(labels) - 0.5), ylim=(len(labels) - 0.5, -0.5))
    axes.set_xticks(range(len(labels)), labels, rotation=30 if len(labels) > 3 else 0)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(length=0)
    said = "; ".join(
        f"of {counts[row].sum()} {label} {counts[row, row]} were decided {label}" for row, label in enumerate(labels)
    )
    return plot.svg(f"Confusion matrix: {said}")


@_styled
def roc_plot(
    key: str,
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int32],
    names: tuple[str, ...],
    *,
    floor: NDArray[np.float64] | None,
    alert: int,
) -> str:
    """The ROC curve of the alert label, or with more than two labels of each against the others (Fawcett, 2006)."""
    from sklearn.metrics import roc_curve

    plot = Plot(key)
    axes = plot.axes
    shown = [alert] if len(names) == 2 else [label for label in range(len(names)) if 0 < (labels == label).sum() < len(labels)]
    for label in shown:
        false_alarms, found, _ = roc_curve(labels == label, probabilities[:, label])
        axes.plot(false_alarms, found, label=names[label], color=_BLUE if len(shown) == 1 else None)
    if floor is not None and len(shown) == 1:
        false_alarms, found, _ = roc_curve(labels == alert, floor[:, alert])
        axes.plot(false_alarms, found, color=_ORANGE, linestyle="--", label="linear model on colours")
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=":", label="chance")
    axes.set(xlabel="share of other tiles that raise a false alarm", ylabel="share that is found (recall)")
    _in_percent(axes)
    axes.legend(loc="lower right")
    return plot.svg(f"ROC curve of {', '.join(names[label] for label in shown)}: recall against the share of false alarms")


@_styled
def reliability_plot(key: str, calibration: Calibration) -> str:
    """Accuracy against confidence, before and after the temperature (Guo et al., 2017, figure 1)."""
    plot = Plot(key)
    axes = plot.axes
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=":", label="as it should be")
    for diagram, colour, mark, name in (
        (calibration.before, _ORANGE, "s", "as it is"),
        (calibration.after, _BLUE, "o", "after temperature"),
    ):
        sizes = 12 + 130 * np.array(diagram.tiles) / sum(diagram.tiles)
        axes.plot(diagram.confidence, diagram.accuracy, color=colour, linewidth=1)
        axes.scatter(diagram.confidence, diagram.accuracy, s=sizes, color=colour, marker=mark, label=name, alpha=0.8)
    least = min(*calibration.before.lower, *calibration.after.lower)
    axes.set(xlabel="confidence in the decided label", ylabel="share of these that is right")
    _in_percent(axes)
    axes.set_xlim(least, 1.02)
    axes.legend(loc="upper left")
    fitted = calibration.fitted
    return plot.svg(
        f"Reliability diagram: {_gaps(calibration.before)}. Expected calibration error {fitted.before:.2%} as it is, "
        f"{fitted.after:.2%} after temperature"
    )


@_styled
def recall_plot(
    key: str, probabilities: NDArray[np.float64], is_alert: NDArray[np.bool_], threshold: Threshold, alert: str
) -> str:
    """What share of each side raises an alert, against the threshold."""
    plot = Plot(key)
    axes = plot.axes
    steps = np.unique(np.quantile(probabilities, np.linspace(0, 1, _MOST_STEPS)))
    axes.plot(steps, [(probabilities[is_alert] >= step).mean() for step in steps], color=_BLUE, label=f"{alert}, found")
    if (~is_alert).any():
        alarms = [(probabilities[~is_alert] >= step).mean() for step in steps]
        axes.plot(steps, alarms, color=_ORANGE, linestyle="--", label="others, false alarm")
    axes.axvline(threshold.threshold, color=_GREY, linewidth=1, linestyle=":")
    axes.set(xlabel=f"threshold on the probability of {alert}", ylabel="share that raises an alert")
    _in_percent(axes)
    axes.legend(loc="center left")
    return plot.svg(
        f"Recall of {alert} and share of false alarms against the threshold; at {threshold.threshold:.4f} the recall is "
        f"{threshold.recall.value:.1%}"
    )


@_styled
def errors_plot(key: str, places: NDArray[np.float64], right: NDArray[np.bool_]) -> str:
    """Where right and wrong decisions lie."""
    plot = Plot(key)
    axes = plot.axes
    for chosen, colour, mark, size, name in ((right, _GREY, ".", 16, "right"), (~right, _ORANGE, "x", 22, "wrong")):
        # Thousands of points would make the page slow, so they become one picture.
        east, north = places[chosen].T
        width = 1 if mark == "x" else 0
        axes.scatter(east, north, s=size, color=colour, marker=mark, linewidth=width, label=name, rasterized=True)
    axes.set(xlabel="longitude, degrees", ylabel="latitude, degrees")
    axes.set_aspect(1 / math.cos(math.radians(float(places[:, 1].mean()))), adjustable="datalim")
    axes.ticklabel_format(useOffset=False)
    axes.locator_params(nbins=5)
    axes.legend(loc="upper left", bbox_to_anchor=(0, 1.12), ncols=2)
    return plot.svg(f"Map of {len(right)} tiles, {int((~right).sum())} of them decided wrongly")


@_styled
def distance_plot(key: str, distances: tuple[Distance, ...]) -> str:
    """Balanced accuracy against the distance from what was learned; plain accuracy where a label is missing."""
    plot = Plot(key)
    axes = plot.axes
    shares = [one.balanced_accuracy or one.accuracy for one in distances]
    values = np.array([share.value for share in shares])
    reach = np.abs(np.array([[share.least, share.most] for share in shares]).T - values)
    axes.errorbar(range(len(values)), values, yerr=reach, fmt="o", color=_BLUE, ecolor=_GREY, capsize=3)
    axes.set_xticks(range(len(values)), [f"{distance_name(one)}\n{one.tiles} tiles" for one in distances])
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlim(-0.5, len(values) - 0.5)
    axes.set(xlabel="to the nearest training tile", ylabel="balanced accuracy")
    axes.tick_params(axis="x", labelsize=8)
    said = "; ".join(f"{distance_name(one)}: {share.value:.1%}" for one, share in zip(distances, shares, strict=True))
    return plot.svg(f"Balanced accuracy by distance: {said}")


def distance_name(distance: Distance) -> str:
    """As in "20–60 m"."""
    return f"over {distance.from_m:g} m" if distance.to_m is None else f"{distance.from_m:g}–{distance.to_m:g} m"


def _in_percent(axes: Axes) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))


def _gaps(diagram: Reliability) -> str:
    low, high = min(diagram.accuracy), max(diagram.accuracy)
    return f"{len(diagram.tiles)} bins of confidence, in which {low:.0%} to {high:.0%} are right"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
