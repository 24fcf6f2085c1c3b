"""What really goes over the wire is what docs/asyncapi.yaml says; the broker's rules in docs/mqtt.md do what they promise."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests.conftest import PROJECT, Mosquitto, Overflight, free_port, wait_for
from tests.e2e.conftest import rows, ruins
from tests.schemas import channel_of, mqtt_binding, objections


@dataclass(frozen=True)
class Heard:
    topic: str
    payload: bytes
    qos: int
    retained: bool


class Listener:
    """A client that keeps everything that it may hear below one topic, as it came."""

    def __init__(self, port: int, topic: str, user: str | None = None) -> None:
        self.heard: list[Heard] = []
        self.refusals: dict[int, bool] = {}
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        if user is not None:
            self.client.username_pw_set(user, user)
        subscribed: list[Any] = []
        options = mqtt.SubscribeOptions(qos=2, retainAsPublished=True)
        self.client.on_connect = lambda client, *_: client.subscribe(topic, options=options)
        self.client.on_subscribe = lambda *arguments: subscribed.append(arguments)
        self.client.on_publish = lambda client, data, number, reason, properties: self.refusals.update(
            {number: reason.is_failure}
        )
        self.client.on_message = lambda client, data, message: self.heard.append(
            Heard(message.topic, message.payload, message.qos, message.retain)
        )
        # mosquitto 2.0.11 hangs up on a client that it has refused something.
        self.client.reconnect_delay_set(0.05, 0.05)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        wait_for(lambda: bool(subscribed))

    def may_publish(self, topic: str) -> bool:
        """Whether the broker lets this client publish to a topic."""
        number = self.client.publish(topic, b"{}", qos=1).mid
        wait_for(lambda: number in self.refusals)
        return not self.refusals[number]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_every_message_of_a_run_is_as_the_document_says(
    overflight: Overflight, town_tiles: list[tuple[Any, bool]], mosquitto: Mosquitto
) -> None:
    expected = ruins(town_tiles, overflight.inbox)
    overflight.config["uplink"] = {"url": mosquitto.url}
    overflight.config["health"] = {"interval_s": 0.1}
    listener = Listener(mosquitto.port, "#")
    try:
        with overflight.running("run") as daemon:
            wait_for(lambda: {channel_of(message.topic) for message in listener.heard} >= {"alert", "status", "health"})
            wait_for(lambda: rows(overflight.journal, "SELECT count(*) FROM alerts WHERE delivered") == [(expected,)])
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(10) == 0
        wait_for(lambda: any(b'"offline"' in message.payload for message in listener.heard))
    finally:
        listener.close()

    kinds = [channel_of(message.topic) for message in listener.heard]
    assert kinds.count("alert") == expected
    for kind, message in zip(kinds, listener.heard, strict=True):
        assert kind == "thumbnail" or objections(message.topic, message.payload) == []
        assert (message.qos, message.retained) == (mqtt_binding(kind)["qos"], mqtt_binding(kind)["retain"])


@pytest.fixture
def guarded(mosquitto_program: None, tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker with the access rules and the keeping of docs/mqtt.md, without its TLS."""
    blocks = re.findall(r"```\n(# .*?)```", (PROJECT / "docs" / "mqtt.md").read_text(), re.DOTALL)
    config, rules = (next(block for block in blocks if name in block.partition("\n")[0]) for name in ("mosquitto.conf", "/acl"))
    passwords, acl, port = tmp_path / "passwords", tmp_path / "acl", free_port()
    acl.write_text(rules)
    passwords.write_text("uav-1:uav-1\nuav-2:uav-2\nground:ground\n")
    # Run as root it becomes the user mosquitto, who must reach its files.
    for file in (tmp_path, passwords, acl):
        file.chmod(0o777 if file.is_dir() else 0o644)
    subprocess.run(["mosquitto_passwd", "-U", passwords], check=True, capture_output=True)
    passwords.chmod(0o644)
    config = re.sub(r"^(cafile|certfile|keyfile) .*\n", "", config, flags=re.MULTILINE)
    config = config.replace("listener 8883", f"listener {port} 127.0.0.1").replace("/etc/mosquitto/passwords", str(passwords))
    config = config.replace("/etc/mosquitto/acl", str(acl)).replace("/var/lib/mosquitto/", f"{tmp_path}/")
    broker = Mosquitto(tmp_path, port, config + "user root\n")
    broker.start()
    yield broker
    broker.stop()


def test_the_access_rules_let_a_device_write_its_own_topics_and_nothing_else(guarded: Mosquitto) -> None:
    kinds = ("alert", "thumbnail/0198f1c2", "status", "health", "log", "reply")
    device, ground = Listener(guarded.port, "#", "uav-1"), Listener(guarded.port, "overflight/#", "ground")
    try:
        assert all(device.may_publish(f"overflight/uav-1/{kind}") for kind in kinds)
        assert not any(device.may_publish(f"overflight/uav-2/{kind}") for kind in kinds)
        assert not any(device.may_publish(f"overflight/uav-1/{kind}") for kind in ("command", "ack"))
        assert not device.may_publish("elsewhere")
        wait_for(lambda: [message.topic for message in ground.heard] == [f"overflight/uav-1/{kind}" for kind in kinds])
    finally:
        device.close()
        ground.close()


def test_the_access_rules_hand_a_device_its_own_commands_and_acknowledgements_alone(guarded: Mosquitto) -> None:
    device, ground = Listener(guarded.port, "#", "uav-1"), Listener(guarded.port, "overflight/#", "ground")
    try:
        for name in ("uav-2", "uav-1"):
            assert all(ground.may_publish(f"overflight/{name}/{kind}") for kind in ("command", "ack"))
        assert not ground.may_publish("overflight/uav-1/alert")
        wait_for(lambda: len(device.heard) >= 2)
    finally:
        device.close()
        ground.close()
    assert [message.topic for message in device.heard] == ["overflight/uav-1/command", "overflight/uav-1/ack"]
