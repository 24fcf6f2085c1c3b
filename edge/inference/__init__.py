"""How a tile becomes a prediction."""

from edge.inference.classifier import Classifier
from edge.inference.devices import Devices
from edge.inference.engine import EngineError

__all__ = ["Classifier", "Devices", "EngineError"]
