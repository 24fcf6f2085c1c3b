"""What `overflight status` says of providers of positions and of the area."""

from __future__ import annotations

import msgspec

from edge.messages import PositionHealth
from edge.status import _health_lines
from tests.edge.test_metrics import HEALTH


def test_every_provider_of_positions_has_its_line() -> None:
    positions = {
        "gpsd": PositionHealth(connected=False, fixes=7, refused={"no fix": 2, "too old": 1}, reason="connection refused"),
        "exif": PositionHealth(connected=True, fixes=12),
    }
    lines = _health_lines(msgspec.structs.replace(HEALTH, positions=positions, outside_area=3))

    assert lines[-3:] == [
        "area      3 sightings outside of it",
        "position  gpsd: not connected (connection refused), 7 fixes, refused: 2 no fix, 1 too old",
        "position  exif: connected, 12 fixes, none refused",
    ]


def test_where_there_is_no_area_and_no_provider_there_is_no_line() -> None:
    assert not any(line.startswith(("area", "position")) for line in _health_lines(HEALTH))
