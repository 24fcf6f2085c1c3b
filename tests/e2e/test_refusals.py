"""A broker that cannot be trusted, or does not trust the device: status and log say why, and no secret."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge.daemon import read_report
from tests.conftest import Mosquitto, Overflight, free_port, wait_for
from tests.e2e.conftest import PASSWORD, Ground, SecuredBroker, count, ruins


@dataclass(frozen=True)
class Refusal:
    """Why device and broker do not come together.

    Attributes:
        said: What the reason must hold.
        broker: Settings of the broker that are not those of `SecuredBroker`; None: left out.
        certificate: What the broker shows, among the certificates.
        scheme: Of the broker's URL, as the device knows it.
        ca_file: The authority that the device trusts, among the certificates.
        password: What the device has for one.
    """

    name: str
    said: str
    broker: dict[str, object] = field(default_factory=dict)
    certificate: str = "server.pem"
    scheme: str = "mqtts"
    ca_file: str = "ca.pem"
    password: str = PASSWORD


_ENDS = "ends the connection before it has begun (does it want TLS, or a certificate?)"
_NO_TLS: dict[str, object] = {"cafile": None, "certfile": None, "keyfile": None}

REFUSALS = [
    Refusal("a broker without TLS", "(does it speak TLS?)", broker=_NO_TLS),
    Refusal(
        "a broker with TLS for a device without",
        _ENDS,
        scheme="mqtt",
    ),
    Refusal("another authority", "certificate verify failed", ca_file="other.pem"),
    Refusal("another host name", "certificate is not valid for '127.0.0.1'", certificate="elsewhere.pem"),
    Refusal("a wrong password", "broker refuses the connection: Not authorized", password="shut sesame"),
    Refusal(
        "a certificate is wanted",
        _ENDS,
        broker={"require_certificate": "true"},
    ),
]


def reasons(overflight: Overflight) -> list[str]:
    """Why a daemon that runs says that it is degraded; nothing while all is well."""
    report = read_report(overflight.journal)
    return [] if report is None else report.status.reasons


def end(daemon: Any) -> str:
    """Stop a daemon; returns its log."""
    daemon.send_signal(signal.SIGTERM)
    _, log = daemon.communicate(timeout=10)
    assert daemon.returncode == 0
    return str(log)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda each: each.name)
def test_why_a_broker_cannot_be_used_is_said_and_no_secret_is(
    secured: SecuredBroker,
    overflight: Overflight,
    certificates: Path,
    town_tiles: list[tuple[Any, bool]],
    refusal: Refusal,
) -> None:
    secured.settings |= {"certfile": certificates / refusal.certificate} | refusal.broker
    secured.uplink["url"] = f"{refusal.scheme}://127.0.0.1:{secured.port}"
    secured.uplink["ca_file"] = str(certificates / refusal.ca_file)
    Path(secured.uplink["password_file"]).write_text(refusal.password)
    secured.start()
    expected = ruins(town_tiles, overflight.inbox)
    with overflight.running("run", "--debug") as daemon:
        wait_for(lambda: any(refusal.said in reason for reason in reasons(overflight)), 20)
        status = overflight.run("status", "--json").stdout
        wait_for(lambda: count(overflight.journal, "alerts") == expected)
        log = end(daemon)
    told = json.loads(status)
    assert told["state"] == "degraded"
    (reason,) = told["reasons"]
    assert refusal.said in reason
    assert refusal.said in log
    assert count(overflight.journal, "alerts WHERE delivered = 0") == expected
    key = (certificates / "server.key").read_text().splitlines()[1]
    for secret in ("sesame", key):
        assert secret not in status + log


def test_a_broker_that_refuses_alerts_is_said_to_the_ground_too(
    mosquitto_program: None,
    overflight: Overflight,
    town_tiles: list[tuple[Any, bool]],
    tmp_path: Path,
    listen: Callable[[int], Ground],
) -> None:
    (tmp_path / "acl").write_text("topic read overflight/#\ntopic write overflight/uav-1/status\n")
    port = free_port()
    settings = f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nacl_file {tmp_path / 'acl'}\n"
    broker = Mosquitto(tmp_path, port, settings)
    broker.start()
    try:
        overflight.config["uplink"] = {"url": broker.url}
        ground = listen(port)
        expected = ruins(town_tiles, overflight.inbox)
        with overflight.running("run") as daemon:
            said = "uplink: the broker refuses alerts: Not authorized"
            wait_for(lambda: bool(ground.statuses) and ground.statuses[-1]["reasons"] == [said], 20)
            assert ground.statuses[-1]["state"] == "degraded"
            assert reasons(overflight) == [said]
            wait_for(lambda: count(overflight.journal, "alerts") == expected)
            assert said.removeprefix("uplink: ") in end(daemon)
        assert count(overflight.journal, "alerts WHERE delivered = 0") == expected
        assert ground.alerts == []
    finally:
        broker.stop()


def test_a_broker_that_never_answers_is_said(overflight: Overflight) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        overflight.config["uplink"] = {"url": f"mqtt://127.0.0.1:{silent.getsockname()[1]}", "keepalive_s": 1}
        with overflight.running("run"):
            silent.accept()
            wait_for(lambda: any("not connected to mqtt://" in reason for reason in reasons(overflight)), 20)
