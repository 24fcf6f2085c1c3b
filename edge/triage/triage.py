"""Decides which observations become alerts."""

from __future__ import annotations

from collections.abc import Sequence

from edge.records import Alert, Observation
from edge.triage.sighting import Sighting
from edge.triage.sightings import Sightings


class Triage:
    """Alerts about tiles whose probability of an alert label reaches a threshold. Any thread may call it."""

    def __init__(self, alert_labels: Sequence[str], threshold: float, sightings: Sightings | None = None) -> None:
        """
        Args:
            threshold: 0..1; a probability equal to it is enough. It may be set anew at any time.
            sightings: What becomes of tiles that reach it, which outlives the model; None: each is an alert.
        """
        self._alert_labels = tuple(alert_labels)
        self.threshold = threshold
        self._sightings = sightings or Sightings()

    def decide_all(self, observations: Sequence[Observation]) -> tuple[Alert, ...]:
        """What the ground is to be told of the tiles of a frame: new alerts, and new revisions of those it knows, each once."""
        if not observations:
            return ()
        threshold = self.threshold
        sightings = []
        for observation in observations:
            probabilities = observation.prediction.probabilities
            label = max(self._alert_labels, key=probabilities.__getitem__)
            if probabilities[label] >= threshold:
                sightings.append(Sighting(observation, observation.place, label, probabilities[label]))
        return self._sightings.take(observations[0].frame, sightings)
