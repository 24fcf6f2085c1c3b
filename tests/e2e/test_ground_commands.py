"""What the ground asks of a device, through a real broker: what is allowed is done and answered, all else is refused."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import timedelta
from itertools import count as numbers
from typing import Any

import cv2
import numpy as np
import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge.bundle import Store
from edge.messages import COMMAND_NAMES, rfc3339, utc_now
from tests.conftest import Mosquitto, Overflight, wait_for
from tests.e2e.conftest import VERSION, Ground, count
from tests.edge.bundle.bundles import TRUST, reissue

_numbers = numbers(1)


def command(name: str, expires_in_s: float = 60.0, **changes: Any) -> dict[str, Any]:
    """A command with a new id.

    Args:
        changes: Its arguments under ``args``, and whatever else is not as usual.
    """
    expires_at = rfc3339(utc_now() + timedelta(seconds=expires_in_s))
    return {"schema": 1, "id": f"c-{next(_numbers)}", "name": name, "expires_at": expires_at} | changes


def ask(ground: Ground, name: str, **args: Any) -> dict[str, Any]:
    """Have the device carry out a command; returns its result."""
    asked = command(name, **({"args": args} if args else {}))
    ground.say("command", asked)
    reply = reply_to(ground, asked["id"])
    assert (reply["ok"], reply["reason"], reply["name"]) == (True, None, name)
    result: dict[str, Any] = reply["result"]
    return result


def reply_to(ground: Ground, command_id: str) -> dict[str, Any]:
    """The first reply to a command."""
    wait_for(lambda: any(reply["id"] == command_id for reply in ground.replies))
    return next(reply for reply in ground.replies if reply["id"] == command_id)


@pytest.fixture
def device(overflight: Overflight, mosquitto: Mosquitto) -> Overflight:
    """One that may be asked everything."""
    overflight.config["uplink"] = {"url": mosquitto.url, "commands": list(COMMAND_NAMES)}
    overflight.config["capture"]["settle_s"] = 0.02
    return overflight


@pytest.fixture
def ground(mosquitto: Mosquitto, listen: Callable[[int], Ground]) -> Ground:
    return listen(mosquitto.port)


def await_online(ground: Ground, state: str = "online") -> None:
    """Wait until the newest status says so; the device hears commands by then."""
    wait_for(lambda: bool(ground.statuses) and ground.statuses[-1]["state"] == state, 20)


def stop(daemon: Any) -> str:
    """Stop a daemon; returns its log."""
    daemon.send_signal(signal.SIGTERM)
    _, log = daemon.communicate(timeout=10)
    assert daemon.returncode == 0
    return str(log)


def test_a_threshold_changes_which_alerts_come_and_outlasts_a_restart_until_it_is_taken_back(
    device: Overflight, ground: Ground, make_jpeg: Callable[..., bytes]
) -> None:
    device.config["triage"] = {"threshold": 1.0}

    def fly(name: str) -> None:
        before = count(device.journal, "observations")
        (device.inbox / name).write_bytes(make_jpeg())
        wait_for(lambda: count(device.journal, "observations") == before + 1)

    with device.running("run") as daemon:
        await_online(ground)
        assert ground.statuses[-1]["threshold"] == 1.0
        fly("passed-over.jpg")
        assert ask(ground, "set_threshold", threshold=0.0) == {"threshold": 0.0}
        wait_for(lambda: ground.statuses[-1]["threshold"] == 0.0)
        fly("first.jpg")
        wait_for(lambda: len(ground.alerts) == 1)
        stop(daemon)
    with device.running("run"):
        await_online(ground)
        assert ground.statuses[-1]["threshold"] == 0.0
        fly("second.jpg")
        wait_for(lambda: len(ground.alerts) == 2)
        own = ask(ground, "set_threshold", threshold=None)["threshold"]
        wait_for(lambda: ground.statuses[-1]["threshold"] == own)
    # That of the configuration.
    assert own == 1.0
    names = [alert["properties"]["frame"]["name"] for alert in ground.alerts]
    assert names == ["first.jpg", "second.jpg"]


def test_a_paused_device_classifies_nothing_until_it_resumes_and_says_so(
    device: Overflight, ground: Ground, make_jpeg: Callable[..., bytes]
) -> None:
    device.config["triage"] = {"threshold": 0.0}
    with device.running("run"):
        await_online(ground)
        assert ask(ground, "pause") == {}
        await_online(ground, "degraded")
        assert ground.statuses[-1]["reasons"] == ["paused: by a command; nothing is classified until resume"]
        for number in range(5):
            (device.inbox / f"{number}.jpg").write_bytes(make_jpeg(number))
        with pytest.raises(AssertionError, match="did not happen"):
            wait_for(lambda: bool(count(device.journal, "frames")), 1.0)
        assert ask(ground, "resume") == {}
        wait_for(lambda: len(ground.alert_ids) == 5)
        await_online(ground)
        assert ground.statuses[-1]["reasons"] == []


def test_a_snapshot_is_a_picture_of_the_newest_frame_under_the_id_that_the_reply_names(
    device: Overflight, ground: Ground
) -> None:
    device.config["triage"] = {"threshold": 1.0}
    device.config["uplink"]["commands"] = ["snapshot"]
    red = cv2.imencode(".jpg", np.full((96, 128, 3), (0, 0, 200), np.uint8))[1].tobytes()
    with device.running("run"):
        await_online(ground)
        early = command("snapshot")
        ground.say("command", early)
        assert reply_to(ground, early["id"])["reason"] == "there was no frame yet"
        (device.inbox / "red.jpg").write_bytes(red)
        wait_for(lambda: count(device.journal, "observations") == 1)
        result = ask(ground, "snapshot")
        wait_for(lambda: result["thumbnail"] in ground.thumbnails)
    assert result["frame"] == "red.jpg"
    assert ground.thumbnails.keys() == {result["thumbnail"]}
    picture = cv2.imdecode(np.frombuffer(ground.thumbnails[result["thumbnail"]], np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (96, 128, 3)
    assert np.abs(picture.mean(axis=(0, 1)) - (0, 0, 200)).max() < 5


def test_alerts_that_are_asked_for_again_come_again_equal_to_the_byte(
    device: Overflight, ground: Ground, make_jpeg: Callable[..., bytes]
) -> None:
    device.config["triage"] = {"threshold": 0.0}
    for number in range(5):
        (device.inbox / f"{number}.jpg").write_bytes(make_jpeg(number))
    with device.running("run"):
        wait_for(lambda: len(ground.payloads) == 5)
        wait_for(lambda: count(device.journal, "alerts WHERE delivered = 1") == 5)
        assert ask(ground, "resend", first=2, last=4) == {"alerts": 3}
        wait_for(lambda: len(ground.payloads) == 8)
        wait_for(lambda: count(device.journal, "alerts WHERE delivered = 1") == 5)
    by_sequence = {
        alert["properties"]["sequence"]: payload for alert, payload in zip(ground.alerts, ground.payloads, strict=True)
    }
    assert sorted(ground.payloads[5:]) == sorted(by_sequence[sequence] for sequence in (2, 3, 4))
    assert set(ground.payloads[5:]) <= set(ground.payloads[:5])


def test_the_previous_model_serves_again_when_the_ground_asks_for_it(
    installed: Overflight, mosquitto: Mosquitto, ground: Ground
) -> None:
    made = reissue(installed.folder / "made" / "second", VERSION + 2)
    Store(installed.folder / "models").install(made, TRUST, lambda bundle: None)
    installed.config["uplink"] = {"url": mosquitto.url, "commands": ["rollback_model"]}
    with installed.running("run"):
        await_online(ground)
        assert ground.statuses[-1]["bundle"]["version"] == VERSION + 2
        assert ask(ground, "rollback_model")["model"].startswith(f"terrain-damage-{VERSION + 1}-")
        wait_for(lambda: ground.statuses[-1]["bundle"]["version"] == VERSION + 1, 20)


def test_a_command_that_may_not_be_carried_out_is_refused_answered_and_logged(
    device: Overflight, ground: Ground, mosquitto: Mosquitto
) -> None:
    device.config["uplink"]["commands"] = ["pause", "resend", "set_threshold"]
    kept = command("pause", id="kept")
    ground.say("command", kept, retain=True)
    refused = {
        "other": (
            command("snapshot", id="other"),
            "snapshot is not allowed; uplink.commands allows pause, resend, set_threshold",
        ),
        "late": (command("pause", expires_in_s=-1, id="late"), "expired at "),
        "far": (command("pause", expires_in_s=90_000, id="far"), "more than a day ahead"),
        "unknown": (command("land", id="unknown"), "unknown command land; known are set_threshold, pause, "),
        "no-expiry": ({"schema": 1, "id": "no-expiry", "name": "pause"}, "malformed: "),
        "too-high": (command("set_threshold", id="too-high", args={"threshold": 2}), "malformed: "),
        "turned": (command("resend", id="turned", args={"first": 9, "last": 1}), "malformed: expected first <= last"),
        "more": (command("pause", id="more", args={"until": "dawn"}), "malformed: "),
        "sticky": (command("pause", id="sticky"), "retained: "),
    }
    with device.running("run") as daemon:
        await_online(ground)
        for name, (said, _) in refused.items():
            ground.say("command", said, retain=name == "sticky")
        ground.say("command", command("pause", id=7))
        assert ask(ground, "resend", first=1, last=1) == {"alerts": 0}
        log = stop(daemon)
    replies = {reply["id"]: reply for reply in ground.replies if not reply["ok"]}
    assert replies.keys() == refused.keys() | {"kept"}
    for name, (_, reason) in (refused | {"kept": (kept, "retained: ")}).items():
        assert reason in replies[name]["reason"]
        assert f"command {name} refused: {replies[name]['reason']}" in log
    assert "command without a readable id refused: malformed: " in log
    assert not any("paused" in reason for status in ground.statuses for reason in status["reasons"])


def test_a_command_is_carried_out_once_however_often_it_comes_also_after_a_restart(device: Overflight, ground: Ground) -> None:
    once = command("set_threshold", args={"threshold": 0.25})
    with device.running("run") as daemon:
        await_online(ground)
        ground.say("command", once)
        ground.say("command", once)
        ask(ground, "set_threshold", threshold=0.75)
        daemon.send_signal(signal.SIGKILL)
        daemon.communicate(timeout=10)
    await_online(ground, "offline")
    with device.running("run"):
        await_online(ground)
        ground.say("command", once)
        wait_for(lambda: len(ground.replies) == 4)
        assert ground.statuses[-1]["threshold"] == 0.75
    answers = [(reply["ok"], reply["reason"]) for reply in ground.replies if reply["id"] == once["id"]]
    assert answers == [(True, None), *[(False, "repeated: this id was used before")] * 2]


@pytest.mark.parametrize(("allowed", "heard"), [([], "No matching subscribers"), (["pause"], "Success")])
def test_a_device_that_may_be_asked_nothing_does_not_even_listen(
    overflight: Overflight, mosquitto: Mosquitto, allowed: list[str], heard: str
) -> None:
    overflight.config["uplink"] = {"url": mosquitto.url, "commands": allowed}
    statuses: list[Any] = []
    answers: list[str] = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_message = lambda client, data, message: statuses.append(message.payload)
    client.on_publish = lambda client, data, number, reason, properties: answers.append(str(reason))
    client.connect("127.0.0.1", mosquitto.port)
    client.subscribe("overflight/uav-1/status", qos=1)
    client.loop_start()
    try:
        with overflight.running("run"):
            wait_for(lambda: bool(statuses), 20)
            client.publish("overflight/uav-1/command", b"{}", qos=1)
            wait_for(lambda: answers == [heard])
    finally:
        client.disconnect()
        client.loop_stop()
