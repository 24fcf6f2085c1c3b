"""What the tests of the delivery look at in the end: the device's journal beside what the receiver has stored."""

from __future__ import annotations

import json
from pathlib import Path

from edge.journal import read_alerts
from tests.e2e.conftest import rows
from tests.receiver import Received

DELIVERIES = ["broker", "ground"]
"""Values of ``uplink.delivery`` that the tests run with."""


def is_delivered(journal: Path, alerts: int) -> bool:
    """Whether the device has decided on so many alerts and counts all of them as delivered."""
    return rows(journal, "SELECT count(*), sum(delivered) FROM alerts") == [(alerts, alerts)]


def journaled(journal: Path) -> dict[tuple[str, int], bytes]:
    """The alerts of a journal by their id and revision; their sequence must be without gaps."""
    alerts = read_alerts(journal)
    assert [sequence for sequence, _, _ in alerts] == list(range(1, len(alerts) + 1))
    contents = [(json.loads(message), message) for _, message, _ in alerts]
    by_id = {(content["id"], content["properties"].get("revision", 0)): message for content, message in contents}
    assert len(by_id) == len(alerts)
    return by_id


def check_nothing_is_lost(journal: Path, received: Received) -> None:
    """Every alert of the journal arrived as it stands there, and nothing else; no two are the same."""
    expected = journaled(journal)
    assert expected.keys() - received.payloads.keys() == set()
    assert received.payloads == expected
    assert received.faults == []
