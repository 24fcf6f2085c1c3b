"""Position from the GPS tags of a photo (Exif 2.32, section 4.6.6), and what drones add to it in XMP.

A camera writes the tags whether or not its receiver still has satellites. What the tags say about that is believed: a position
that is void, counts from another datum or is too old is refused, and one that was found without an altitude is marked.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from edge.exif_time import fix_age_s
from edge.position.coordinates import check_coordinates
from edge.position.flight_tags import FlightTags, read_flight_tags, refine_place
from edge.position.tags import exif_number, exif_text
from edge.records import Fix, Frame
from edge.text import printable

_log = logging.getLogger(__name__)

# GPSAltitudeRef: above and below sea level (Exif 2.32), above and below the ellipsoid (Exif 3.0).
_BELOW_SEA_LEVEL = 1
_ELLIPSOIDAL = frozenset({2, 3})
# GPSStatus: the measurement was interrupted. GPSMeasureMode: two-dimensional.
_VOID = "V"
_2D = "2"
# GPSMapDatum is free text: WGS-84, WGS84, WGS 84, WGS 1984. Places in another are off by hundreds of metres.
_WGS84 = re.compile(r"(WGS|WORLD ?GEODETIC ?SYSTEM)[ _-]*(19)?84", re.IGNORECASE)
_MAX_AGE_S = 2.0


class ExifPosition:
    """Reads GPSLatitude, GPSLongitude, GPSAltitude and GPSHPositioningError, and from XMP height, angles and finer digits.

    Attributes:
        max_age_s: A position that was older when the photo was taken is refused (`edge.exif_time`).
    """

    name = "exif"

    def __init__(self, max_age_s: float = _MAX_AGE_S) -> None:
        self.max_age_s = max_age_s

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
            ValueError: A part is missing, has a zero denominator or is out of range; or the position is void, too old, or of
                another datum than WGS 84.
        """
        tags = frame.exif
        if "GPS GPSLatitude" not in tags and "GPS GPSLongitude" not in tags:
            return None
        _check_receiver(tags)
        age_s = fix_age_s(tags)
        if age_s > self.max_age_s:
            raise ValueError(
                f"stale: measured {age_s:.1f} s from the exposure by the camera's clock, more than {self.max_age_s:g} s"
            )
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
            age_s=age_s,
            is_2d=_first(tags, "GPS GPSMeasureMode") == _2D,
        )


def _check_receiver(tags: Mapping[str, Any]) -> None:
    """
    Raises:
        ValueError: The receiver had no fix, or counts from another datum.
    """
    if exif_text(tags, "GPS GPSStatus").upper() == _VOID:
        raise ValueError("GPSStatus is V: the receiver had no fix")
    datum = exif_text(tags, "GPS GPSMapDatum")
    if datum and not _WGS84.fullmatch(datum):
        raise ValueError(f"GPSMapDatum is {printable(datum[:20])}, expected WGS-84")


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
    if _first(tags, "GPS GPSMeasureMode") == _2D:
        return None
    return -altitude_m if reference == _BELOW_SEA_LEVEL else altitude_m


def _altitude_reference(tags: Mapping[str, Any]) -> int:
    first = _first(tags, "GPS GPSAltitudeRef")
    return int(first) if first in {"0", "1", "2", "3"} else 0


def _first(tags: Mapping[str, Any], name: str) -> str:
    """What stands for one of a few meanings: a byte that some write as a text, or a text that some write as a byte."""
    values = getattr(tags.get(name), "values", None)
    return str(values[0]) if values else ""


def _accuracy(tags: Mapping[str, Any]) -> float | None:
    """GPSHPositioningError, tag 0x1F; exifread 3.5 does not know its name."""
    for name in ("GPS GPSHPositioningError", "GPS Tag 0x001F"):
        accuracy_m = exif_number(tags, name)
        if accuracy_m is not None and accuracy_m >= 0:
            return accuracy_m
    return None
