"""After an outage of a day all that was decided meanwhile arrives, the newest first, and the daemon's memory does not grow."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests.conftest import Mosquitto, Overflight, wait_for
from tests.e2e.conftest import count
from tests.e2e.delivery import DELIVERIES, check_nothing_is_lost, is_delivered
from tests.e2e.outage import DAY_S, fill_journal
from tests.receiver import receiving

_WARM = 1_000
_GROWTH_BYTES = 10_000_000


class _Properties(msgspec.Struct):
    sequence: int


class _Numbered(msgspec.Struct):
    properties: _Properties


class Counting:
    """A subscriber that reads no more of an alert than its number.

    Attributes:
        sequences: In the order in which they came.
        times_s: When they came, of the monotonic clock.
    """

    def __init__(self, port: int) -> None:
        self.sequences: list[int] = []
        self.times_s: list[float] = []
        subscribed: list[Any] = []
        decoder = msgspec.json.Decoder(_Numbered)

        def on_message(client: mqtt.Client, data: object, message: mqtt.MQTTMessage) -> None:
            self.sequences.append(decoder.decode(message.payload).properties.sequence)
            self.times_s.append(time.monotonic())

        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = on_message
        self._client.on_subscribe = lambda *arguments: subscribed.append(arguments)
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("overflight/+/alert", qos=1)
        self._client.loop_start()
        wait_for(lambda: bool(subscribed))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def watch_memory(pid: int, arrived: Callable[[], int], alerts: int, timeout_s: float) -> int:
    """Wait until all have arrived; returns by how much the memory was larger at any time than after the first."""
    process, samples = psutil.Process(pid), []

    def have_all_arrived() -> bool:
        number = arrived()
        if number >= _WARM:
            samples.append(process.memory_info().rss)
        return number >= alerts

    wait_for(have_all_arrived, timeout_s)
    return max(samples) - samples[0]


def drain_to_broker(overflight: Overflight, mosquitto: Mosquitto, alerts: int, timeout_s: float) -> None:
    fill_journal(overflight.journal, alerts)
    overflight.config["uplink"] = {"url": mosquitto.url}
    ground = Counting(mosquitto.port)
    try:
        with overflight.running("run") as daemon:
            growth = watch_memory(daemon.pid, lambda: len(ground.sequences), alerts, timeout_s)
            wait_for(lambda: is_delivered(overflight.journal, alerts))
    finally:
        ground.close()
    rate = (alerts - 1) / (ground.times_s[-1] - ground.times_s[0])
    print(f"{alerts} alerts at {rate:.0f}/s, memory {growth / 1e6:+.1f} MB")
    assert ground.sequences == list(range(alerts, 0, -1))
    assert growth < _GROWTH_BYTES


def drain_to_ground(overflight: Overflight, mosquitto: Mosquitto, store: Path, alerts: int, timeout_s: float) -> None:
    fill_journal(overflight.journal, alerts)
    overflight.config["uplink"] = {"url": mosquitto.url, "delivery": "ground"}
    with receiving(store, mosquitto.port) as received:
        wait_for(lambda: received.connections == 1)
        with overflight.running("run") as daemon:
            growth = watch_memory(
                daemon.pid, lambda: count(overflight.journal, "alerts WHERE delivered = 1"), alerts, timeout_s
            )
        check_nothing_is_lost(overflight.journal, received)
        arrivals = [arrival for arrival in received.arrivals if arrival.topic == "alert"]
    rate = (len(arrivals) - 1) / (arrivals[-1].at_s - arrivals[0].at_s)
    print(f"{alerts} alerts at {rate:.0f}/s, {len(arrivals) - alerts} of them twice, memory {growth / 1e6:+.1f} MB")
    assert growth < _GROWTH_BYTES


def test_after_an_hour_and_a_half_without_a_link_all_alerts_come_newest_first(
    overflight: Overflight, mosquitto: Mosquitto
) -> None:
    drain_to_broker(overflight, mosquitto, 5_000, timeout_s=60)


def test_after_an_hour_and_a_half_without_a_link_the_ground_stores_all_alerts(
    overflight: Overflight, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    drain_to_ground(overflight, mosquitto, tmp_path / "received.db", 5_000, timeout_s=60)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_after_a_day_without_a_link_nothing_is_lost(
    overflight: Overflight, mosquitto: Mosquitto, tmp_path: Path, delivery: str
) -> None:
    if delivery == "ground":
        drain_to_ground(overflight, mosquitto, tmp_path / "received.db", DAY_S, timeout_s=600)
    else:
        drain_to_broker(overflight, mosquitto, DAY_S, timeout_s=300)
