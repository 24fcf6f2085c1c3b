"""A position that never changes: a camera on a mast."""

from __future__ import annotations

from edge.position.coordinates import check_coordinates
from edge.records import Fix, Frame


class FixedPosition:
    """The same place for every frame."""

    name = "fixed"

    def __init__(self, latitude: float, longitude: float) -> None:
        self._latitude = latitude
        self._longitude = longitude

    @classmethod
    def parse(cls, argument: str) -> FixedPosition:
        """Build from the config's text behind ``fixed:``.

        Raises:
            ValueError: It is not a latitude and a longitude.
        """
        try:
            latitude, longitude = (float(part) for part in argument.split(","))
        except ValueError as error:
            raise ValueError("expected fixed:<latitude>,<longitude> in degrees") from error
        check_coordinates(latitude, longitude)
        return cls(latitude, longitude)

    def locate(self, frame: Frame) -> Fix:
        """The place."""
        return Fix(self._latitude, self._longitude, self.name, frame.captured_at)
