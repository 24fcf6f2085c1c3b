"""Position from the name of a frame, by a regular expression: of pictures that are named by the place that they show."""

from __future__ import annotations

import re

from edge.position.coordinates import check_coordinates
from edge.records import Fix, Frame
from edge.text import one_line


class FilenamePosition:
    """Finds the groups ``latitude`` and ``longitude``, decimal degrees, in a frame's name."""

    name = "filename"

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern

    @classmethod
    def parse(cls, argument: str) -> FilenamePosition:
        """Build from the config's text behind ``filename:``.

        Raises:
            ValueError: It is no regular expression with both groups.
        """
        try:
            pattern = re.compile(argument)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a regular expression: {one_line(error)}") from error
        missing = {"latitude", "longitude"} - pattern.groupindex.keys()
        if missing:
            raise ValueError(
                f"expected the groups (?P<latitude>…) and (?P<longitude>…), without {' and '.join(sorted(missing))}"
            )
        return cls(pattern)

    def locate(self, frame: Frame) -> Fix | None:
        """The place of the ground that the name says; None if the expression is not found in it.

        Raises:
            ValueError: A group is no number, or the numbers are no place.
        """
        match = self._pattern.search(frame.key.name)
        if match is None or match["latitude"] is None or match["longitude"] is None:
            return None
        latitude, longitude = float(match["latitude"]), float(match["longitude"])
        check_coordinates(latitude, longitude)
        return Fix(latitude, longitude, self.name, frame.captured_at, is_of_ground=True)
