"""From which probability on to alert, so that a wanted share of what matters is found, and what that costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.evaluate.checks import EvaluateError
from trainer.evaluate.statistics import Share, wilson

_ROUNDED_TO = 1e6
# What a product like 0.07 × 100 is off by.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold, and what comes of it on the tiles that it was chosen on.

    Attributes:
        wanted_recall: Which the recall must reach, 0..1.
        threshold: Alert if the probability is at least this, 0..1.
        recall: Share of the tiles of the alert label that raise an alert.
        precision: Share of the alerts that are of the alert label, 0..1.
        false_alarms_per_1000: Alerts that 1000 tiles of other labels raise; None: there are no such tiles.
    """

    wanted_recall: float
    threshold: float
    recall: Share
    precision: float
    false_alarms_per_1000: float | None


def threshold_for_recall(
    probabilities: NDArray[np.floating[Any]], is_alert: NDArray[np.bool_], wanted_recall: float
) -> Threshold:
    """The largest threshold with which a wanted share is found.

    It is rounded down to 6 digits, so that a tile is still found when another engine rounds it differently.

    Args:
        probabilities: (n,), of the alert label, 0..1.
        is_alert: (n,), whether that is the true label.
        wanted_recall: 0..1.

    Raises:
        EvaluateError: No tile has the alert label.
    """
    count = int(is_alert.sum())
    if not count:
        raise EvaluateError("no tile has the label to alert of, expected one at least")
    needed = max(math.ceil(wanted_recall * count - _ROUNDING), 1)
    least = float(np.sort(probabilities[is_alert])[::-1][needed - 1])
    threshold = min(math.floor(least * _ROUNDED_TO) / _ROUNDED_TO, least)
    alerts = probabilities >= threshold
    found = int((alerts & is_alert).sum())
    others = len(is_alert) - count
    false_alarms = int(alerts.sum()) - found
    return Threshold(
        wanted_recall,
        threshold,
        wilson(found, count),
        found / int(alerts.sum()),
        1000 * false_alarms / others if others else None,
    )
