"""What can be a time that a receiver says."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.position.utc import plausible_utc, seconds_of


@pytest.mark.parametrize(
    ("text", "live", "recorded"),
    [
        ("1980-01-06T00:00:00Z", False, False),
        ("1989-12-31T23:59:59Z", False, False),
        ("1990-01-01T00:00:00Z", False, True),
        ("2007-04-07T10:00:00Z", False, True),
        ("2023-12-31T23:59:59Z", False, True),
        ("2024-01-01T00:00:00Z", True, True),
        ("2099-12-31T23:59:59Z", True, True),
        ("2100-01-01T00:00:00Z", False, False),
    ],
)
def test_a_time_that_cannot_be_is_none(text: str, live: bool, recorded: bool) -> None:
    utc_s = seconds_of(text)

    assert plausible_utc(utc_s, is_recording=False) == (utc_s if live else None)
    assert plausible_utc(utc_s, is_recording=True) == (utc_s if recorded else None)


def test_no_time_is_none() -> None:
    assert plausible_utc(None, is_recording=True) is None
    assert plausible_utc(float("nan"), is_recording=True) is None


@pytest.mark.parametrize(
    "text",
    ["2026-11-21T10:00:00.25Z", "2026-11-21 10:00:00.250", " 2026-11-21T12:00:00.250+02:00\n", "2026-11-21T09:59:60.250Z"],
)
def test_a_time_is_understood_as_it_may_be_written(text: str) -> None:
    assert seconds_of(text) == datetime(2026, 11, 21, 10, 0, 0, 250_000, UTC).timestamp()


@given(st.datetimes(timezones=st.timezones()))
def test_any_time_in_any_zone_is_the_same_moment(moment: datetime) -> None:
    # A zone's offset of before there were zones has seconds, which ISO 8601 cannot write.
    if moment.utcoffset() is not None and moment.strftime("%z")[5:] == "":
        assert seconds_of(moment.isoformat()) == pytest.approx(moment.timestamp(), abs=1e-3)


@given(st.text(max_size=30))
def test_a_text_that_is_no_time_is_refused_and_nothing_else(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(seconds_of(text), float)
