"""Writes a comparison as a folder: tables, page and charts."""

from __future__ import annotations

from pathlib import Path

from trainer.compare.charts import draw
from trainer.compare.comparison import Comparison
from trainer.compare.markdown import page
from trainer.compare.subjects import CompareError
from trainer.compare.tables import comparison_csv, runs_csv, samples_csv
from trainer.files import replaced_folder

PAGE = "comparison.md"


def check_target(target: Path) -> None:
    """Refuse to replace what is no comparison.

    Raises:
        CompareError: There is something else.
    """
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists() and not (target / PAGE).is_file():
        raise CompareError(f"{target}: exists and is not a comparison; it is not replaced")


def write_report(comparison: Comparison, target: Path) -> None:
    """Write the folder, or leave an older one as it is.

    Raises:
        CompareError: There is something else.
        OSError: It cannot be written.
    """
    check_target(target)
    charts = draw(comparison.figures)
    texts = {
        PAGE: page(comparison, [(chart.name, chart.shows) for chart in charts]),
        "comparison.csv": comparison_csv(comparison),
        "runs.csv": runs_csv(comparison),
        **{chart.name: chart.svg for chart in charts},
    }
    if comparison.plan.curve_rounds:
        texts["samples.csv"] = samples_csv(comparison)
    with replaced_folder(target) as folder:
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
