"""Position from the GPS tags of a photo (Exif 2.32, section 4.6.6), and what drones add to it in XMP."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from edge.position.coordinates import check_coordinates
from edge.position.flight_tags import FlightTags, read_flight_tags, refine_place
from edge.position.tags import exif_number
from edge.records import Fix, Frame
from edge.text import printable

_log = logging.getLogger(__name__)

# GPSAltitudeRef: above and below sea level (Exif 2.32), above and below the ellipsoid (Exif 3.0).
_BELOW_SEA_LEVEL = 1
_ELLIPSOIDAL = frozenset({2, 3})


class ExifPosition:
    """Reads GPSLatitude, GPSLongitude, GPSAltitude and GPSHPositioningError, and from XMP height, angles and finer digits."""

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
        flight = read_flight_tags(frame.xmp, tags)
        for reason in flight.refused:
            _log.warning("%a: a part of the XMP is passed over: %s", frame.key.name, printable(reason))
        latitude, longitude = refine_place(latitude, longitude, flight.place)
        check_coordinates(latitude, longitude)
        return Fix(
            latitude,
            longitude,
            self.name,
            frame.captured_at,
            altitude_m=_altitude(tags, flight),
            height_m=flight.height_m,
            attitude=flight.attitude,
            camera=flight.camera,
            accuracy_m=flight.accuracy_m if flight.accuracy_m is not None else _accuracy(tags),
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


def _altitude(tags: Mapping[str, Any], flight: FlightTags) -> float | None:
    """Above mean sea level; an altitude above the ellipsoid is another one, and nothing here knows the difference."""
    altitude_m, reference = exif_number(tags, "GPS GPSAltitude"), _altitude_reference(tags)
    if flight.altitude_m is not None or flight.is_ellipsoidal or reference in _ELLIPSOIDAL or altitude_m is None:
        return flight.altitude_m
    return -altitude_m if reference == _BELOW_SEA_LEVEL else altitude_m


def _altitude_reference(tags: Mapping[str, Any]) -> int:
    """A byte; some write it as a text."""
    values = getattr(tags.get("GPS GPSAltitudeRef"), "values", None)
    first = str(values[0]) if values else "0"
    return int(first) if first in {"0", "1", "2", "3"} else 0


def _accuracy(tags: Mapping[str, Any]) -> float | None:
    """GPSHPositioningError, tag 0x1F; exifread 3.5 does not know its name."""
    for name in ("GPS GPSHPositioningError", "GPS Tag 0x001F"):
        accuracy_m = exif_number(tags, name)
        if accuracy_m is not None and accuracy_m >= 0:
            return accuracy_m
    return None
