"""Photos with the tags that a test wants, made with Pillow and read as the device reads them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image

from edge.capture.image import decode
from edge.records import Frame, FrameKey

EXPOSED_AT = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)

# Tags of the GPS directory (Exif 2.32, table 15).
LATITUDE_REF, LATITUDE, LONGITUDE_REF, LONGITUDE, ALTITUDE_REF, ALTITUDE, ERROR_M = 1, 2, 3, 4, 5, 6, 31
TIME, STATUS, MODE, DATUM, DATE = 7, 9, 10, 18, 29
# And of the other one (table 8).
ORIGINAL, OFFSET_ORIGINAL = 0x9003, 0x9011

# 29° 45' 37.44" N, 95° 22' 11.28" W: the place of the example in DESIGN.md.
LATITUDE_PARTS = (Fraction(29), Fraction(45), Fraction(3744, 100))
LONGITUDE_PARTS = (Fraction(95), Fraction(22), Fraction(1128, 100))
HOUSTON: dict[int, Any] = {LATITUDE_REF: "N", LATITUDE: LATITUDE_PARTS, LONGITUDE_REF: "W", LONGITUDE: LONGITUDE_PARTS}


def jpeg(gps: Mapping[int, Any], exif_tags: Mapping[int, Any] | None = None) -> bytes:
    """A JPEG file with these tags in its GPS directory, and in its EXIF directory."""
    exif = Image.Exif()
    exif[0x010F] = "Overflight"
    exif.get_ifd(0x8825).update(gps)
    exif.get_ifd(0x8769).update(exif_tags or {})
    file = io.BytesIO()
    Image.new("RGB", (32, 24)).save(file, "JPEG", exif=exif)
    return file.getvalue()


def frame_of(exif: Mapping[str, Any]) -> Frame:
    """A frame with these tags."""
    return Frame(FrameKey("/in", "a.jpeg", 1, 1), EXPOSED_AT, 32, 24, np.zeros((24, 32, 3), np.uint8), exif)


def photo(gps: Mapping[int, Any], exif_tags: Mapping[int, Any] | None = None) -> Frame:
    """The frame of a photo with these tags, read as the device reads it."""
    exif = decode(jpeg(gps, exif_tags), (24, 32), 10**6).exif
    assert exif, "the photo's tags were not read at all"
    return frame_of(exif)
