"""Position from a GPX track, as handheld receivers, phones and flight planners save them (GPX 1.0 and 1.1, topografix.com/GPX).

The XML comes from elsewhere: it is read by defusedxml, point by point, so that neither an entity bomb nor a long track needs
memory.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

from edge.position.recorded_file import open_recording
from edge.position.report import Position, Report, StreamError
from edge.position.utc import plausible_utc, seconds_of
from edge.text import one_line, printable

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


class GpxStream:
    """The points of the tracks in a file, in its order; routes and waypoints say no time, and are none of them."""

    name = "gpx"
    is_recording = True

    def __init__(self, path: str) -> None:
        self._path = path

    @classmethod
    def parse(cls, argument: str) -> GpxStream:
        """Build from the config's text behind ``gpx:``.

        Raises:
            ValueError: It is empty.
        """
        if not argument:
            raise ValueError("expected gpx:<file>")
        return cls(argument)

    def reports(self) -> Generator[Report, None, None]:
        """Read the file to its end; see `Stream.reports`.

        Raises:
            StreamError: It cannot be read, is larger than `MAX_RECORDING_BYTES`, is no XML, or no GPX, or has a DTD, which
                GPX has not.
        """
        from defusedxml import DefusedXmlException

        try:
            with closing(self._points()) as points:
                yield from map(_report, points)
        except OSError as error:
            raise StreamError(f"{printable(self._path)}: {one_line(error)}") from error
        except DefusedXmlException as error:
            raise StreamError(f"{printable(self._path)}: has a DTD or entities, which GPX has not") from error
        # ValueError and LookupError: an encoding that XML cannot have.
        except (ParseError, ValueError, LookupError) as error:
            raise StreamError(f"{printable(self._path)}: broken XML: {one_line(error)}") from error

    def _points(self) -> Generator[Element, None, None]:
        """Every track point; what was read before it is forgotten."""
        from defusedxml.ElementTree import iterparse

        ancestors: list[Element] = []
        point: Element | None = None
        with open_recording(self._path) as file:
            for event, element in iterparse(file, events=("start", "end"), forbid_dtd=True):
                if event == "start":
                    if not ancestors and _local_name(element) != "gpx":
                        raise StreamError(
                            f"{printable(self._path)}: not GPX: its root is {printable(_local_name(element))[:40]}, not gpx"
                        )
                    ancestors.append(element)
                    if point is None and _local_name(element) == "trkpt":
                        point = element
                    continue
                ancestors.pop()
                if point is not None and element is point:
                    yield point
                    point = None
                if point is None and ancestors:
                    ancestors[-1].remove(element)


def _report(point: Element) -> Report:
    texts = {_local_name(child): (child.text or "").strip() for child in point}
    if texts.get("fix") == "none":
        return Report(None, refused="no fix")
    if not texts.get("time"):
        return Report(None, refused="no time")
    try:
        latitude, longitude = float(point.get("lat", "")), float(point.get("lon", ""))
        own_s = seconds_of(texts["time"])
    except ValueError:
        return Report(None, refused="garbage")
    if not (math.isfinite(latitude) and math.isfinite(longitude)):
        return Report(None, refused="garbage")
    speed_m_s, course_deg = _number(texts, "speed"), _number(texts, "course")
    course_rad = None if speed_m_s is None or course_deg is None else math.radians(course_deg)
    is_2d = texts.get("fix") == "2d"
    position = Position(
        latitude,
        longitude,
        altitude_m=None if is_2d else _number(texts, "ele"),
        north_m_s=None if speed_m_s is None or course_rad is None else speed_m_s * math.cos(course_rad),
        east_m_s=None if speed_m_s is None or course_rad is None else speed_m_s * math.sin(course_rad),
        is_2d=is_2d,
    )
    return Report(None, own_s, plausible_utc(own_s, is_recording=True), position)


def _number(texts: dict[str, str], name: str) -> float | None:
    """A child's finite number; what is damaged is unknown, not wrong."""
    try:
        value = float(texts[name])
    except (KeyError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _local_name(element: Element) -> str:
    """An element's name without its namespace, which tells the versions of GPX apart."""
    return str(element.tag).rpartition("}")[2]
