"""A radio link that loses every fifth packet, takes half a second each way, and is dark at times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Mosquitto, Overflight, wait_for
from tests.e2e.conftest import Camera
from tests.e2e.delivery import DELIVERIES, check_nothing_is_lost, is_delivered
from tests.lossy_link import GROUND, LossyLink
from tests.receiver import Received, receiving

PORT = 1883


@pytest.fixture
def link() -> Iterator[LossyLink]:
    with LossyLink(loss=0.2, delay_s=0.5) as link:
        yield link


@pytest.fixture
def received(overflight: Overflight, mosquitto_program: None, link: LossyLink, tmp_path: Path) -> Iterator[Received]:
    """A broker and a receiver at the other end of the device's link."""
    broker = Mosquitto(tmp_path, PORT, address=GROUND, prefix=link.on_ground)
    overflight.prefix = link.on_device
    overflight.config["uplink"] = {"url": broker.url, "keepalive_s": 10, "reconnect_max_s": 1}
    overflight.config["triage"] = {"threshold": 0.0}
    broker.start()
    with receiving(tmp_path / "received.db", PORT, host=GROUND, prefix=link.on_ground) as received:
        wait_for(lambda: received.connections == 1)
        yield received
    broker.stop()


def fly(overflight: Overflight, received: Received, link: LossyLink, camera: Camera, *, blackouts: int, dark_s: float) -> None:
    """Let frames come before, in and after every blackout, and wait until all of them have arrived."""
    with overflight.running("run"):
        with camera.running():
            wait_for(lambda: received.count >= 10, 60)
            for _ in range(blackouts):
                link.blackout(dark_s)
                # What has arrived may be on its way from the broker to the receiver.
                time.sleep(1)
                before = received.count
                time.sleep(dark_s - 1.5)
                assert received.count == before
                wait_for(lambda before=before: received.count > before, 60)  # type: ignore[misc]
        wait_for(lambda: is_delivered(overflight.journal, len(camera.names)), 120)
        wait_for(lambda: received.count == len(camera.names))
    check_nothing_is_lost(overflight.journal, received)
    assert sum(counts["lost"] for counts in link.counts().values()) > 0


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_bad_link_delays_alerts_and_loses_none(
    overflight: Overflight, received: Received, link: LossyLink, make_jpeg: Callable[..., bytes], delivery: str
) -> None:
    overflight.config["uplink"]["delivery"] = delivery
    fly(overflight, received, link, Camera(overflight.inbox, make_jpeg(), frames_per_s=4), blackouts=1, dark_s=5)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_bad_link_with_long_blackouts_loses_no_alert(
    overflight: Overflight, received: Received, link: LossyLink, make_jpeg: Callable[..., bytes], delivery: str
) -> None:
    overflight.config["uplink"]["delivery"] = delivery
    # TCP brings no more than two or three alerts a second through such a link.
    fly(overflight, received, link, Camera(overflight.inbox, make_jpeg(), frames_per_s=1), blackouts=5, dark_s=30)
