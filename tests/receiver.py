"""A ground station for tests: stores alerts, acknowledges what it has stored, and remembers all that was wrong with them.

    python -m tests.receiver --port 1883 --store received.db

It is a program of its own, which connects again and again, so that brokers can be killed under it and it can be killed, too.
Its store is one SQLite file; `Received` reads it from the test while the program writes.
"""

from __future__ import annotations

import argparse
import json
import signal
import sqlite3
import subprocess
import sys
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.conftest import PROJECT

MISSING_MAX = 1000
"""An acknowledgement names no more than so many runs of sequences."""

_ACK_PAUSE_S = 0.1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS alerts (
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    device TEXT NOT NULL,
    journal TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    payload BLOB NOT NULL,
    copies INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (id, revision),
    UNIQUE (journal, sequence)
);
CREATE TABLE IF NOT EXISTS arrivals (
    arrival INTEGER PRIMARY KEY,
    at_s REAL NOT NULL,
    topic TEXT NOT NULL,
    id TEXT,
    bytes INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS connections (at_s REAL NOT NULL);
CREATE TABLE IF NOT EXISTS faults (fault TEXT NOT NULL);
"""


class Arrival(NamedTuple):
    """A message that came.

    Attributes:
        at_s: Unix time.
        topic: Below ``overflight/<device>/``.
        id: Of the alert, or of the one that a thumbnail belongs to.
        bytes: Of the payload.
    """

    at_s: float
    topic: str
    id: str | None
    bytes: int


class Store:
    """What the receiver has, in a file that survives its end."""

    def __init__(self, path: Path | str) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.executescript(_SCHEMA)
        # Of each device's journals: the greatest sequence that came, and first and last of the runs below it that did not.
        self._highest: dict[tuple[str, str], int] = defaultdict(int)
        self._missing: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for device, journal, sequence in self._database.execute("SELECT device, journal, sequence FROM alerts"):
            self._note(device, journal, sequence)

    def close(self) -> None:
        self._database.close()

    @property
    def journals(self) -> list[tuple[str, str]]:
        """Devices and the ids of their journals."""
        return list(self._highest)

    def keep(self, topic: str, payload: bytes) -> tuple[str, str] | None:
        """Store a message; returns the device and the journal if it was an alert."""
        _, device, kind = topic.split("/", 2)
        alert_id, journal = None, None
        with self._database:
            self._database.execute("BEGIN")
            if kind == "alert":
                alert_id, journal = self._keep_alert(device, payload)
            elif kind.startswith("thumbnail/"):
                alert_id = kind.partition("/")[2]
                if not self._database.execute("SELECT 1 FROM alerts WHERE id = ?", (alert_id,)).fetchone():
                    self._fault(f"thumbnail of alert {alert_id} came before it")
            self._database.execute(
                "INSERT INTO arrivals (at_s, topic, id, bytes) VALUES (?, ?, ?, ?)",
                (time.time(), kind, alert_id, len(payload)),
            )
        return None if journal is None else (device, journal)

    def note_connection(self) -> None:
        """The broker has taken the subscription."""
        self._database.execute("INSERT INTO connections VALUES (?)", (time.time(),))

    def acknowledgement(self, device: str, journal: str) -> dict[str, Any]:
        """What the device may count as stored: all up to a sequence but those that are named."""
        runs = self._missing[device, journal]
        through = self._highest[device, journal] if len(runs) <= MISSING_MAX else runs[MISSING_MAX][0] - 1
        missing = [first if first == last else [first, last] for first, last in runs[:MISSING_MAX]]
        return {"schema": 1, "journal": journal, "through": through, "missing": missing}

    def _keep_alert(self, device: str, payload: bytes) -> tuple[str, str]:
        message = json.loads(payload)
        properties = message["properties"]
        alert_id, journal, sequence = message["id"], properties["journal"], properties["sequence"]
        # What one device says and an older one does not is as if it had said the default.
        which = (alert_id, properties.get("revision", 0))
        known = self._database.execute("SELECT payload FROM alerts WHERE id = ? AND revision = ?", which).fetchone()
        if known is not None:
            self._database.execute("UPDATE alerts SET copies = copies + 1 WHERE id = ? AND revision = ?", which)
            if known[0] != payload:
                self._fault(f"alert {alert_id} came with other content: {payload!r} after {known[0]!r}")
            return alert_id, journal
        if properties["device"] != device:
            self._fault(f"alert {alert_id} of {properties['device']} came from {device}")
        added = self._database.execute(
            "INSERT INTO alerts (id, revision, device, journal, sequence, payload) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (*which, device, journal, sequence, payload),
        ).rowcount
        if not added:
            self._fault(f"alert {alert_id} has the sequence {sequence} of another one in journal {journal}")
        self._note(device, journal, sequence)
        return alert_id, journal

    def _note(self, device: str, journal: str, sequence: int) -> None:
        highest, runs = self._highest[device, journal], self._missing[device, journal]
        if sequence > highest:
            self._highest[device, journal] = sequence
            if sequence > highest + 1:
                runs.append((highest + 1, sequence - 1))
            return
        at = bisect_left(runs, sequence, key=lambda run: run[1])
        if at < len(runs) and runs[at][0] <= sequence:
            first, last = runs[at]
            runs[at : at + 1] = [run for run in ((first, sequence - 1), (sequence + 1, last)) if run[0] <= run[1]]

    def _fault(self, fault: str) -> None:
        self._database.execute("INSERT INTO faults VALUES (?)", (fault,))


class Receiver:
    """The connection of the receiver: one thread, which stores a message before the broker hears that it came."""

    def __init__(self, host: str, port: int, store: Store, *, reconnect_s: float, acknowledges: bool) -> None:
        """
        Args:
            reconnect_s: Pause before each try to connect again.
        """
        self._store = store
        self._reconnect_s = reconnect_s
        self._acknowledges = acknowledges
        self._owed: set[tuple[str, str]] = set()
        self._acked_at = 0.0
        self._host, self._port = host, port
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: store.note_connection()
        self._client.on_message = self._on_message

    def run(self) -> None:
        """Receive for ever."""
        while True:
            with suppress(OSError):
                self._client.connect(self._host, self._port)
                while self._client.loop(_ACK_PAUSE_S / 2) == MQTTErrorCode.MQTT_ERR_SUCCESS:
                    self._acknowledge()
            time.sleep(self._reconnect_s)

    def _on_connect(self, client: mqtt.Client, *_: object) -> None:
        topics = ("alert", "status", "thumbnail/+")
        client.subscribe([(f"overflight/+/{topic}", SubscribeOptions(qos=1)) for topic in topics])
        # The broker may have lost what was acknowledged before.
        self._owed.update(self._store.journals)

    def _on_message(self, client: mqtt.Client, data: object, message: mqtt.MQTTMessage) -> None:
        journal = self._store.keep(message.topic, bytes(message.payload))
        if journal is not None:
            self._owed.add(journal)

    def _acknowledge(self) -> None:
        if not self._acknowledges or not self._owed or time.monotonic() < self._acked_at + _ACK_PAUSE_S:
            return
        self._acked_at = time.monotonic()
        for device, journal in self._owed:
            acknowledgement = self._store.acknowledgement(device, journal)
            self._client.publish(f"overflight/{device}/ack", json.dumps(acknowledgement), qos=1)
        self._owed.clear()


class Received:
    """What a receiver has stored, read by a test while that goes on."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)

    def close(self) -> None:
        self._database.close()

    @property
    def faults(self) -> list[str]:
        """All that was wrong."""
        return [fault for (fault,) in self._database.execute("SELECT fault FROM faults")]

    @property
    def connections(self) -> int:
        """How often it has subscribed at a broker."""
        return int(self._database.execute("SELECT count(*) FROM connections").fetchone()[0])

    @property
    def payloads(self) -> dict[tuple[str, int], bytes]:
        """Alerts by their id and revision."""
        rows = self._database.execute("SELECT id, revision, payload FROM alerts")
        return {(alert, revision): payload for alert, revision, payload in rows}

    @property
    def newest(self) -> dict[str, dict[str, Any]]:
        """What stands of each alert, by its id: the properties of its highest revision."""
        rows = self._database.execute("SELECT id, payload FROM alerts ORDER BY revision")
        return {alert: json.loads(payload)["properties"] for alert, payload in rows}

    @property
    def count(self) -> int:
        """How many alerts there are, each revision counted once."""
        return int(self._database.execute("SELECT count(*) FROM alerts").fetchone()[0])

    @property
    def doubles(self) -> int:
        """How many alerts came that were there already."""
        return int(self._database.execute("SELECT coalesce(sum(copies - 1), 0) FROM alerts").fetchone()[0])

    @property
    def arrivals(self) -> list[Arrival]:
        """What came, in its order."""
        query = "SELECT at_s, topic, id, bytes FROM arrivals ORDER BY arrival"
        return [Arrival(*row) for row in self._database.execute(query)]

    def sequences(self, journal: str) -> list[int]:
        """The sequences of a journal's alerts, in order."""
        query = "SELECT sequence FROM alerts WHERE journal = ? ORDER BY sequence"
        return [sequence for (sequence,) in self._database.execute(query, (journal,))]

    @property
    def topics(self) -> Counter[str]:
        """How many messages of each kind came."""
        return Counter(arrival.topic.partition("/")[0] for arrival in self.arrivals)


@contextmanager
def receiving(
    store: Path,
    port: int,
    *,
    host: str = "127.0.0.1",
    reconnect_s: float = 0.1,
    acknowledges: bool = True,
    prefix: Sequence[str] = (),
) -> Iterator[Received]:
    """A receiver in a process of its own, while the block lasts.

    Args:
        reconnect_s: Pause before each try to connect again.
        acknowledges: Whether it says what it has stored.
        prefix: What its command is run by, such as the end of a link.
    """
    Store(store).close()
    options = ["--host", host, "--port", str(port), "--store", str(store), "--reconnect", str(reconnect_s)]
    options += [] if acknowledges else ["--silent"]
    process = subprocess.Popen([*prefix, sys.executable, "-m", "tests.receiver", *options], cwd=PROJECT)
    received = Received(store)
    try:
        yield received
        assert process.poll() is None, "the receiver has failed; why stands in the test's stderr"
    finally:
        received.close()
        process.send_signal(signal.SIGKILL)
        process.wait(10)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--reconnect", type=float, default=0.1, help="pause before each try to connect again, seconds")
    parser.add_argument("--silent", action="store_true", help="acknowledge nothing")
    arguments = parser.parse_args()
    Receiver(
        arguments.host,
        arguments.port,
        Store(arguments.store),
        reconnect_s=arguments.reconnect,
        acknowledges=not arguments.silent,
    ).run()


if __name__ == "__main__":
    _main()
