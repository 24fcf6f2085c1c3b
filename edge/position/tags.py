"""Numbers and words out of the tags of a photo; what is damaged is unknown, not wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\Z")


def exif_number(tags: Mapping[str, Any], name: str) -> float | None:
    """The first number of an EXIF tag, by exifread's name for it."""
    values = getattr(tags.get(name), "values", None)
    if not isinstance(values, list) or not values:
        return None
    try:
        value = float(values[0])
    except (ZeroDivisionError, TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def exif_text(tags: Mapping[str, Any], name: str) -> str:
    """The text of an EXIF tag, empty where there is none."""
    values = getattr(tags.get(name), "values", "")
    return values.strip("\0 ") if isinstance(values, str) else ""


def xmp_number(tags: Mapping[str, str], name: str) -> float | None:
    """A property of XMP as a number; None if it is missing.

    Raises:
        ValueError: It is there and no number.
    """
    text = tags.get(name, "")
    if not text:
        return None
    numerator, slash, denominator = text.partition("/")
    if not _NUMBER.match(numerator) or (slash and not _NUMBER.match(denominator)):
        raise ValueError(f"{name} is no number")
    divisor = float(denominator) if slash else 1.0
    value = float(numerator) / divisor if divisor else math.inf
    if not math.isfinite(value):
        raise ValueError(f"{name} is no finite number")
    return value
