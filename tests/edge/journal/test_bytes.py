"""What the journal writes is what wears a memory card out: bytes are counted, so that this holds on any machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.journal import ALERT_FLOOR_BYTES, measure_alerts, measure_frames


def test_an_alert_with_its_observation_costs_less_than_12_kb(tmp_path: Path) -> None:
    written = measure_alerts(tmp_path, 1500, 0)
    assert 1_000 < written.asked_bytes < ALERT_FLOOR_BYTES
    # In whole pages of a disk, of which each commit begins a few.
    assert written.disk_bytes < ALERT_FLOOR_BYTES


@pytest.mark.parametrize("together", [1, 5])
def test_with_its_delivery_less_than_12_kb_are_handed_to_the_system(tmp_path: Path, together: int) -> None:
    assert 1_000 < measure_alerts(tmp_path, 1500, together).asked_bytes < ALERT_FLOOR_BYTES


def test_frames_without_an_alert_cost_a_fraction_of_that(tmp_path: Path) -> None:
    written = measure_frames(tmp_path, 3200)
    assert 100 < written.asked_bytes < 2_000
    assert written.disk_bytes < 2_000
