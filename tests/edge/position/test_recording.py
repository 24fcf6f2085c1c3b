"""A track that was recorded: every fix is placed by one clock, whoever's it is."""

from __future__ import annotations

import pytest

from edge.position.recording import measured_s
from edge.position.report import Position, Report

UTC_S = 1_790_000_000.0


def test_the_recorders_clock_is_corrected_by_gps_time_also_for_what_came_before_it() -> None:
    # The recorder is 100 s fast, and GPS time is told from the second second on.
    reports = [
        Report(UTC_S + 100 + second, own_s=float(second), utc_s=UTC_S + second if second else None) for second in range(10)
    ]

    assert measured_s(reports) == [pytest.approx(UTC_S + second) for second in range(10)]


def test_without_gps_time_the_recorders_clock_counts_and_not_the_delay_of_each_message() -> None:
    delays_s = (0.8, 0.05, 0.3, 0.6, 0.05)
    reports = [Report(UTC_S + second + delay, own_s=float(second)) for second, delay in enumerate(delays_s)]

    assert measured_s(reports) == [pytest.approx(UTC_S + second + 0.05) for second in range(5)]


def test_a_recording_that_says_utc_needs_no_other_clock() -> None:
    assert measured_s([Report(None, own_s=UTC_S, utc_s=UTC_S, position=Position(29.0, -95.0))]) == [UTC_S]


def test_what_says_no_time_has_none() -> None:
    assert measured_s([Report(None, own_s=36_000.0, position=Position(29.0, -95.0))]) == [None]


def test_a_device_that_was_started_again_has_another_clock() -> None:
    reports = [Report(UTC_S + 500 + second, own_s=500.0 + second) for second in range(5)]
    reports += [Report(UTC_S + 520 + second, own_s=1.0 + second) for second in range(5)]

    assert measured_s(reports) == [pytest.approx(report.received_s) for report in reports]
