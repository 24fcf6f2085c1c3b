"""A broker without persistence that is killed again and again: what it had acknowledged and not handed on is gone with it.

The receiver comes back later than the device, so that each time there is something to lose: a broker acknowledges what nobody
has subscribed to, and forgets it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Mosquitto, Overflight, wait_for
from tests.e2e.conftest import Camera, count
from tests.e2e.delivery import DELIVERIES, check_nothing_is_lost, is_delivered, journaled
from tests.receiver import Received, receiving


@pytest.fixture
def received(overflight: Overflight, mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Received]:
    """A receiver that is there before the device, and comes back after it."""
    overflight.config["uplink"] = {"url": mosquitto.url, "reconnect_max_s": 0.2, "stored_within_s": 1}
    overflight.config["triage"] = {"threshold": 0.0}
    overflight.config["capture"] |= {"settle_s": 0.02, "after": "delete"}
    with receiving(tmp_path / "received.db", mosquitto.port, reconnect_s=1.0) as received:
        wait_for(lambda: received.connections == 1)
        yield received


def fly(  # noqa: PLR0917
    overflight: Overflight, mosquitto: Mosquitto, received: Received, camera: Camera, kills: int, most_s: float
) -> int:
    """Let frames come while the broker is killed, and wait until all of them are delivered.

    Args:
        most_s: Longest life of a broker.

    Returns:
        How many alerts there were when the receiver had subscribed for the last time.
    """
    chance = random.Random(kills)
    with overflight.running("run") as daemon:
        with camera.running():
            for kill in range(kills):
                subscribed, before = received.connections, count(overflight.journal, "alerts")
                wait_for(lambda before=before: count(overflight.journal, "alerts") > before, 30)  # type: ignore[misc]
                time.sleep(chance.uniform(0, most_s))
                mosquitto.kill()
                time.sleep(chance.uniform(0, 0.3))
                mosquitto.start()
                # Some brokers are killed before the receiver has found them.
                if chance.random() < 0.8 or kill == kills - 1:
                    wait_for(lambda subscribed=subscribed: received.connections > subscribed)  # type: ignore[misc]
            alerts = count(overflight.journal, "alerts")
            wait_for(lambda: count(overflight.journal, "alerts") >= alerts + 20)
        wait_for(lambda: is_delivered(overflight.journal, len(camera.names)), 60)
        assert daemon.poll() is None
    return alerts


def check(delivery: str, journal: Path, received: Received, alerts: int) -> None:
    """See that nothing is lost but what the kind of delivery cannot keep."""
    if delivery == "ground":
        wait_for(lambda: received.count == count(journal, "alerts"))
        check_nothing_is_lost(journal, received)
        return
    expected = journaled(journal)
    later = list(expected)[alerts:]
    wait_for(lambda: received.payloads.keys() >= set(later))
    assert received.payloads.items() <= expected.items()
    assert received.faults == []


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_what_a_killed_broker_had_acknowledged_is_lost_only_where_its_word_counts(
    overflight: Overflight, mosquitto: Mosquitto, received: Received, make_jpeg: Callable[..., bytes], delivery: str
) -> None:
    # A picture may come of an alert that the broker had acknowledged and lost.
    pictures = {} if delivery == "ground" else {"thumbnail_bytes": 0}
    overflight.config["uplink"] |= {"delivery": delivery} | pictures
    camera = Camera(overflight.inbox, make_jpeg(), frames_per_s=30)
    alerts = fly(overflight, mosquitto, received, camera, kills=4, most_s=1)
    check(delivery, overflight.journal, received, alerts)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_broker_that_is_killed_100_times(
    overflight: Overflight, mosquitto: Mosquitto, received: Received, make_jpeg: Callable[..., bytes], delivery: str
) -> None:
    # A picture may come of an alert that the broker had acknowledged and lost.
    pictures = {} if delivery == "ground" else {"thumbnail_bytes": 0}
    overflight.config["uplink"] |= {"delivery": delivery} | pictures
    camera = Camera(overflight.inbox, make_jpeg(), frames_per_s=30)
    alerts = fly(overflight, mosquitto, received, camera, kills=100, most_s=6)
    check(delivery, overflight.journal, received, alerts)
