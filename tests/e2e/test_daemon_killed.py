"""A daemon that is killed at random moments while it classifies and publishes."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Mosquitto, Overflight, wait_for
from tests.e2e.conftest import Camera, count, rows
from tests.e2e.delivery import DELIVERIES, check_nothing_is_lost, is_delivered
from tests.receiver import Received, receiving


@pytest.fixture
def device(overflight: Overflight, mosquitto: Mosquitto) -> Overflight:
    """One that alerts about every frame and deletes it."""
    overflight.config["uplink"] = {"url": mosquitto.url, "stored_within_s": 1}
    overflight.config["triage"] = {"threshold": 0.0}
    overflight.config["capture"] |= {"settle_s": 0.02, "after": "delete"}
    return overflight


def fly(device: Overflight, received: Received, camera: Camera, kills: int) -> None:
    """Let frames come while the daemon is killed, and see that every one of them is alerted about once."""
    chance = random.Random(kills)
    with camera.running():
        for _ in range(kills):
            before = count(device.journal, "observations")
            with device.running("run") as daemon:
                # Some die before they have done anything.
                if chance.random() < 0.8:
                    wait_for(lambda before=before: count(device.journal, "observations") > before, 30)  # type: ignore[misc]
                time.sleep(chance.uniform(0, 0.5))
                daemon.send_signal(signal.SIGKILL)
                assert daemon.wait(10) == -signal.SIGKILL
    with device.running("run"):
        wait_for(lambda: is_delivered(device.journal, len(camera.names)), 60)
        wait_for(lambda: received.count == len(camera.names))
    check_nothing_is_lost(device.journal, received)
    observed = rows(device.journal, "SELECT frame FROM results WHERE label IS NOT NULL ORDER BY frame")
    assert [name for (name,) in observed] == camera.names


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_daemon_that_is_killed_loses_no_alert_and_makes_none_twice(
    device: Overflight, mosquitto: Mosquitto, make_jpeg: Callable[..., bytes], tmp_path: Path, delivery: str
) -> None:
    device.config["uplink"]["delivery"] = delivery
    with receiving(tmp_path / "received.db", mosquitto.port) as received:
        wait_for(lambda: received.connections == 1)
        fly(device, received, Camera(device.inbox, make_jpeg(), frames_per_s=50), kills=8)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_daemon_that_is_killed_1000_times(
    device: Overflight, mosquitto: Mosquitto, make_jpeg: Callable[..., bytes], tmp_path: Path, delivery: str
) -> None:
    device.config["uplink"]["delivery"] = delivery
    with receiving(tmp_path / "received.db", mosquitto.port) as received:
        wait_for(lambda: received.connections == 1)
        fly(device, received, Camera(device.inbox, make_jpeg(), frames_per_s=50), kills=1000)
        # The moments were such ones: the broker had alerts whose delivery the journal had not noted.
        assert received.doubles > 0
