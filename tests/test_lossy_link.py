"""The bad link is as bad as it says: otherwise no test that uses it would show anything."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lossy_link import DEVICE, GROUND, LossyLink

_PORT = "7007"

_ECHO = """
import socket, sys
echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
echo.bind(("", int(sys.argv[1])))
print("ready", flush=True)
while True:
    packet, sender = echo.recvfrom(65536)
    echo.sendto(packet[:4], sender)
"""

# Only the way to the ground carries much; the echo of a packet is its number.
_PROBE = """
import json, socket, struct, sys, time
host, port, count, size_bytes, pause_s, patience_s = sys.argv[1], *map(float, sys.argv[2:])
probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
probe.connect((host, int(port)))
probe.setblocking(False)
sent, trips = [], {}

def listen(until):
    while time.monotonic() < until or until == 0:
        try:
            number, = struct.unpack("!I", probe.recv(65536)[:4])
            trips[number] = time.monotonic() - sent[number]
        except BlockingIOError:
            if until == 0:
                return
            time.sleep(0.001)

for number in range(int(count)):
    sent.append(time.monotonic())
    probe.send(struct.pack("!I", number).ljust(int(size_bytes)))
    listen(sent[-1] + pause_s if pause_s else 0)
listen(time.monotonic() + patience_s)
print(json.dumps(trips))
"""


@contextmanager
def echoing(**radio: Any) -> Iterator[LossyLink]:
    """A link with somebody on the ground who answers."""
    with LossyLink(**radio) as link:
        command = [*link.on_ground, sys.executable, "-c", _ECHO, _PORT]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as echo:
            assert echo.stdout is not None
            assert echo.stdout.readline() == "ready\n"
            yield link
            echo.kill()


def probe(link: LossyLink, *, count: int, size_bytes: int = 100, pause_s: float = 0.0, patience_s: float = 0.5) -> list[float]:
    """Send packets to the ground; returns the round trips of those that were answered, in seconds."""
    arguments = (str(value) for value in (GROUND, _PORT, count, size_bytes, pause_s, patience_s))
    finished = link.run_device([sys.executable, "-c", _PROBE, *arguments], timeout=60)
    assert finished.returncode == 0, finished.stderr
    return list(json.loads(finished.stdout).values())


def test_a_good_link_loses_nothing() -> None:
    with echoing() as link:
        assert len(probe(link, count=100, pause_s=0.001)) == 100
        assert link.counts()[DEVICE]["packets"] == 100


def test_packets_are_lost_each_way_and_the_others_come_late() -> None:
    with echoing(loss=0.2, delay_s=0.1) as link:
        trips = probe(link, count=1000, pause_s=0.001)
        # 0.8 × 0.8 of 1,000, and six standard deviations.
        assert 550 < len(trips) < 730
        assert min(trips) >= 0.2
        counts = link.counts()
        assert 120 < counts[DEVICE]["lost"] < 280
        assert counts[DEVICE]["packets"] - counts[DEVICE]["lost"] == counts[GROUND]["packets"]


def test_the_rate_spreads_packets_and_what_the_queue_cannot_hold_is_dropped() -> None:
    with echoing(rate_bytes_per_s=100_000, queue_bytes=20_000) as link:
        # 28 bytes of headers make it 50,000 bytes.
        trips = probe(link, count=50, size_bytes=972)
        assert 20 <= len(trips) <= 40
        assert max(trips) > 0.18
        assert link.counts()[DEVICE]["overflowed"] == 50 - len(trips)


def test_nothing_passes_in_a_blackout_nor_does_what_was_in_the_air() -> None:
    with echoing(delay_s=0.1) as link:
        link.blackout(60.0)
        assert probe(link, count=20, pause_s=0.01) == []
        assert link.counts()[DEVICE]["dark"] == 20
        link.blackout(0.0)
        assert len(probe(link, count=20, pause_s=0.01)) == 20


def test_the_namespaces_end_with_the_link() -> None:
    with LossyLink() as link:
        assert link.run_device(["true"]).returncode == 0
    assert link.run_device(["true"]).returncode != 0


def test_a_link_that_has_died_is_said() -> None:
    with LossyLink() as link:
        link._process.kill()
        with pytest.raises((RuntimeError, BrokenPipeError)):
            link.counts()
