"""The main job on real data: 2,000 tiles of a hurricane, the real daemon, a real broker."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.journal import read_alerts
from tests.conftest import Mosquitto, Overflight, wait_for
from tests.e2e.conftest import HARVEY_NAME, Ground, count, rows

TILES = 2000


@pytest.fixture
def hurricane(overflight: Overflight, data: Path, mosquitto: Mosquitto) -> Overflight:
    """The command, pointed at the tiles and the broker."""
    overflight.config["capture"]["source"] = str(data / "harvey" / "validation")
    overflight.config["position"] = {"sources": [HARVEY_NAME]}
    overflight.config["uplink"] = {"url": mosquitto.url}
    return overflight


def check_alerts(journal: Path, ground: Ground) -> None:
    """Every alert of the journal arrived, with the coordinates that its file's name says; numbers are without gaps."""
    messages = [json.loads(message) for _, message, _ in read_alerts(journal)]
    assert [message["properties"]["sequence"] for message in messages] == list(range(1, len(messages) + 1))
    wait_for(lambda: ground.alert_ids >= {message["id"] for message in messages}, 20)
    assert ground.alert_ids == {message["id"] for message in messages}
    for alert in ground.alerts:
        longitude, latitude = re.findall(r"-?\d+\.\d+", alert["properties"]["frame"]["name"])[:2]
        assert alert["geometry"] == {"type": "Point", "coordinates": [float(longitude), float(latitude)]}


def check_observations(journal: Path) -> None:
    """Every tile has exactly one observation."""
    assert rows(journal, "SELECT count(*), count(DISTINCT frame) FROM results WHERE label IS NOT NULL") == [(TILES, TILES)]
    assert rows(journal, "SELECT count(*), count(DISTINCT name) FROM frames WHERE outcome = 0") == [(TILES, TILES)]


def test_every_tile_is_observed_once_and_every_alert_arrives_once(
    hurricane: Overflight, mosquitto: Mosquitto, listen: Callable[[int], Ground]
) -> None:
    ground = listen(mosquitto.port)
    with hurricane.running("watch", "--json", "--timeout", "15") as watch:
        assert watch.stderr is not None
        assert "following" in watch.stderr.readline()
        finished = hurricane.run("run", "--once", "--json")
        assert finished.returncode == 0, finished.stderr
        watched, _ = watch.communicate(timeout=60)

    summary = json.loads(finished.stdout)
    assert (summary["frames"], summary["observations"], summary["rejected_count"]) == (TILES, TILES, 0)
    assert summary["delivered"] == summary["alerts"] == len(ground.alerts)
    check_observations(hurricane.journal)
    check_alerts(hurricane.journal, ground)
    shown = [json.loads(line)["id"] for line in watched.splitlines()]
    assert sorted(shown) == sorted(ground.alert_ids)
    assert [status["state"] for status in ground.statuses] == ["online", "offline"]


def test_the_tiles_are_judged_right(hurricane: Overflight) -> None:
    finished = hurricane.run("run", "--once")
    assert finished.returncode == 0, finished.stderr
    judged = rows(hurricane.journal, "SELECT frame, label FROM results")
    right = sum((label == "damaged") == name.startswith("damage/") for name, label in judged)
    assert right / len(judged) >= 0.95


def test_kill_in_the_middle_and_a_restart_lose_and_double_nothing(
    hurricane: Overflight, mosquitto: Mosquitto, listen: Callable[[int], Ground]
) -> None:
    ground = listen(mosquitto.port)
    for enough in (200, 700, 1200):
        with hurricane.running("run") as daemon:
            wait_for(lambda enough=enough: count(hurricane.journal, "observations") >= enough, 30)  # type: ignore[misc]
            daemon.send_signal(signal.SIGKILL)
            daemon.wait(10)
        assert count(hurricane.journal, "observations") < TILES

    finished = hurricane.run("run", "--once")
    assert finished.returncode == 0, finished.stderr
    check_observations(hurricane.journal)
    check_alerts(hurricane.journal, ground)


def test_a_second_run_finds_nothing_to_do(hurricane: Overflight) -> None:
    hurricane.run("run", "--once")
    summary = json.loads(hurricane.run("run", "--once", "--json").stdout)
    assert (summary["frames"], summary["alerts"], summary["delivered"]) == (0, 0, 0)
    assert count(hurricane.journal, "observations") == TILES


def test_sigterm_under_load_ends_within_two_seconds_with_the_state_saved(hurricane: Overflight) -> None:
    with hurricane.running("run") as daemon:
        wait_for(lambda: count(hurricane.journal, "observations") >= 200, 30)
        asked = time.monotonic()
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(10) == 0
        assert time.monotonic() - asked < 2.0
    done = count(hurricane.journal, "observations")
    assert 200 <= done < TILES
    status: dict[str, Any] = json.loads(hurricane.run("status", "--json").stdout)
    assert status["state"] == "stopped"
    assert status["journal"]["observations"] == done

    finished = hurricane.run("run", "--once")
    assert finished.returncode == 0, finished.stderr
    check_observations(hurricane.journal)
