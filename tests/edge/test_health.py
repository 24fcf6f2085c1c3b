"""What the device knows of itself: reasons that are told in order, and figures of the real machine."""

from __future__ import annotations

import os
import random
import socket
import threading
from collections import namedtuple
from pathlib import Path

import psutil
import pytest

from edge.health import Conditions, MachineWatch
from tests.conftest import wait_for

# Conditions


def test_a_change_is_told_and_a_repetition_is_not() -> None:
    told: list[list[str]] = []
    conditions = Conditions(lambda: told.append(conditions.reasons()))

    conditions.set("uplink", "no broker")
    conditions.set("uplink", "no broker")
    conditions.set("models", "no key")
    conditions.set("uplink", None)
    conditions.set("uplink", None)

    assert told == [["uplink: no broker"], ["models: no key", "uplink: no broker"], ["models: no key"]]


def test_a_change_during_the_telling_is_told_once_that_is_over() -> None:
    told: list[list[str]] = []
    telling, go_on = threading.Event(), threading.Event()

    def tell() -> None:
        seen = conditions.reasons()
        if not telling.is_set():
            telling.set()
            assert go_on.wait(10)
        told.append(seen)

    conditions = Conditions(tell)
    first = threading.Thread(target=conditions.set, args=("uplink", "no broker"))
    first.start()
    assert telling.wait(10)
    # Nobody waits for the one that is telling.
    conditions.set("journal", "disk full")
    conditions.set("journal", None)
    conditions.set("uplink", None)
    go_on.set()
    first.join(10)

    assert told == [["uplink: no broker"], []]


def test_the_telling_may_set_a_condition() -> None:
    told: list[list[str]] = []

    def tell() -> None:
        told.append(conditions.reasons())
        conditions.set("status", "cannot be written")

    conditions = Conditions(tell)
    teller = threading.Thread(target=conditions.set, args=("uplink", "no broker"), daemon=True)
    teller.start()
    teller.join(10)

    assert not teller.is_alive()
    assert told == [["uplink: no broker"], ["status: cannot be written", "uplink: no broker"]]


def test_many_threads_at_once_tell_one_at_a_time_and_the_last_change_last() -> None:
    at_once, most_at_once, last_told = 0, 0, [""]
    pause = threading.Event()

    def tell() -> None:
        nonlocal at_once, most_at_once
        at_once += 1
        most_at_once = max(most_at_once, at_once)
        seen = conditions.reasons()
        pause.wait(0.0002)
        last_told[:] = seen
        at_once -= 1

    def change(room: str) -> None:
        chance = random.Random(room)
        for _ in range(60):
            conditions.set(room, chance.choice(["a", "b", None]))
            pause.wait(chance.random() * 0.0003)

    conditions = Conditions(tell)
    for _ in range(10):
        threads = [threading.Thread(target=change, args=(f"room {number}",)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert last_told == conditions.reasons()
    assert most_at_once == 1


def test_an_error_of_the_telling_reaches_the_one_who_changed_and_the_next_change_is_told() -> None:
    told: list[list[str]] = []

    def tell() -> None:
        told.append(conditions.reasons())
        if len(told) == 1:
            raise RuntimeError("defect")

    conditions = Conditions(tell)
    with pytest.raises(RuntimeError, match=r"^defect$"):
        conditions.set("uplink", "no broker")
    conditions.set("uplink", None)

    assert told == [["uplink: no broker"], []]


# The machine


def test_the_machine_is_looked_at(tmp_path: Path) -> None:
    machine = MachineWatch(tmp_path).look()

    total = psutil.virtual_memory().total
    assert 0 < machine.process_memory_bytes < total
    assert 0 < machine.memory_available_bytes < total
    assert 0 <= machine.memory_percent <= 100
    assert machine.load_1min is not None
    assert 0 <= machine.load_1min < 100_000
    assert machine.disk_free_bytes is not None
    assert machine.disk_free_bytes > 0
    assert machine.cpu_mhz is None or 10 < machine.cpu_mhz < 20_000
    assert machine.network_sent_bytes is not None
    assert machine.network_received_bytes is not None


def test_what_stays_on_the_machine_is_no_network_traffic(tmp_path: Path) -> None:
    def loopback() -> int:
        return int(psutil.net_io_counters(pernic=True)["lo"].bytes_sent)

    watch, sent_before = MachineWatch(tmp_path), loopback()
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    with receiver, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(200):
            sender.sendto(bytes(50_000), receiver.getsockname())
    wait_for(lambda: loopback() - sent_before >= 10_000_000)

    machine = watch.look()
    assert machine.network_sent_bytes is not None
    assert machine.network_sent_bytes < 10_000_000


Counters = namedtuple("Counters", ["bytes_sent", "bytes_recv"])


def test_traffic_is_counted_on_when_a_modem_is_pulled_and_plugged_in_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [
        {"lo": Counters(9_000, 9_000), "wwan0": Counters(500, 700)},
        {"lo": Counters(9_999, 9_999), "wwan0": Counters(600, 900)},
        {"lo": Counters(9_999, 9_999)},
        {"lo": Counters(9_999, 9_999), "wwan0": Counters(10, 20), "eth0": Counters(1, 2)},
    ]
    # No test can pull a modem out of the machine it runs on.
    monkeypatch.setattr(psutil, "net_io_counters", lambda pernic: states.pop(0))
    watch = MachineWatch(tmp_path)

    looks = [watch.look() for _ in range(3)]

    assert [look.network_sent_bytes for look in looks] == [100, 100, 111]
    assert [look.network_received_bytes for look in looks] == [200, 200, 222]


def test_what_the_machine_does_not_say_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("not on this machine")

    def unknown() -> None:
        raise NotImplementedError("can't find current frequency file")

    monkeypatch.setattr(psutil, "net_io_counters", refuse)
    monkeypatch.setattr(psutil, "cpu_freq", unknown)
    monkeypatch.setattr(psutil, "sensors_temperatures", dict)
    monkeypatch.setattr(os, "getloadavg", refuse)

    machine = MachineWatch(tmp_path / "no such folder").look()

    assert machine.network_sent_bytes is None
    assert machine.network_received_bytes is None
    assert machine.cpu_mhz is None
    assert machine.load_1min is None
    assert machine.temperature_c is None
    assert machine.disk_free_bytes is None
