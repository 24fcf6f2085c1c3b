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

Clock = Literal["image", "name", "system", "gps", "unsynchronised"]
"""Which clock a capture time is of: the image's own, the file name's, that of this machine, that of the GPS where this
machine's is not synchronised, or this machine's in spite of that, because there is no better one."""

PlaceKind = Literal["ground", "device"]
"""What a place is that of: the ground that is shown, or the aircraft."""

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
    xmp: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    clock: Clock = "system"
    exposed_s: float | None = None


@dataclass(frozen=True, slots=True)
class Tile:
    """The part of a frame that is classified at once: a box in the frame's pixels as encoded."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Attitude:
    """How something is turned against the horizon and north, degrees: yaw, then pitch, then roll, as aircraft count them.

    Attributes:
        yaw_deg: Clockwise from true north.
        pitch_deg: Nose up; of a camera: -90 looks straight down, 0 at the horizon.
        roll_deg: Right side down.
    """

    yaw_deg: float
    pitch_deg: float
    roll_deg: float


@dataclass(frozen=True, slots=True)
class Fix:
    """Where the device was at one moment. None stands for what the source does not know.

    Attributes:
        latitude: Degrees north, WGS 84.
        longitude: Degrees east, WGS 84.
        source: The provider that said so, as the config names it: "exif", "mavlink", "fixed".
        time: The moment that it is for, UTC.
        altitude_m: Above mean sea level.
        height_m: Above the ground at the place of take-off.
        attitude: Of the aircraft.
        camera: Of the camera, which a gimbal can hold otherwise than the aircraft.
        accuracy_m: Horizontal, one standard deviation.
        age_s: Between that moment and the nearest one at which the position was measured.
        is_2d: The receiver saw too few satellites to know its altitude; its place is less exact, too.
        is_of_ground: It is the place that the picture shows, and not that of the aircraft: a tile that is named by its place.
    """

    latitude: float
    longitude: float
    source: str
    time: datetime
    altitude_m: float | None = None
    height_m: float | None = None
    attitude: Attitude | None = None
    camera: Attitude | None = None
    accuracy_m: float | None = None
    age_s: float = 0.0
    is_2d: bool = False
    is_of_ground: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is said to be.

    Attributes:
        latitude: Degrees north, WGS 84.
        longitude: Degrees east, WGS 84.
        altitude_m: Above mean sea level; None: not known.
        kind: "ground": what the tile shows; "device": where the aircraft was, and what it saw lies somewhere around.
    """

    latitude: float
    longitude: float
    altitude_m: float | None
    kind: PlaceKind


@dataclass(frozen=True, slots=True)
class Footprint:
    """The ground that a tile shows.

    Attributes:
        corners: Longitude and latitude, degrees, of the ground under the tile's corners: top left, top right, bottom right,
            bottom left as the image shows it.
        latitude: Of the ground under the tile's middle, degrees north.
        longitude: Of the same, degrees east.
        altitude_m: Of the same above mean sea level; None where it is not known.
    """

    corners: tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]
    latitude: float
    longitude: float
    altitude_m: float | None = None


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
    """A prediction, the tile it is about and where that is.

    Attributes:
        fix: Where the device was; None: nobody knows, and nothing is made up.
        footprint: The ground that the tile shows; None: it cannot be said, and all that is known is where the device was.
    """

    frame: Frame
    tile: Tile
    prediction: Prediction
    fix: Fix | None
    footprint: Footprint | None = None

    @property
    def place(self) -> Place | None:
        """The middle of the footprint, else the place of the fix; None: nobody knows."""
        footprint, fix = self.footprint, self.fix
        if footprint is not None:
            return Place(footprint.latitude, footprint.longitude, footprint.altitude_m, "ground")
        if fix is None:
            return None
        return Place(fix.latitude, fix.longitude, fix.altitude_m, "ground" if fix.is_of_ground else "device")


@dataclass(frozen=True, slots=True)
class Alert:
    """An observation that triage decided to tell the ground about.

    Attributes:
        id: UUIDv7; stable over resends.
        observation: What the ground is told; of several of one place that with the highest confidence.
        label: The label that is alerted about, which a threshold below one half can make another than the most probable.
        confidence: Probability of that label, 0..1.
        count: How many frames show it.
        revision: How often it was told before; a higher one replaces a lower one.
        first_at: Capture time of the earliest of several, UTC; None: there is one.
        last_at: Of the latest.
        latest: The one that came last, where that is not the one that is told.
    """

    id: str
    observation: Observation
    label: str
    confidence: float
    count: int = 1
    revision: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    latest: Observation | None = None
