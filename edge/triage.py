"""Decides which observations become alerts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge.messages import uuid7
from edge.records import Alert, Observation


class Triage:
    """Alerts about a tile whose probability of an alert label reaches a threshold."""

    def __init__(self, alert_labels: Sequence[str], threshold: float, new_id: Callable[[], str] = uuid7) -> None:
        """
        Args:
            threshold: 0..1; a probability equal to it is enough. It may be set anew at any time.
        """
        self._alert_labels = tuple(alert_labels)
        self.threshold = threshold
        self._new_id = new_id

    def decide(self, observation: Observation) -> Alert | None:
        """The alert about an observation, or None if the ground need not know."""
        probabilities = observation.prediction.probabilities
        label = max(self._alert_labels, key=lambda name: probabilities[name])
        if probabilities[label] < self.threshold:
            return None
        return Alert(self._new_id(), observation, label, probabilities[label])
