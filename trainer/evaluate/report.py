"""Writes what was measured: ``metrics.json`` for programs, ``predictions.csv``, and one page for people.

The page needs nothing but itself: no script, no font, no picture from elsewhere.
"""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import jinja2
import msgspec
import numpy as np

from edge.text import printable
from trainer.evaluate import plots
from trainer.evaluate.checks import EvaluateError
from trainer.evaluate.evaluate import Evaluation, Section
from trainer.evaluate.measure import Measured, pools
from trainer.evaluate.plots import distance_name
from trainer.evaluate.summary import percent, summary
from trainer.files import replaced_folder

METRICS, PREDICTIONS, REPORT = "metrics.json", "predictions.csv", "report.html"

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_MISTAKES = 24
_MOST_BLOCKS = 20
_DIGITS = 6
_JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class Mistake:
    """A tile that was decided wrongly; `picture` is a data URL, empty where pictures are left out."""

    name: str
    truth: str
    decided: str
    confidence: float
    picture: str


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A section of the page: what was measured, and the plots of it."""

    section: Section
    plots: tuple[tuple[str, str], ...]


def metrics(evaluation: Evaluation) -> dict[str, Any]:
    """What ``metrics.json`` holds: the fields of `Evaluation`, numbers rounded to 6 digits."""
    content = _rounded(msgspec.to_builtins(evaluation))
    if not isinstance(content, dict):
        raise TypeError("expected an object")
    return content


def check_target(folder: Path) -> None:
    """Refuse to put a report where something else is, before anything is computed.

    Raises:
        EvaluateError: There is a file, or a folder that is no report.
    """
    if folder.is_dir() and (not any(folder.iterdir()) or (folder / METRICS).is_file()):
        return
    if folder.exists() or folder.is_symlink():
        raise EvaluateError(f"--out {folder}: holds something else than a report; name a new folder, or remove it")


def write_report(
    folder: Path, evaluation: Evaluation, measured: Sequence[Measured], *, pictures: bool, command: str = ""
) -> None:
    """Write the folder, whole or not at all; an older report there is replaced.

    Args:
        pictures: Whether the page shows the worst mistakes; not where the data may not be published.
        command: That made it, for the page.

    Raises:
        EvaluateError: As `check_target`.
        OSError: It cannot be written.
    """
    check_target(folder)
    with replaced_folder(folder) as new:
        (new / METRICS).write_text(json.dumps(metrics(evaluation), indent=2) + "\n")
        _write_predictions(new / PREDICTIONS, evaluation.labels, measured)
        (new / REPORT).write_text(page(evaluation, measured, pictures=pictures, command=command), encoding="utf-8")


def page(evaluation: Evaluation, measured: Sequence[Measured], *, pictures: bool, command: str = "") -> str:
    """The page, as HTML."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    environment.filters |= {"percent": percent, "distance_name": distance_name}
    drawn = [
        _Drawn(section, tuple(_plots(f"s{number}", section, pool, evaluation)))
        for number, (section, pool) in enumerate(zip(evaluation.sections, pools(measured), strict=True), 1)
    ]
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        evaluation=evaluation,
        summary=summary(evaluation),
        drawn=drawn,
        mistakes=worst_mistakes(evaluation.labels, measured, pictures=pictures),
        pictures=pictures,
        most_blocks=_MOST_BLOCKS,
        command=command,
    )


def worst_mistakes(labels: Sequence[str], measured: Sequence[Measured], *, pictures: bool) -> list[Mistake]:
    """The 24 wrong decisions that the networks were surest of, the surest first."""
    found = [
        (float(part.probabilities[index].max()), part, int(index))
        for part in measured
        for index in np.flatnonzero(part.decided != part.tiles.labels)
    ]
    found.sort(key=lambda one: -one[0])
    return [
        Mistake(
            f"{part.dataset}/{printable(part.tiles.names[index])}",
            labels[part.tiles.labels[index]],
            labels[part.decided[index]],
            confidence,
            _data_url(part.tiles.images[index]) if pictures else "",
        )
        for confidence, part, index in found[:_MISTAKES]
    ]


def _plots(key: str, section: Section, pool: Measured, evaluation: Evaluation) -> list[tuple[str, str]]:
    """Title and SVG of each plot that there is something to show in."""
    alert = evaluation.labels.index(evaluation.alert)
    labels = pool.tiles.labels
    drawn = [("Confusion matrix", plots.confusion_plot(f"{key}-confusion", section.figures.confusion, evaluation.labels))]
    if section.figures.roc_auc is not None:
        curve = plots.roc_plot(f"{key}-roc", pool.probabilities, labels, evaluation.labels, floor=pool.floor, alert=alert)
        drawn.append(("ROC curve", curve))
    if section.calibration is not None:
        drawn.append(("Reliability", plots.reliability_plot(f"{key}-reliability", section.calibration)))
    if section.alert is not None:
        curve = plots.recall_plot(
            f"{key}-recall", pool.probabilities[:, alert], labels == alert, section.alert, evaluation.alert
        )
        drawn.append(("Recall against threshold", curve))
    if section.places is not None:
        drawn.append(("Errors by place", plots.errors_plot(f"{key}-place", pool.tiles.places, pool.decided == labels)))
    if section.distances:
        drawn.append(("By distance from training tiles", plots.distance_plot(f"{key}-distance", section.distances)))
    return drawn


def _write_predictions(path: Path, labels: Sequence[str], measured: Sequence[Measured]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["dataset", "fold", "name", "label", "decided", *labels, "longitude", "latitude"])
        for part in measured:
            rows = zip(part.tiles.names, part.tiles.labels, part.decided, part.probabilities, part.tiles.places, strict=True)
            for name, label, decided, probabilities, place in rows:
                writer.writerow(
                    [
                        part.dataset,
                        part.fold or "",
                        printable(name),
                        labels[label],
                        labels[decided],
                        *(f"{probability:.6f}" for probability in probabilities),
                        *("" if np.isnan(degrees) else f"{degrees:.7f}" for degrees in place),
                    ]
                )


def _data_url(image: Any) -> str:
    encoded = cv2.imencode(".jpeg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode('ascii')}"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
