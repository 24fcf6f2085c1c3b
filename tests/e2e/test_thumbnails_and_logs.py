"""What follows the alerts: a picture of each, and what the device logs where that is asked for."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import Mosquitto, Overflight, wait_for
from tests.counting_link import CountingLink
from tests.e2e.conftest import PASSWORD, Ground, SecuredBroker, count

COLOURS = {"red.jpg": (0, 0, 200), "green.jpg": (0, 200, 0), "blue.jpg": (200, 0, 0), "grey.jpg": (90, 90, 90)}
"""Of a frame of this name, BGR."""


def paint(folder: Path) -> None:
    """Write a frame of each colour."""
    for name, colour in COLOURS.items():
        cv2.imwrite(str(folder / name), np.full((128, 128, 3), colour, np.uint8))


def noise(folder: Path, make_jpeg: Callable[..., bytes], number: int) -> None:
    """Write frames whose pictures are large."""
    for index in range(number):
        (folder / f"{index:03}.jpg").write_bytes(make_jpeg(index, 256, 256))


@pytest.fixture
def device(overflight: Overflight, mosquitto: Mosquitto) -> Overflight:
    """One that alerts about every frame."""
    overflight.config["uplink"] = {"url": mosquitto.url, "reconnect_max_s": 0.2}
    overflight.config["triage"] = {"threshold": 0.0}
    overflight.config["capture"]["settle_s"] = 0.02
    return overflight


@pytest.fixture
def ground(mosquitto: Mosquitto, listen: Callable[[int], Ground]) -> Ground:
    return listen(mosquitto.port)


def check_pictures_follow_alerts(ground: Ground, max_bytes: int) -> None:
    """Each alert has a picture, small enough, which came after it."""
    sequences = {alert["id"]: alert["properties"]["sequence"] for alert in ground.alerts}
    assert ground.thumbnails.keys() == sequences.keys()
    for alert, jpeg in ground.thumbnails.items():
        assert len(jpeg) <= max_bytes
        assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) is not None
        assert ground.order.index(("alert", sequences[alert])) < ground.order.index(("thumbnail", alert))


def test_each_alert_is_followed_by_a_picture_of_its_own_place(device: Overflight, ground: Ground) -> None:
    paint(device.inbox)
    with device.running("run"):
        wait_for(lambda: len(ground.thumbnails) == len(COLOURS), 20)
        wait_for(lambda: count(device.journal, "thumbnails") == 0)
    check_pictures_follow_alerts(ground, 6_000)
    for alert in ground.alerts:
        picture = cv2.imdecode(np.frombuffer(ground.thumbnails[alert["id"]], np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert np.abs(picture.mean(axis=(0, 1)) - COLOURS[alert["properties"]["frame"]["name"]]).max() < 5


def test_a_picture_is_no_larger_than_the_configuration_says(
    device: Overflight, ground: Ground, make_jpeg: Callable[..., bytes]
) -> None:
    device.config["uplink"]["thumbnail_bytes"] = 1_000
    noise(device.inbox, make_jpeg, 4)
    with device.running("run"):
        wait_for(lambda: len(ground.thumbnails) == 4, 20)
    check_pictures_follow_alerts(ground, 1_000)


def test_no_picture_is_made_where_none_is_wanted(device: Overflight, ground: Ground) -> None:
    device.config["uplink"]["thumbnail_bytes"] = 0
    paint(device.inbox)
    with device.running("run") as daemon:
        wait_for(lambda: len(ground.alert_ids) == len(COLOURS), 20)
        assert count(device.journal, "thumbnails") == 0
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(10) == 0
    wait_for(lambda: ground.statuses[-1]["state"] == "offline")
    assert ground.thumbnails == {}


def test_pictures_outlast_a_daemon_that_is_killed_while_it_sends_them(
    device: Overflight, ground: Ground, make_jpeg: Callable[..., bytes]
) -> None:
    device.config["uplink"]["max_bytes_per_s"] = 15_000
    noise(device.inbox, make_jpeg, 12)
    with device.running("run") as daemon:
        wait_for(lambda: len(ground.alert_ids) == 12 and bool(ground.thumbnails), 20)
        daemon.send_signal(signal.SIGKILL)
        daemon.wait(10)
    assert len(ground.thumbnails) < 12
    with device.running("run"):
        wait_for(lambda: len(ground.thumbnails) == 12, 20)
    check_pictures_follow_alerts(ground, 6_000)


def test_pictures_outlast_a_broker_that_is_killed_and_a_link_that_is_down(
    device: Overflight, mosquitto: Mosquitto, listen: Callable[[int], Ground], make_jpeg: Callable[..., bytes]
) -> None:
    with CountingLink(mosquitto.port) as link:
        device.config["uplink"]["url"] = f"mqtt://127.0.0.1:{link.port}"
        with device.running("run"):
            wait_for(lambda: bool(link.sent))
            link.down()
            mosquitto.kill()
            noise(device.inbox, make_jpeg, 6)
            wait_for(lambda: count(device.journal, "thumbnails") == 6, 20)
            mosquitto.start()
            # Who subscribes later than the device connects would miss some.
            ground = listen(mosquitto.port)
            link.up()
            wait_for(lambda: len(ground.thumbnails) == 6, 20)
    check_pictures_follow_alerts(ground, 6_000)


def test_warnings_go_to_the_ground_where_they_are_asked_for_and_hold_no_secret(
    secured: SecuredBroker, overflight: Overflight, certificates: Path, listen: Callable[..., Ground]
) -> None:
    secured.uplink["log_level"] = "warning"
    secured.start()
    ground = listen(secured.port, ca_file=certificates / "ca.pem", login=("uav-1", PASSWORD))
    (overflight.inbox / "broken.jpg").write_bytes(b"no picture")
    with overflight.running("run") as daemon:
        wait_for(lambda: any("broken.jpg" in log["text"] for log in ground.logs), 20)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(10) == 0
    (log,) = (log for log in ground.logs if "broken.jpg" in log["text"])
    assert (log["level"], log["device"]) == ("warning", "uav-1")
    assert "rejected" in log["text"]
    assert PASSWORD not in str(ground.logs + ground.statuses)


def test_no_log_goes_to_the_ground_by_default(device: Overflight, ground: Ground) -> None:
    (device.inbox / "broken.jpg").write_bytes(b"no picture")
    device.config["health"] = {"interval_s": 0.2}
    with device.running("run"):
        wait_for(lambda: any(health["rejected"] == 1 for health in ground.health), 20)
        seen = len(ground.health)
        wait_for(lambda: len(ground.health) > seen + 2)
    assert ground.logs == []
