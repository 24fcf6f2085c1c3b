"""A radio link that loses every fifth packet, takes half a second each way, and is dark at times."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.journal.packing import unpack
from tests.conftest import Mosquitto, Overflight, wait_for
from tests.e2e.conftest import Camera, rows
from tests.e2e.delivery import DELIVERIES, check_nothing_is_lost, is_delivered
from tests.lossy_link import GROUND, LossyLink
from tests.receiver import Received, receiving

PORT = 1883
# From the time that the journal notes to the moment when the uplink knows of the alert: a sync of the disk.
_NOTED_WITHIN_S = 1.0


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
    wait_for(lambda: bool(received.topics["thumbnail"]), 60)
    check_nothing_is_lost(overflight.journal, received)
    check_no_alert_waited_behind_pictures(overflight.journal, received)
    assert sum(counts["lost"] for counts in link.counts().values()) > 0


def check_no_alert_waited_behind_pictures(journal: Path, received: Received) -> None:
    """When a picture came, every alert was there that had been decided when the picture before it came.

    That is what can be promised: pictures have a connection of their own, on which each waits until the one before it was
    acknowledged, and is begun only when the broker has every alert. An alert that is decided while a picture is in the air
    may come later than it, as each connection repeats what it has lost.
    """
    decided_s = {
        json.loads(unpack(message))["id"]: recorded_ms / 1000
        for recorded_ms, message in rows(journal, "SELECT recorded_ms, message FROM alerts JOIN frames USING (frame)")
    }
    missing, before = dict(decided_s), None
    for arrival in received.arrivals:
        if arrival.topic == "alert" and arrival.id is not None:
            missing.pop(arrival.id, None)
        elif arrival.topic.startswith("thumbnail/"):
            # One that was begun on a connection that broke comes twice, the second time without waiting for the first.
            if before is not None and before.id != arrival.id:
                late = [alert for alert, at_s in missing.items() if at_s < before.at_s - _NOTED_WITHIN_S]
                assert late == [], f"{arrival} came before alerts that were decided {before.at_s} at the latest"
            before = arrival


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
