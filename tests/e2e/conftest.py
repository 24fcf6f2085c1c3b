"""What the end-to-end tests need beside the real programs: somebody who listens, and a look into the journal."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge.bundle import Bundle, Store
from tests.conftest import Mosquitto, Overflight, free_port, wait_for
from tests.edge.bundle.bundles import KEY, TRUST, reissue

HARVEY_NAME = r"filename:(?P<longitude>-?\d+\.\d+)_(?P<latitude>-?\d+\.\d+)"


VERSION = Bundle.shipped().model.version
"""Of the shipped bundle."""


class Ground:
    """A subscriber to everything, which keeps what it hears.

    Attributes:
        payloads: Of the alerts, as they came.
        order: What came: the kind of each message, with the sequence of an alert and the id of a thumbnail.
    """

    def __init__(self, port: int, *, ca_file: Path | None = None, login: tuple[str, str] | None = None) -> None:
        """
        Args:
            ca_file: Authority of a broker with TLS.
            login: User and password.
        """
        self.alerts: list[dict[str, Any]] = []
        self.payloads: list[bytes] = []
        self.statuses: list[dict[str, Any]] = []
        self.health: list[dict[str, Any]] = []
        self.replies: list[dict[str, Any]] = []
        self.logs: list[dict[str, Any]] = []
        self.thumbnails: dict[str, bytes] = {}
        self.order: list[tuple[str, str | int | None]] = []
        self._subscribed = False
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe("overflight/#", qos=1)
        self._client.on_subscribe = lambda *_: setattr(self, "_subscribed", True)
        self._client.on_message = self._on_message
        if ca_file is not None:
            self._client.tls_set(str(ca_file))
        if login is not None:
            self._client.username_pw_set(*login)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        wait_for(lambda: self._subscribed)

    def _on_message(self, client: Any, data: Any, message: mqtt.MQTTMessage) -> None:
        _, _, kind, *rest = message.topic.split("/")
        if kind == "thumbnail":
            self.thumbnails[rest[0]] = message.payload
            self.order.append((kind, rest[0]))
            return
        kept = {"alert": self.alerts, "status": self.statuses, "health": self.health, "reply": self.replies, "log": self.logs}
        if kind in kept:
            kept[kind].append(json.loads(message.payload))
        if kind == "alert":
            self.payloads.append(message.payload)
        self.order.append((kind, self.alerts[-1]["properties"]["sequence"] if kind == "alert" else None))

    def say(self, kind: str, content: dict[str, Any], *, device: str = "uav-1", retain: bool = False) -> None:
        """Publish something to a device."""
        sent = self._client.publish(f"overflight/{device}/{kind}", json.dumps(content), qos=1, retain=retain)
        sent.wait_for_publish(10)

    @property
    def alert_ids(self) -> set[str]:
        return {alert["id"] for alert in self.alerts}

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def listen() -> Iterator[Callable[..., Ground]]:
    """Begin to listen to the broker on a port, with the arguments of `Ground`."""
    grounds: list[Ground] = []

    def begin(port: int, **options: Any) -> Ground:
        grounds.append(Ground(port, **options))
        return grounds[-1]

    yield begin
    for ground in grounds:
        ground.close()


class Camera:
    """Writes a frame into the inbox at even intervals.

    Attributes:
        names: Of the frames so far.
    """

    def __init__(self, inbox: Path, frame: bytes, *, frames_per_s: float) -> None:
        self.names: list[str] = []
        self._inbox = inbox
        self._frame = frame
        self._interval_s = 1 / frames_per_s
        self._stopping = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """While the block lasts."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            name = f"{len(self.names):06}.jpg"
            (self._inbox / "new").write_bytes(self._frame)
            os.rename(self._inbox / "new", self._inbox / name)
            self.names.append(name)


def rows(journal: Path, query: str) -> list[tuple[Any, ...]]:
    """What a journal says, read beside a daemon that may have it open; nothing before it exists."""
    if not journal.exists():
        return []
    database = sqlite3.connect(f"file:{journal}?mode=ro", uri=True, timeout=10)
    try:
        return database.execute(query).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []
        raise
    finally:
        database.close()


def count(journal: Path, table: str) -> int:
    """How many rows a table of the journal has."""
    query = "SELECT count(label) FROM results" if table == "observations" else f"SELECT count(*) FROM {table}"
    return int((rows(journal, query) or [(0,)])[0][0])


def ruins(tiles: list[tuple[Any, bool]], folder: Path, *, number: int = 12) -> int:
    """Write rendered tiles as JPEG files; returns how many show ruins."""
    import cv2

    for index, (pixels, _) in enumerate(tiles[:number]):
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{index:03}.jpg"), pixels)
    return sum(damaged for _, damaged in tiles[:number])


@pytest.fixture
def installed(overflight: Overflight, tmp_path: Path) -> Overflight:
    """The command on a device that trusts one key, and serves a bundle that is newer than the shipped one."""
    keys, store = tmp_path / "keys", tmp_path / "models"
    keys.mkdir()
    (keys / "field-team.pub").write_text(KEY.text)
    overflight.config["model"] = {"store": str(store), "trusted_keys": str(keys), "devices": ["CPU"]}
    Store(store).install(reissue(tmp_path / "made" / "first", VERSION + 1), TRUST, lambda bundle: None)
    return overflight


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by openssl: two authorities, and certificates of the first for 127.0.0.1 and for another host."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority")
    openssl("req", "-x509", *new_key, "-keyout", "other.key", "-out", "other.pem", "-subj", "/CN=another authority")
    openssl("req", *new_key[:3], "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=broker")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    for certificate, name in (("server.pem", "IP:127.0.0.1"), ("elsewhere.pem", "DNS:elsewhere.example")):
        (folder / "names").write_text(f"subjectAltName={name}\n")
        openssl("x509", "-req", "-in", "server.csr", *signing, "-out", certificate)
    return folder


PASSWORD = "open sesame"


class SecuredBroker:
    """A broker with TLS that wants a password, and the device's configuration that it accepts.

    Attributes:
        settings: Of mosquitto's configuration, to be changed before the start; None: left out.
        uplink: Section of the device's configuration.
    """

    def __init__(self, certificates: Path, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        subprocess.run(["mosquitto_passwd", "-c", "-b", folder / "passwords", "uav-1", PASSWORD], check=True)
        (folder / "username").write_text("uav-1\n")
        (folder / "password").write_text(f"{PASSWORD}\n")
        self.settings: dict[str, object] = {
            "listener": f"{self.port} 127.0.0.1",
            "allow_anonymous": "false",
            "password_file": folder / "passwords",
            "cafile": certificates / "ca.pem",
            "certfile": certificates / "server.pem",
            "keyfile": certificates / "server.key",
            "user": "root",
        }
        self.uplink: dict[str, Any] = {
            "url": f"mqtts://127.0.0.1:{self.port}",
            "ca_file": str(certificates / "ca.pem"),
            "username_file": str(folder / "username"),
            "password_file": str(folder / "password"),
            "reconnect_max_s": 0.2,
        }
        self._broker: Mosquitto | None = None

    def start(self) -> None:
        lines = (f"{key} {value}\n" for key, value in self.settings.items() if value is not None)
        self._broker = Mosquitto(self._folder, self.port, "".join(lines))
        self._broker.start()

    def stop(self) -> None:
        if self._broker is not None:
            self._broker.stop()


@pytest.fixture
def secured(mosquitto_program: None, certificates: Path, tmp_path: Path, overflight: Overflight) -> Iterator[SecuredBroker]:
    """One that is not started yet; the device is configured for it."""
    broker = SecuredBroker(certificates, tmp_path)
    overflight.config["uplink"] = broker.uplink
    yield broker
    broker.stop()
