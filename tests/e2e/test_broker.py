"""A broker that is late, goes away, wants a password, or never answers; one that refuses is in test_refusals."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Mosquitto, Overflight, free_port, wait_for
from tests.e2e.conftest import Ground, SecuredBroker, count, rows, ruins


def test_a_broker_that_is_down_from_the_start_delays_alerts_and_loses_none(
    overflight: Overflight,
    town_tiles: list[tuple[Any, bool]],
    mosquitto_program: None,
    tmp_path: Path,
    listen: Callable[[int], Ground],
) -> None:
    expected = ruins(town_tiles, overflight.inbox)
    broker = Mosquitto(tmp_path, free_port())
    overflight.config["uplink"] = {"url": broker.url, "reconnect_max_s": 1}
    with overflight.running("run") as daemon:
        wait_for(lambda: count(overflight.journal, "alerts") == expected)
        status = json.loads(overflight.run("status", "--json").stdout)
        assert status["state"] == "degraded"
        assert "cannot connect" in status["reasons"][0]
        assert status["journal"]["waiting"] == expected
        broker.start()
        try:
            wait_for(lambda: rows(overflight.journal, "SELECT count(*) FROM alerts WHERE delivered = 0") == [(0,)])
            assert json.loads(overflight.run("status", "--json").stdout)["state"] == "online"
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(10) == 0
        finally:
            broker.stop()


def test_once_without_a_broker_keeps_the_alerts_and_fails(overflight: Overflight, town_tiles: list[tuple[Any, bool]]) -> None:
    expected = ruins(town_tiles, overflight.inbox)
    overflight.config["uplink"] = {"url": f"mqtt://127.0.0.1:{free_port()}"}
    finished = overflight.run("run", "--once", "--deliver-timeout", "1")
    assert finished.returncode == 1
    assert f"{expected} alerts wait in the journal for the broker" in finished.stderr


def test_alerts_survive_a_broker_that_restarts(
    overflight: Overflight,
    town_tiles: list[tuple[Any, bool]],
    mosquitto_program: None,
    tmp_path: Path,
    listen: Callable[[int], Ground],
) -> None:
    broker = Mosquitto(tmp_path, free_port())
    broker.start()
    overflight.config["uplink"] = {"url": broker.url, "reconnect_max_s": 1}
    try:
        with overflight.running("run"):
            before = ruins(town_tiles, overflight.inbox / "before")
            wait_for(lambda: rows(overflight.journal, "SELECT count(*) FROM alerts WHERE delivered") == [(before,)])
            broker.stop()
            after = ruins(town_tiles, overflight.inbox / "after")
            wait_for(lambda: count(overflight.journal, "alerts") == before + after)
            broker.start()
            ground = listen(broker.port)
            wait_for(lambda: len(ground.alert_ids) == after)
            wait_for(lambda: rows(overflight.journal, "SELECT count(*) FROM alerts WHERE delivered = 0") == [(0,)])
    finally:
        broker.stop()


def test_a_killed_daemon_is_reported_offline_by_its_last_will(
    overflight: Overflight, mosquitto: Mosquitto, listen: Callable[[int], Ground]
) -> None:
    overflight.config["uplink"] = {"url": mosquitto.url}
    ground = listen(mosquitto.port)
    with overflight.running("run") as daemon:
        wait_for(lambda: bool(ground.statuses))
        daemon.send_signal(signal.SIGKILL)
        wait_for(lambda: len(ground.statuses) == 2)
    assert [(status["state"], status["reasons"]) for status in ground.statuses] == [
        ("online", []),
        ("offline", ["connection lost"]),
    ]
    late = listen(mosquitto.port)
    wait_for(lambda: [status["state"] for status in late.statuses] == ["offline"])


def test_the_status_is_retained(
    overflight: Overflight, town_tiles: list[tuple[Any, bool]], mosquitto: Mosquitto, listen: Callable[[int], Ground]
) -> None:
    ruins(town_tiles, overflight.inbox)
    overflight.config["uplink"] = {"url": mosquitto.url}
    assert overflight.run("run", "--once").returncode == 0
    late = listen(mosquitto.port)
    wait_for(lambda: bool(late.statuses))
    status = late.statuses[0]
    assert (status["state"], status["engine"], status["on"]) == ("offline", "openvino", "CPU")
    assert status["bundle"]["name"] == "terrain-damage"


def test_health_is_published(overflight: Overflight, mosquitto: Mosquitto, listen: Callable[[int], Ground]) -> None:
    overflight.config["uplink"] = {"url": mosquitto.url}
    overflight.config["health"] = {"interval_s": 0.2}
    ground = listen(mosquitto.port)
    with overflight.running("run"):
        wait_for(lambda: len(ground.health) >= 2)
    assert ground.health[-1]["process_memory_bytes"] > 10_000_000
    assert ground.health[-1]["alerts_waiting"] == 0


def test_sigterm_ends_within_two_seconds_while_a_broker_does_not_answer(overflight: Overflight) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        overflight.config["uplink"] = {"url": f"mqtt://127.0.0.1:{silent.getsockname()[1]}"}
        with overflight.running("run") as daemon:
            silent.accept()
            asked = time.monotonic()
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(10) == 0
            assert time.monotonic() - asked < 2.0


def test_an_older_broker_is_served_by_mqtt_3_1_1(
    overflight: Overflight, town_tiles: list[tuple[Any, bool]], mosquitto: Mosquitto, listen: Callable[[int], Ground]
) -> None:
    expected = ruins(town_tiles, overflight.inbox)
    overflight.config["uplink"] = {"url": mosquitto.url, "protocol": "3.1.1"}
    ground = listen(mosquitto.port)
    assert overflight.run("run", "--once").returncode == 0
    wait_for(lambda: len(ground.alert_ids) == expected)


def test_alerts_go_through_tls_with_a_password_from_files(
    secured: SecuredBroker, overflight: Overflight, town_tiles: list[tuple[Any, bool]]
) -> None:
    secured.start()
    ruins(town_tiles, overflight.inbox)
    finished = overflight.run("run", "--once")
    assert finished.returncode == 0, finished.stderr
    assert rows(overflight.journal, "SELECT count(*) FROM alerts WHERE delivered = 0") == [(0,)]


@pytest.mark.parametrize("key", ["ca_file", "username_file", "password_file"])
def test_a_credential_file_that_is_missing_is_named(secured: SecuredBroker, overflight: Overflight, key: str) -> None:
    overflight.config["uplink"][key] = "/nowhere/file"
    finished = overflight.run("run", "--once")
    assert finished.returncode == 2
    (line,) = finished.stderr.splitlines()
    assert key in line
    assert "/nowhere/file" in line
