"""The records that flow through the device. They are immutable and do no I/O; every room speaks in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Image: TypeAlias = NDArray[np.uint8]
    """Pixels, (height, width, 3) uint8, BGR as OpenCV decodes them."""

Outcome = Literal["observed", "rejected", "unavailable"]
"""What became of a frame; unavailable: the system did not let it be read, which can change."""


@dataclass(frozen=True, slots=True)
class FrameKey:
    """What makes a frame the same one as before: a file that is rewritten is a new frame.

    Attributes:
        source: Where frames come from: the folder's path, or a camera's address.
        name: The frame's name within its source; for a file its path below the folder, printable.
        size_bytes: Size of the encoded image.
        modified_ns: Modification time of the file, nanoseconds since 1970-01-01 UTC.
    """

    source: str
    name: str
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One image with its capture time.

    Attributes:
        captured_at: Moment of the exposure, UTC; the file's modification time where the image does not say.
        width: Width as encoded, pixels; the decoded pixels may be fewer.
        height: Height as encoded, pixels.
        pixels: Decoded pixels, left out of comparisons.
        exif: EXIF tags by the names that exifread gives them ("GPS GPSLatitude"); empty where there are none.
    """

    key: FrameKey
    captured_at: datetime
    width: int
    height: int
    pixels: Image = field(repr=False, compare=False)
    exif: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Tile:
    """The part of a frame that is classified at once: a box in the frame's pixels as encoded."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Fix:
    """Where the device was at one moment. None stands for what the source does not know.

    Attributes:
        latitude: Degrees north, WGS 84.
        longitude: Degrees east, WGS 84.
        source: The provider that said so, as the config names it: "exif", "filename", "fixed".
        time: The moment that the fix is for, UTC.
        altitude_m: Above mean sea level.
        height_m: Above ground.
        yaw_deg: Clockwise from north; pitch_deg: nose up; roll_deg: right side down.
        accuracy_m: Horizontal, one standard deviation.
    """

    latitude: float
    longitude: float
    source: str
    time: datetime
    altitude_m: float | None = None
    height_m: float | None = None
    yaw_deg: float | None = None
    pitch_deg: float | None = None
    roll_deg: float | None = None
    accuracy_m: float | None = None


@dataclass(frozen=True, slots=True)
class ModelName:
    """Which bundle computed a prediction; sha256 is that of its manifest, in hexadecimal."""

    name: str
    version: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """A tile's class probabilities.

    Attributes:
        probabilities: By label; they sum to 1.
        engine: The runtime that computed them ("openvino", "litert", "tensorflow") and the device it ran on ("CPU").
        inference_ms: Wall time of the request, shared equally among the tiles that were in it.
    """

    probabilities: Mapping[str, float]
    model: ModelName
    engine: str
    device: str
    inference_ms: float

    @property
    def label(self) -> str:
        """The most probable label."""
        return max(self.probabilities, key=lambda label: self.probabilities[label])


@dataclass(frozen=True, slots=True)
class Observation:
    """A prediction, the tile it is about and where that is. No fix: the position is unknown, and stays so."""

    frame: Frame
    tile: Tile
    prediction: Prediction
    fix: Fix | None


@dataclass(frozen=True, slots=True)
class Alert:
    """An observation that triage decided to tell the ground about.

    Attributes:
        id: UUIDv7; stable over resends.
        label: The label that is alerted about, which a threshold below one half can make another than the most probable.
        confidence: Probability of that label, 0..1.
    """

    id: str
    observation: Observation
    label: str
    confidence: float
