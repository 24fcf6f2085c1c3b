"""The device around the daemon: a full disk, a second daemon, no internet, an engine that is missing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Mosquitto, Overflight, _skip_or_fail, free_port, wait_for
from tests.e2e.conftest import Ground, count, rows, ruins


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        _skip_or_fail(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_under_the_journal_is_said_and_survived(  # noqa: PLR0917
    overflight: Overflight,
    small_disk: Path,
    tmp_path: Path,
    make_jpeg: Callable[..., bytes],
    mosquitto: Mosquitto,
    listen: Callable[[int], Ground],
) -> None:
    overflight.journal = small_disk / "journal.db"
    overflight.config["journal"]["path"] = str(overflight.journal)
    overflight.config["model"] = {"cache": str(tmp_path / "cache")}
    overflight.config["uplink"] = {"url": mosquitto.url}
    overflight.config["triage"] = {"threshold": 0.0}
    ground = listen(mosquitto.port)
    with overflight.running("run") as daemon:
        (overflight.inbox / "first.jpg").write_bytes(make_jpeg())
        wait_for(lambda: count(overflight.journal, "observations") == 1)
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"\0" * 4096)
        for number in range(200):
            (overflight.inbox / f"{number:03}.jpg").write_bytes(make_jpeg(number))
        wait_for(lambda: any("full" in reason for status in ground.statuses for reason in status["reasons"]), 20)
        assert daemon.poll() is None
        assert count(overflight.journal, "observations") < 201
        ballast.unlink()
        wait_for(lambda: count(overflight.journal, "observations") == 201, 20)
        wait_for(lambda: len(ground.alert_ids) == 201)
        wait_for(lambda: ground.statuses[-1]["state"] == "online")
        daemon.send_signal(signal.SIGTERM)
        _, log = daemon.communicate(timeout=10)
        assert daemon.returncode == 0
    assert "database or disk is full" in log
    assert [row[0] for row in rows(overflight.journal, "SELECT sequence FROM alerts ORDER BY sequence")] == list(range(1, 202))


def test_a_second_daemon_on_one_journal_is_refused(overflight: Overflight) -> None:
    with overflight.running("run") as daemon:
        wait_for(lambda: json.loads(overflight.run("status", "--json").stdout or '{"state": ""}')["state"] != "")
        second = overflight.run("run", "--once")
        assert second.returncode == 1
        (line,) = second.stderr.splitlines()
        assert str(overflight.journal) in line
        assert f"another daemon has it open (process {daemon.pid})" in line
        assert daemon.poll() is None


def test_a_missing_engine_leads_to_the_fallback_and_a_degraded_status(
    overflight: Overflight, town_tiles: list[tuple[Any, bool]], mosquitto: Mosquitto, listen: Callable[[int], Ground]
) -> None:
    expected = ruins(town_tiles, overflight.inbox)
    overflight.config["model"] = {"devices": ["NPU", "TENSORFLOW"]}
    overflight.config["uplink"] = {"url": mosquitto.url}
    ground = listen(mosquitto.port)
    finished = overflight.run("run", "--once")
    assert finished.returncode == 0, finished.stderr
    assert "12 classified by litert on CPU" in finished.stdout
    first = ground.statuses[0]
    assert (first["state"], first["engine"], first["on"]) == ("degraded", "litert", "CPU")
    assert first["reasons"][0].startswith("inference NPU: NPU cannot be used: OpenVINO on NPU: ")
    wait_for(lambda: len(ground.alert_ids) == expected)


def test_no_engine_at_all_is_a_failure_that_names_each(overflight: Overflight, town_tiles: list[tuple[Any, bool]]) -> None:
    ruins(town_tiles, overflight.inbox)
    overflight.config["model"] = {"devices": ["NPU"]}
    finished = overflight.run("run", "--once")
    assert finished.returncode == 1
    assert "no engine works: OpenVINO on NPU: " in finished.stderr.splitlines()[-1]


_NAMESPACE = """
set -e
ip link set lo up
ip link add outside type veth peer name peer
ip address add 10.99.0.1/24 dev outside
ip link set outside up
ip link set peer up
ip route add default via 10.99.0.2 dev outside
ip neighbour replace 10.99.0.2 lladdr 02:00:00:00:00:01 dev outside
exec "$@"
"""

_LISTEN_AND_RUN = """
import json, os, select, socket, struct, subprocess, sys
home, broker, *command = sys.argv[1:]
# Sees every IPv4 packet that leaves by the only way out, and every one on the loopback interface.
sniffers = []
for interface in ("outside", "lo"):
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    sniffer.bind((interface, 0))
    sniffer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    sniffers.append(sniffer)
if not command:
    # To show that the net is not blind: one question to a name server.
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.53", 53))
else:
    port = int(broker)
    server = subprocess.Popen(["mosquitto", "-p", broker], stderr=subprocess.DEVNULL)
    while socket.socket().connect_ex(("127.0.0.1", port)):
        pass
    environment = {**os.environ, "HOME": home}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    server.terminate()
seen = set()
while select.select(sniffers, [], [], 0.3)[0]:
    for sniffer in select.select(sniffers, [], [], 0)[0]:
        frame, address = sniffer.recvfrom(65536)
        if address[1] != 0x0800:
            continue
        packet = frame[14:]
        header = (packet[0] & 15) * 4
        ports = struct.unpack("!HH", packet[header:header + 4])
        seen.add((address[0], packet[9], socket.inet_ntoa(packet[16:20]), int(broker) in ports))
print(json.dumps(sorted(seen)))
"""


def _in_namespace(*arguments: object) -> list[list[Any]]:
    """Run in a network namespace of its own; returns the kinds of packets that were seen there."""
    if os.geteuid() != 0:
        _skip_or_fail("a network namespace needs root")
    command = ["unshare", "--net", "sh", "-c", _NAMESPACE, "sh", sys.executable, "-c", _LISTEN_AND_RUN]
    finished = subprocess.run(
        [*command, *(str(argument) for argument in arguments)], capture_output=True, text=True, timeout=100, check=False
    )
    assert finished.returncode == 0, finished.stderr
    packets: list[list[Any]] = json.loads(finished.stdout.splitlines()[-1])
    return packets


def test_the_net_that_watches_for_requests_catches_one(tmp_path: Path) -> None:
    assert ["outside", 17, "192.0.2.53", False] in _in_namespace(tmp_path, free_port())


@pytest.mark.parametrize("devices", [["CPU"], ["TENSORFLOW"]])
def test_no_request_leaves_the_machine_and_none_goes_but_to_the_broker(
    overflight: Overflight,
    town_tiles: list[tuple[Any, bool]],
    mosquitto_program: None,
    tmp_path: Path,
    devices: list[str],
) -> None:
    ruins(town_tiles, overflight.inbox)
    home = tmp_path / "home"
    home.mkdir()
    port = free_port()
    overflight.config["uplink"] = {"url": f"mqtt://127.0.0.1:{port}"}
    overflight.config["model"] = {"devices": devices}
    packets = _in_namespace(home, port, *overflight.command("run", "-c", overflight.config_file, "--once"))
    assert rows(overflight.journal, "SELECT count(*) FROM alerts WHERE delivered") != [(0,)]
    # Beside the broker's port there is the pair of sockets by which paho wakes its own thread.
    assert {(interface, protocol, address) for interface, protocol, address, _ in packets} == {("lo", 6, "127.0.0.1")}
    assert ["lo", 6, "127.0.0.1", True] in packets
    assert list(home.iterdir()) == []
