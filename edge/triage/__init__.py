"""Which observations become alerts: a threshold, an area, confirmation by several frames, one alert for each place."""

from edge.triage.area import Area
from edge.triage.sightings import Sightings
from edge.triage.triage import Triage

__all__ = ["Area", "Sightings", "Triage"]
