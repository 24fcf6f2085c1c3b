"""Position from the GPS tags of a photo (Exif 2.32, section 4.6.6)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edge.position.coordinates import check_coordinates
from edge.records import Fix, Frame
from edge.text import printable


class ExifPosition:
    """Reads GPSLatitude, GPSLongitude, GPSAltitude and GPSHPositioningError."""

    name = "exif"

    @classmethod
    def parse(cls, argument: str) -> ExifPosition:
        """Build from the config's text behind ``exif``, which is empty.

        Raises:
            ValueError: It is not.
        """
        if argument:
            raise ValueError("expected exif without an argument")
        return cls()

    def locate(self, frame: Frame) -> Fix | None:
        """The photo's own position; None if it has no GPS tags.

        Raises:
            ValueError: A part is missing, has a zero denominator or is out of range.
        """
        tags = frame.exif
        if "GPS GPSLatitude" not in tags and "GPS GPSLongitude" not in tags:
            return None
        latitude = _angle(tags, "GPS GPSLatitude", positive="N", negative="S")
        longitude = _angle(tags, "GPS GPSLongitude", positive="E", negative="W")
        check_coordinates(latitude, longitude)
        return Fix(
            latitude,
            longitude,
            self.name,
            frame.captured_at,
            altitude_m=_altitude(tags),
            accuracy_m=_accuracy(tags),
        )


def _angle(tags: Mapping[str, Any], name: str, positive: str, negative: str) -> float:
    """Degrees from degrees, minutes and seconds and the letter of the hemisphere."""
    letter = str(getattr(tags.get(name + "Ref"), "values", "")).strip("\0 ").upper()[:1]
    if letter not in {positive, negative}:
        raise ValueError(f"{name[4:]}Ref is {printable(letter) or 'missing'}, expected {positive} or {negative}")
    values = getattr(tags.get(name), "values", None)
    if not isinstance(values, list) or len(values) != 3:
        raise ValueError(f"{name[4:]} is not three numbers")
    try:
        degrees, minutes, seconds = (float(value) for value in values)
    except (ZeroDivisionError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name[4:]} has a part that is no number") from error
    # A camera that rounds up writes 60.
    if not (0 <= minutes <= 60 and 0 <= seconds <= 60 and degrees >= 0):
        raise ValueError(f"{name[4:]} has a part out of range: {degrees:g} {minutes:g} {seconds:g}")
    angle = degrees + minutes / 60 + seconds / 3600
    return -angle if letter == negative else angle


def _altitude(tags: Mapping[str, Any]) -> float | None:
    altitude_m = _ratio(tags, "GPS GPSAltitude")
    if altitude_m is None:
        return None
    reference = getattr(tags.get("GPS GPSAltitudeRef"), "values", [0])
    below_sea_level = bool(reference) and reference[0] in {1, "1"}
    return -altitude_m if below_sea_level else altitude_m


def _accuracy(tags: Mapping[str, Any]) -> float | None:
    """GPSHPositioningError, tag 0x1F; exifread 3.5 does not know its name."""
    for name in ("GPS GPSHPositioningError", "GPS Tag 0x001F"):
        accuracy_m = _ratio(tags, name)
        if accuracy_m is not None and accuracy_m >= 0:
            return accuracy_m
    return None


def _ratio(tags: Mapping[str, Any], name: str) -> float | None:
    """A single number; what is damaged is unknown, not wrong."""
    values = getattr(tags.get(name), "values", None)
    if not isinstance(values, list) or not values:
        return None
    try:
        value = float(values[0])
    except (ZeroDivisionError, TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None
