"""Following alerts: each revision is shown once, and none behind a later one of its alert."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from paho.mqtt import publish

from edge.config import UplinkConfig
from edge.messages import alert_message, encode
from edge.records import Alert
from edge.watch import AlertFeed, alert_line
from tests.conftest import Mosquitto
from tests.edge.journal.frames import CAPTURED_AT, observe


def message(alert: str, revision: int, sequence: int) -> bytes:
    count = revision + 1
    times = (CAPTURED_AT, CAPTURED_AT) if revision else (None, None)
    told = Alert(alert, observe("a.jpeg"), "damaged", 0.75, count, revision, *times)
    return encode(alert_message(told, "uav-1", "7f3a", sequence))


def follow(mosquitto: Mosquitto, sent: Sequence[tuple[str, int]], *, outdated: bool) -> list[tuple[str, int]]:
    """What a feed gives of revisions in the order in which they are sent."""
    messages = [
        {"topic": "overflight/uav-1/alert", "payload": message(alert, revision, number), "qos": 1}
        for number, (alert, revision) in enumerate(sent, 1)
    ]
    with AlertFeed(UplinkConfig(url=mosquitto.url), outdated=outdated) as feed:
        publish.multiple(messages, hostname="127.0.0.1", port=mosquitto.port)
        return [(alert.id, alert.properties.revision) for alert in feed.alerts(0.5)]


@pytest.mark.parametrize("outdated", [False, True])
def test_the_highest_revision_that_has_come_is_shown_and_each_once(mosquitto: Mosquitto, outdated: bool) -> None:
    sent = [("a", 0), ("a", 2), ("b", 0), ("a", 1), ("a", 2), ("a", 3), ("a", 0)]
    shown = [("a", 0), ("a", 2), ("b", 0), ("a", 1), ("a", 3)]

    assert follow(mosquitto, sent, outdated=outdated) == [each for each in shown if outdated or each != ("a", 1)]


def test_a_line_says_how_many_frames_show_it() -> None:
    told = Alert("x", observe("a.jpeg"), "damaged", 0.75, 8, 3, CAPTURED_AT, CAPTURED_AT)

    assert alert_line(alert_message(told, "uav-1", "7f3a", 1)).endswith("  a.jpeg  8 frames")
