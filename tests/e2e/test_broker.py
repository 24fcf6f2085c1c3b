"""A broker that is late, goes away, wants a password, or never answers."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Mosquitto, Overflight, free_port, wait_for
from tests.e2e.conftest import Ground, count, rows, ruins


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


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority and a server certificate for 127.0.0.1, made by openssl."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority")
    openssl("req", *new_key[:3], "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    openssl("x509", "-req", "-in", "server.csr", *signing, "-out", "server.pem")
    openssl("req", "-x509", *new_key, "-keyout", "other.key", "-out", "other.pem", "-subj", "/CN=another authority")
    return folder


@pytest.fixture
def secured(mosquitto_program: None, certificates: Path, tmp_path: Path, overflight: Overflight) -> Any:
    """A broker with TLS that wants a password, and the configuration that it accepts."""
    subprocess.run(["mosquitto_passwd", "-c", "-b", tmp_path / "passwords", "uav-1", "open sesame"], check=True)
    port = free_port()
    settings = {
        "listener": f"{port} 127.0.0.1",
        "allow_anonymous": "false",
        "password_file": tmp_path / "passwords",
        "cafile": certificates / "ca.pem",
        "certfile": certificates / "server.pem",
        "keyfile": certificates / "server.key",
        "user": "root",
    }
    broker = Mosquitto(tmp_path, port, "".join(f"{key} {value}\n" for key, value in settings.items()))
    broker.start()
    (tmp_path / "username").write_text("uav-1\n")
    (tmp_path / "password").write_text("open sesame\n")
    overflight.config["uplink"] = {
        "url": f"mqtts://127.0.0.1:{port}",
        "ca_file": str(certificates / "ca.pem"),
        "username_file": str(tmp_path / "username"),
        "password_file": str(tmp_path / "password"),
        "reconnect_max_s": 0.2,
    }
    yield broker
    broker.stop()


def test_alerts_go_through_tls_with_a_password_from_files(
    secured: Mosquitto, overflight: Overflight, town_tiles: list[tuple[Any, bool]]
) -> None:
    ruins(town_tiles, overflight.inbox)
    finished = overflight.run("run", "--once")
    assert finished.returncode == 0, finished.stderr
    assert rows(overflight.journal, "SELECT count(*) FROM alerts WHERE delivered = 0") == [(0,)]


def test_a_wrong_password_is_said_and_never_shown(
    secured: Mosquitto, overflight: Overflight, town_tiles: list[tuple[Any, bool]], tmp_path: Path
) -> None:
    ruins(town_tiles, overflight.inbox)
    (tmp_path / "password").write_text("shut sesame\n")
    finished = overflight.run("run", "--once", "--deliver-timeout", "1")
    assert finished.returncode == 1
    assert "Not authorized" in finished.stderr
    assert "sesame" not in finished.stderr + finished.stdout


def test_a_broker_of_another_authority_is_not_trusted(
    secured: Mosquitto, overflight: Overflight, town_tiles: list[tuple[Any, bool]], certificates: Path
) -> None:
    ruins(town_tiles, overflight.inbox)
    overflight.config["uplink"]["ca_file"] = str(certificates / "other.pem")
    finished = overflight.run("run", "--once", "--deliver-timeout", "1")
    assert finished.returncode == 1
    assert "certificate verify failed" in finished.stderr


@pytest.mark.parametrize("key", ["ca_file", "username_file", "password_file"])
def test_a_credential_file_that_is_missing_is_named(secured: Mosquitto, overflight: Overflight, key: str) -> None:
    overflight.config["uplink"][key] = "/nowhere/file"
    finished = overflight.run("run", "--once")
    assert finished.returncode == 2
    (line,) = finished.stderr.splitlines()
    assert key in line
    assert "/nowhere/file" in line
