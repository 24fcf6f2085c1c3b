"""The receiver of the tests says what it has, and finds what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests.conftest import Mosquitto, wait_for
from tests.receiver import MISSING_MAX, Received, Store, receiving

JOURNAL = ("uav-1", "journal-1")
TOPIC = "overflight/uav-1/alert"


def alert(sequence: int, alert_id: str | None = None, **properties: Any) -> bytes:
    facts = {"device": "uav-1", "journal": "journal-1", "sequence": sequence, **properties}
    return json.dumps({"id": alert_id or f"alert-{sequence}", "properties": facts}).encode()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "received.db")
    yield opened
    opened.close()


@pytest.fixture
def received(store: Store, tmp_path: Path) -> Iterator[Received]:
    opened = Received(tmp_path / "received.db")
    yield opened
    opened.close()


def test_an_acknowledgement_names_what_is_missing(store: Store) -> None:
    for sequence in (4, 1, 7):
        store.keep(TOPIC, alert(sequence))
    said = {"schema": 1, "journal": "journal-1", "through": 7, "missing": [[2, 3], [5, 6]]}
    assert store.acknowledgement(*JOURNAL) == said
    store.keep(TOPIC, alert(3))
    assert store.acknowledgement(*JOURNAL) == said | {"missing": [2, [5, 6]]}


def test_an_acknowledgement_goes_as_far_as_it_can_name_what_is_missing(store: Store) -> None:
    for sequence in range(1, 2 * MISSING_MAX + 2, 2):
        store.keep(TOPIC, alert(sequence))
    assert store.acknowledgement(*JOURNAL)["through"] == 2 * MISSING_MAX + 1
    store.keep(TOPIC, alert(2 * MISSING_MAX + 10))
    assert store.acknowledgement(*JOURNAL)["through"] == 2 * MISSING_MAX + 1
    assert store.acknowledgement(*JOURNAL)["missing"] == list(range(2, 2 * MISSING_MAX + 2, 2))


def test_a_store_that_is_opened_again_knows_what_it_has(store: Store, tmp_path: Path) -> None:
    for sequence in (1, 3):
        store.keep(TOPIC, alert(sequence))
    again = Store(tmp_path / "received.db")
    assert again.acknowledgement(*JOURNAL) == store.acknowledgement(*JOURNAL)
    again.close()


def test_doubles_are_counted_and_are_no_fault(store: Store, received: Received) -> None:
    for _ in range(3):
        store.keep(TOPIC, alert(1))
    assert (received.count, received.doubles, received.faults) == (1, 2, [])
    assert received.sequences("journal-1") == [1]
    assert received.topics == {"alert": 3}


def test_revisions_are_kept_beside_each_other_and_the_highest_stands_in_whatever_order_they_come(
    store: Store, received: Received
) -> None:
    for sequence, revision in ((1, 0), (3, 2), (2, 1), (3, 2)):
        store.keep(TOPIC, alert(sequence, "alert-1", **({"revision": revision} if revision else {}), count=revision + 1))
    assert (received.count, received.doubles, received.faults) == (3, 1, [])
    assert received.newest["alert-1"]["count"] == 3


@pytest.mark.parametrize(
    ("topic", "payload", "fault"),
    [
        (TOPIC, alert(1, label="damaged"), "with other content"),
        (TOPIC, alert(1, "alert-2"), "has the sequence 1 of another one"),
        ("overflight/uav-2/alert", alert(2), "of uav-1 came from uav-2"),
        ("overflight/uav-1/thumbnail/alert-2", b"jpeg", "came before it"),
    ],
)
def test_what_is_wrong_is_found(store: Store, received: Received, topic: str, payload: bytes, fault: str) -> None:
    store.keep(TOPIC, alert(1))
    store.keep(topic, payload)
    (found,) = received.faults
    assert fault in found


@pytest.fixture
def device(mosquitto: Mosquitto) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """Connects a device to the broker and has it send alerts; gives the acknowledgements that it hears."""
    clients: list[mqtt.Client] = []

    def connect(*alerts: bytes) -> list[dict[str, Any]]:
        heard: list[dict[str, Any]] = []
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        client.on_message = lambda client, data, message: heard.append(json.loads(message.payload))
        client.connect("127.0.0.1", mosquitto.port)
        client.subscribe("overflight/uav-1/ack", qos=1)
        for payload in alerts:
            client.publish(TOPIC, payload, qos=1)
        client.loop_start()
        clients.append(client)
        return heard

    yield connect
    for client in clients:
        client.loop_stop()


def test_it_acknowledges_and_says_so_again_when_it_comes_back(
    mosquitto: Mosquitto, device: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    said = {"schema": 1, "journal": "journal-1", "through": 3, "missing": [2]}
    with receiving(tmp_path / "received.db", mosquitto.port) as received:
        wait_for(lambda: received.connections == 1)
        heard = device(alert(1), alert(3), alert(1))
        wait_for(lambda: heard[-1:] == [said])
        assert (received.count, received.doubles, received.faults) == (2, 1, [])
    heard.clear()
    with receiving(tmp_path / "received.db", mosquitto.port):
        wait_for(lambda: heard == [said])


def test_it_outlives_a_broker_that_is_killed(
    mosquitto: Mosquitto, device: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    with receiving(tmp_path / "received.db", mosquitto.port) as received:
        wait_for(lambda: received.connections == 1)
        mosquitto.kill()
        mosquitto.start()
        wait_for(lambda: received.connections == 2)
        heard = device(alert(1))
        wait_for(lambda: [said["through"] for said in heard] == [1])
