"""Overflight on the device: what a drone needs to see damage below it and to say where it is.

Importing this package loads neither a runtime nor a decoder; `Classifier` and `Bundle` bring theirs when they are first
used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge.records import Alert, Fix, Frame, Observation, Prediction, Tile

if TYPE_CHECKING:
    from edge.bundle import Bundle
    from edge.inference import Classifier

__version__ = "0.1.0"
__all__ = ["Alert", "Bundle", "Classifier", "Fix", "Frame", "Observation", "Prediction", "Tile", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Bundle":
        from edge.bundle import Bundle

        return Bundle
    if name == "Classifier":
        from edge.inference import Classifier

        return Classifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
