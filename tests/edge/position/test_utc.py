"""Which times are taken for GPS time."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from edge.position.utc import plausible_utc


@pytest.mark.parametrize(
    ("year", "live", "recorded"),
    [
        (1970, False, False),
        (1989, False, False),
        (1990, False, True),
        (2023, False, True),
        (2024, True, True),
        (2099, True, True),
        (2100, False, False),
        (2908, False, False),
    ],
)
def test_a_time_is_of_the_years_in_which_it_can_have_been_told(year: int, live: bool, recorded: bool) -> None:
    moment = datetime(year, 1, 1, tzinfo=UTC).timestamp()

    assert plausible_utc(moment, recording=False) is live
    assert plausible_utc(moment, recording=True) is recorded


@pytest.mark.parametrize("moment", [math.nan, math.inf, -math.inf, 0.0])
def test_what_is_no_time_is_none(moment: float) -> None:
    assert not plausible_utc(moment, recording=True)
