"""A connection to the broker that comes back by itself."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import Any

from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.config import UplinkConfig, broker_address
from edge.uplink.client import PORTS, make_client

_log = logging.getLogger(__name__)

# A stop waits so long for the end of the connection.
_STOP_S = 0.35
_RECEIVE_MAX = 65_535
# MQTT 5, 2.1.4: more than that no message can have.
_PACKET_MAX_BYTES = 268_435_460
# What may be in the head of a message, its topic included.
_HEAD_BYTES = 200
# Acknowledgements are the largest that are meant for a device; a broker that knows it keeps larger ones.
_ARRIVING_MAX_BYTES = 512 << 10
# So long the broker keeps commands and acknowledgements for a device whose link is down.
_SESSION_S = 3600


class Link:
    """One connection. paho's thread reads and writes the socket and connects again; its callbacks hold paho's locks, so
    whoever is told must only leave a note.

    Attributes:
        is_connected: Whether the broker has accepted the connection.
        receive_maximum: How many messages the broker takes before it has acknowledged one.
        largest_payload: Bytes of the largest message that it takes.
    """

    def __init__(
        self,
        config: UplinkConfig,
        client_id: str,
        *,
        connected: Callable[[], None],
        acknowledged: Callable[[int, ReasonCode], None],
        condition: Callable[[str | None], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """
        Args:
            connected: Is called when the broker has accepted the connection, before anything can be published.
            acknowledged: Is told that the broker has a message, or refuses it.
            condition: Is told why there is no connection; None: there is one, and it can be used.
            failed: Is told of a defect in one of these: paho's thread would die of it, and nobody would know.

        Raises:
            ConfigError: A file that the configuration names cannot be used.
        """
        self._config = config
        self._connected = connected
        self._acknowledged = acknowledged
        self._condition = condition
        self._failed = failed
        self.is_connected = False
        self.receive_maximum = _RECEIVE_MAX
        self.largest_payload = _PACKET_MAX_BYTES - _HEAD_BYTES
        self._tries = 0
        self._was_refused = False
        self._stopping = False
        self._topics: list[str] = []
        self._client = make_client(config, client_id)
        # Whoever publishes keeps to the broker's limit; paho's own cannot be changed when the broker says what it takes.
        self._client.max_inflight_messages_set(0)
        self._client.on_connect = self._guarded(self._on_connect)
        self._client.on_disconnect = self._guarded(self._on_disconnect)
        self._client.on_connect_fail = self._guarded(self._on_connect_fail)
        self._client.on_publish = self._guarded(self._on_publish)

    def listen(
        self, topics: list[str], arrived: Callable[[str, bytes, bool], None], denied: Callable[[str, ReasonCode], None]
    ) -> None:
        """Subscribe on each connection; call it before `start`.

        Args:
            arrived: Is told topic and payload, and whether the broker had kept it.
            denied: Is told which topic the broker does not let us have, and why.
        """

        def on_message(client: Any, data: Any, message: Any) -> None:
            if len(message.payload) <= _ARRIVING_MAX_BYTES:
                arrived(message.topic, message.payload, message.retain)

        def on_subscribe(client: Any, data: Any, message_id: int, reasons: list[ReasonCode], properties: Any) -> None:
            for name, reason in zip(topics, reasons, strict=False):
                if reason.is_failure:
                    denied(name, reason)

        self._topics = topics
        self._client.on_message = self._guarded(on_message)
        self._client.on_subscribe = self._guarded(on_subscribe)

    def start(self, will: tuple[str, bytes] | None = None) -> None:
        """Begin to connect.

        Args:
            will: Topic and payload that the broker publishes, retained, when the connection is lost.
        """
        if will is not None:
            self._client.will_set(will[0], will[1], qos=1, retain=True)
        address = broker_address(self._config.url)
        options: dict[str, Any] = {}
        if self._topics and self._config.protocol == "5":
            # What comes from the ground while the link is down for a moment is not lost.
            options["properties"] = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            options["properties"].SessionExpiryInterval = _SESSION_S
            options["properties"].MaximumPacketSize = _ARRIVING_MAX_BYTES
        self._condition(f"not connected to {self._config.url} yet")
        self._client.connect_async(
            str(address.hostname), address.port or PORTS[address.scheme], self._config.keepalive_s, **options
        )
        self._client.loop_start()

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool = False) -> int | None:
        """Publish; returns the id of the message, or None if it cannot be queued now."""
        sent = self._client.publish(topic, payload, qos=qos, retain=retain)
        return None if sent.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE else sent.mid

    def stop(self, farewell: tuple[str, bytes] | None = None) -> None:
        """End the connection, within about a second.

        Args:
            farewell: Topic and payload of a retained message to end with.
        """
        self._stopping = True
        if self.is_connected:
            if farewell is not None:
                last = self._client.publish(farewell[0], farewell[1], qos=1, retain=True)
                try:
                    last.wait_for_publish(_STOP_S)
                except (RuntimeError, ValueError) as error:
                    _log.warning("uplink: the broker did not hear that the device stops: %s", error)
            self._client.disconnect()
        # paho's thread may sit in a connect that takes long: it is not waited for beyond this.
        ending = threading.Thread(target=self._client.loop_stop, daemon=True)
        ending.start()
        ending.join(_STOP_S)

    def _guarded(self, callback: Callable[..., None]) -> Callable[..., None]:
        def guarded(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except Exception as error:  # noqa: BLE001 - it is raised again by the daemon
                self._failed(error)

        return guarded

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: ReasonCode, properties: Properties | None) -> None:
        if reason.is_failure:
            self._was_refused = True
            self._condition(f"broker refuses the connection: {reason}")
            return
        self.receive_maximum = getattr(properties, "ReceiveMaximum", _RECEIVE_MAX)
        self.largest_payload = getattr(properties, "MaximumPacketSize", _PACKET_MAX_BYTES) - _HEAD_BYTES
        self._tries = 0
        # paho would send what it kept after what is said now: an old status would be the last word. The journal keeps alerts.
        self._client.drop_out_messages()
        if self._topics:
            self._subscribe()
        _log.info("uplink: connected to %s", self._config.url)
        # First of all whoever publishes must know that what was under way is not any more.
        self._connected()
        self.is_connected = True
        self._condition(None)

    def _subscribe(self) -> None:
        if self._config.protocol == "5":
            # What the broker keeps is known for that also when it comes at once.
            options = SubscribeOptions(qos=1, retainAsPublished=True)
            self._client.subscribe([(topic, options) for topic in self._topics])
        else:
            self._client.subscribe([(topic, 1) for topic in self._topics])

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: ReasonCode, properties: Properties | None) -> None:
        was_connected, self.is_connected = self.is_connected, False
        # A refusal has said why already.
        was_refused, self._was_refused = self._was_refused, False
        if was_connected and not self._stopping:
            self._condition(f"connection lost: {reason}")
        elif not self._stopping and not was_refused:
            self._condition(f"{self._config.url} ends the connection before it has begun{self._hint}: {reason}")
        self._back_off()

    def _on_connect_fail(self, client: Any, data: Any) -> None:
        self._condition(f"cannot connect to {self._config.url}{self._hint}: {self._client.why_not_connected}")
        self._back_off()

    @property
    def _hint(self) -> str:
        """What a broken handshake may come from."""
        if isinstance(self._client.connect_error, ConnectionResetError) and self._config.url.startswith("mqtts"):
            return " (does it speak TLS?)"
        if self._client.connect_error is None:
            return " (does it want TLS, or a certificate?)"
        return ""

    def _on_publish(self, client: Any, data: Any, message_id: int, reason: ReasonCode, properties: Any) -> None:
        self._acknowledged(message_id, reason)

    def _back_off(self) -> None:
        """Choose the pause before the next try: twice as long each time, and not the same for a whole fleet."""
        longest = min(self._config.reconnect_max_s, 2.0**self._tries)
        self._tries = min(self._tries + 1, 16)
        pause_s = random.uniform(longest / 2, longest)  # noqa: S311 - no secret
        # paho's own pause grows without jitter; fractions are as good to it as the whole numbers it declares.
        self._client.reconnect_delay_set(pause_s, pause_s)  # type: ignore[arg-type]
