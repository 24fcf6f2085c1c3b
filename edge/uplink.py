"""The uplink: takes alerts out of the journal and to the broker, and tells the broker how the device is.

The journal is the queue: an alert is in it before it is published and is marked delivered when the broker has acknowledged
it (PUBACK). While the link is down nothing gathers in memory; when it is back, the oldest alert goes first.
"""

from __future__ import annotations

import logging
import random
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.config import ConfigError, UplinkConfig, broker_address
from edge.journal import Journal, JournalFullError, WaitingAlert
from edge.messages import HealthMessage, StatusMessage, encode, topic
from edge.text import one_line

_log = logging.getLogger(__name__)

# Unacknowledged alerts at once; a broker that wants fewer says so when it accepts the connection.
_WINDOW = 100
_READ_TOGETHER = 128
# Deliveries are marked in the journal so many at once, or when the oldest has waited so long.
_MARK_TOGETHER = 64
_MARK_WITHIN_S = 0.05
_MARK_RETRY_S = 1.0
_REFUSED_RETRY_S = 30.0
# A stop waits so long for each: the last acknowledgements, the goodbye, and the end of the connection.
_STOP_S = 0.35
_PORTS = {"mqtt": 1883, "mqtts": 8883}


class Uplink:
    """The connection of one device to its broker.

    Two threads: paho's reads and writes the socket and connects again; ours moves alerts. paho's callbacks hold paho's
    locks, so they only leave a note and wake our thread.

    Attributes:
        delivered: Alerts that the broker has acknowledged since `start`.
    """

    def __init__(
        self,
        config: UplinkConfig,
        device: str,
        journal: Journal,
        status: Callable[[], StatusMessage],
        condition: Callable[[str | None], None],
    ) -> None:
        """
        Args:
            status: Says how the device is now.
            condition: Is told why alerts do not get through, or None when they do.

        Raises:
            ConfigError: A file that the configuration names cannot be used.
        """
        self._config = config
        self._device = device
        self._journal = journal
        self._status = status
        self._condition = condition
        self._client = make_client(config, f"overflight-{device}")
        # Our window is the limit; paho's own cannot be changed when the broker says what it takes.
        self._client.max_inflight_messages_set(0)
        self._client.on_connect = self._guarded(self._on_connect)
        self._client.on_disconnect = self._guarded(self._on_disconnect)
        self._client.on_connect_fail = self._guarded(self._on_connect_fail)
        self._client.on_publish = self._guarded(self._on_publish)
        self._window = _WINDOW
        self.delivered = 0
        self._connected = False
        self._tries = 0
        self._acknowledged: deque[tuple[int, ReasonCode]] = deque()
        self._outstanding: dict[int, int] = {}
        self._delivered: list[int] = []
        self._mark_at = 0.0
        self._next: deque[WaitingAlert] = deque()
        self._cursor = 0
        self._retry_at: float | None = None
        self._restart = False
        self._refusing = False
        self._journal_full = False
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="uplink", daemon=True)
        self._failed: Callable[[BaseException], None] = lambda error: None

    def start(self, failed: Callable[[BaseException], None]) -> None:
        """Begin to connect and to deliver.

        Args:
            failed: Is told of an error that ends the delivery, which is a defect.
        """
        self._failed = failed
        address = broker_address(self._config.url)
        will = msgspec.structs.replace(self._status(), state="offline", reasons=["connection lost"])
        self._client.will_set(topic(self._device, "status"), encode(will), qos=1, retain=True)
        host = str(address.hostname)
        self._client.connect_async(host, address.port or _PORTS[address.scheme], self._config.keepalive_s)
        self._client.loop_start()
        self._thread.start()

    def wake(self) -> None:
        """Tell that the journal holds new alerts."""
        self._wake.set()

    def announce(self) -> None:
        """Publish the status, retained. While the link is down that waits for the next connection."""
        if self._connected:
            self._client.publish(topic(self._device, "status"), encode(self._status()), qos=1, retain=True)

    def publish_health(self, message: HealthMessage) -> None:
        """Publish a health message; while the link is down it is dropped."""
        if self._connected:
            self._client.publish(topic(self._device, "health"), encode(message), qos=0)

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the connection."""
        return self._connected

    def stop(self) -> None:
        """Say that the device is offline and end the connection, within about a second."""
        self._stopping = True
        self._wake.set()
        self._thread.join(_STOP_S)
        if self._connected:
            message = msgspec.structs.replace(self._status(), state="offline", reasons=["stopped"])
            farewell = self._client.publish(topic(self._device, "status"), encode(message), qos=1, retain=True)
            try:
                farewell.wait_for_publish(_STOP_S)
            except (RuntimeError, ValueError) as error:
                _log.warning("uplink: the broker did not hear that the device stops: %s", error)
            self._client.disconnect()
        # paho's thread may sit in a connect that takes long: it is not waited for beyond this.
        ending = threading.Thread(target=self._client.loop_stop, daemon=True)
        ending.start()
        ending.join(_STOP_S)

    def _guarded(self, callback: Callable[..., None]) -> Callable[..., None]:
        """A callback whose error ends the daemon: paho's thread would die of it, and nobody would know."""

        def guarded(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except Exception as error:  # noqa: BLE001 - it is raised again by the daemon
                self._failed(error)

        return guarded

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._wake.wait(self._pause())
                self._wake.clear()
                if self._restart:
                    self._begin_again()
                self._take_acknowledged()
                together = len(self._delivered) >= _MARK_TOGETHER or not self._outstanding
                if time.monotonic() >= self._mark_at or (together and not self._journal_full):
                    self._mark_delivered()
                if self._connected and (self._retry_at is None or time.monotonic() >= self._retry_at):
                    self._send()
            self._take_acknowledged()
            self._mark_delivered()
        except Exception as error:  # noqa: BLE001 - it is raised again by the daemon
            self._failed(error)

    def _begin_again(self) -> None:
        """On a new connection nothing is outstanding: what the journal holds undelivered is sent, the oldest first."""
        self._restart = False
        self._outstanding.clear()
        self._next.clear()
        self._cursor = 0

    def _pause(self) -> float | None:
        """Seconds until there is something to do without being woken."""
        moments = [self._mark_at] if self._delivered else []
        if self._retry_at is not None and self._connected:
            moments.append(self._retry_at)
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _take_acknowledged(self) -> None:
        """Learn which alerts the broker has, and which it refused."""
        while self._acknowledged:
            message_id, reason = self._acknowledged.popleft()
            sequence = self._outstanding.pop(message_id, None)
            if sequence is None:
                continue
            if reason.is_failure:
                self._refused(sequence, reason)
                continue
            if self._refusing:
                self._refusing = False
                self._condition(None)
            if not self._delivered:
                self._mark_at = time.monotonic() + _MARK_WITHIN_S
            self._delivered.append(sequence)

    def _mark_delivered(self) -> None:
        """Write deliveries into the journal, many at once: each is a write to the memory card."""
        if not self._delivered:
            return
        try:
            self._journal.mark_delivered(self._delivered)
        except JournalFullError as error:
            # They are not sent again while we live: we know that the broker has them, only the journal does not yet.
            if not self._journal_full:
                _log.error("uplink: %s: %d deliveries are not noted yet", error, len(self._delivered))
            self._journal_full = True
            self._mark_at = time.monotonic() + _MARK_RETRY_S
            return
        self._journal_full = False
        self.delivered += len(self._delivered)
        self._delivered = []

    def _refused(self, sequence: int, reason: ReasonCode) -> None:
        _log.error("uplink: the broker refuses alert %d: %s", sequence, reason)
        self._refusing = True
        self._condition(f"the broker refuses alerts: {reason}")
        self._cursor = min(self._cursor, sequence - 1)
        self._next.clear()
        self._retry_at = time.monotonic() + _REFUSED_RETRY_S

    def _send(self) -> None:
        """Publish waiting alerts until the window is full."""
        self._retry_at = None
        while self._connected and not self._stopping and len(self._outstanding) < self._window:
            if not self._next:
                self._next.extend(self._journal.waiting_after(self._cursor, _READ_TOGETHER))
                if not self._next:
                    return
            alert = self._next[0]
            if alert.sequence not in self._outstanding.values() and alert.sequence not in self._delivered:
                sent = self._client.publish(topic(self._device, "alert"), alert.message, qos=1)
                if sent.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
                    return
                self._outstanding[sent.mid] = alert.sequence
            self._cursor = alert.sequence
            self._next.popleft()

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: ReasonCode, properties: Properties | None) -> None:
        if reason.is_failure:
            self._condition(f"broker refuses the connection: {reason}")
            self._back_off()
            return
        # Two places are left for status messages.
        self._window = max(1, min(_WINDOW, getattr(properties, "ReceiveMaximum", _WINDOW)) - 2)
        self._tries = 0
        # paho would send what it kept after what we say now: an old status would be the last word. The journal keeps alerts.
        self._client.drop_out_messages()
        self._restart = True
        self._connected = True
        _log.info("uplink: connected to %s, %d alerts wait", self._config.url, self._journal.waiting)
        self._condition(None)
        self.announce()
        self._wake.set()

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: ReasonCode, properties: Properties | None) -> None:
        if self._connected:
            self._connected = False
            if not self._stopping:
                self._condition(f"connection lost: {reason}")
        self._back_off()

    def _on_connect_fail(self, client: _Client, data: Any) -> None:
        self._condition(f"cannot connect to {self._config.url}: {one_line(client.connect_error)}")
        self._back_off()

    def _on_publish(self, client: Any, data: Any, message_id: int, reason: ReasonCode, properties: Any) -> None:
        self._acknowledged.append((message_id, reason))
        self._wake.set()

    def _back_off(self) -> None:
        """Choose the pause before the next try: twice as long each time, and not the same for a whole fleet."""
        longest = min(self._config.reconnect_max_s, 2.0**self._tries)
        self._tries = min(self._tries + 1, 16)
        pause_s = random.uniform(longest / 2, longest)  # noqa: S311 - no secret
        # paho's own pause grows without jitter; fractions are as good to it as the whole numbers it declares.
        self._client.reconnect_delay_set(pause_s, pause_s)  # type: ignore[arg-type]


class _Client(mqtt.Client):
    """paho's client, which remembers why it could not connect."""

    connect_error: OSError | None = None

    def reconnect(self) -> MQTTErrorCode:
        try:
            return super().reconnect()
        except OSError as error:
            self.connect_error = error
            raise
        except UnicodeError as error:
            # A host name that cannot be: paho expects nothing but OSError, and its thread would die.
            self.connect_error = OSError(str(error))
            raise self.connect_error from error


def make_client(config: UplinkConfig, client_id: str) -> mqtt.Client:
    """A client with the protocol, the credentials and the certificates of the configuration.

    Raises:
        ConfigError: One of the files cannot be used; secrets are never in the message.
    """
    protocol = mqtt.MQTTv5 if config.protocol == "5" else mqtt.MQTTv311
    client = _Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
    client.connect_timeout = 5.0
    if config.username_file:
        password = _secret("password_file", config.password_file) if config.password_file else None
        client.username_pw_set(_secret("username_file", config.username_file), password)
    if broker_address(config.url).scheme == "mqtts":
        try:
            client.tls_set(config.ca_file or None, config.certificate_file or None, config.key_file or None)
        except (OSError, ssl.SSLError, ValueError) as error:
            files = ", ".join(name for name in (config.ca_file, config.certificate_file, config.key_file) if name)
            raise ConfigError(f"uplink.ca_file, certificate_file, key_file: cannot use {files}: {one_line(error)}") from error
    return client


def connect(client: mqtt.Client, config: UplinkConfig) -> None:
    """Connect a client that `make_client` made, and wait for that.

    Raises:
        OSError: The broker cannot be reached.
    """
    address = broker_address(config.url)
    client.connect(str(address.hostname), address.port or _PORTS[address.scheme], config.keepalive_s)


def _secret(key: str, path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"uplink.{key}: {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
