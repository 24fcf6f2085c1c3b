"""K-fold cross-validation: as many trainings as there are folds, each measured on the fold that it did not see."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.datasets import Dataset, SplitRule, split_all
from trainer.files import replace_file
from trainer.fit.fit import FitError, fit
from trainer.fit.parameters import FitParameters
from trainer.fit.watchers import Watch, no_watchers
from trainer.start import Start

FOLDS = "folds.json"


def cross_validate(
    datasets: Sequence[Dataset],
    arguments: Sequence[str],
    rule: SplitRule,
    parameters: FitParameters,
    folder: Path,
    *,
    watch: Watch = no_watchers,
    start: Start | None = None,
) -> dict[str, Any]:
    """Train on every fold in turn; arguments as for `fit`. Interrupted, the same call goes on.

    Returns:
        What ``folds.json`` keeps: the metrics of each fold, and the mean, least and most balanced accuracy of each data set.

    Raises:
        FitError: A data set would be split the same way in every fold; else as `fit`.
    """
    if os.environ.get("TF_CONFIG"):
        raise FitError("TF_CONFIG: several machines train one network together, not the folds of a cross-validation")
    first, second = (split_all(datasets, replace(rule, fold=number)) for number in (0, 1))
    for part, other in zip(first, second, strict=True):
        if part.how == other.how:
            raise FitError(f"{part.dataset.name}: split {part.how} in every fold alike, expected --split random or place")
    runs = [
        fit(
            datasets, arguments, replace(rule, fold=number), parameters, folder / f"fold-{number + 1}", watch=watch, start=start
        )
        for number in range(rule.folds)
    ]
    folds = [run.record["metrics"] for run in runs]
    balanced = {dataset.name: _spread([fold[dataset.name]["balanced_accuracy"] for fold in folds]) for dataset in datasets}
    result = {"folds": folds, "balanced_accuracy": balanced}
    replace_file(folder / FOLDS, (json.dumps(result, indent=2) + "\n").encode())
    return result


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": round(statistics.fmean(values), 4), "least": min(values), "most": max(values)}
