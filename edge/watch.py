"""Follows the alerts of a broker in the terminal."""

from __future__ import annotations

import logging
import queue
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import msgspec

from edge.config import UplinkConfig
from edge.messages import AlertMessage, decode_alert, topic
from edge.text import one_line, printable
from edge.uplink import connect, make_client

_log = logging.getLogger(__name__)

# Alerts come at least once; so many ids are remembered to show each one once.
_IDS_REMEMBERED = 100_000


class WatchError(Exception):
    """The broker cannot be followed; the message is the reason in one line."""


class AlertFeed:
    """The alerts that arrive at a broker, each revision once. Use it as a context manager."""

    def __init__(self, config: UplinkConfig, client_id: str = "", *, outdated: bool = False) -> None:
        """
        Args:
            outdated: Whether a revision is given as well that comes after a later one of its alert.
        """
        self._config = config
        self._outdated = outdated
        self._client = make_client(config, client_id)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect
        self._arrived: queue.SimpleQueue[AlertMessage] = queue.SimpleQueue()
        # The revisions of each alert.
        self._seen: OrderedDict[str, set[int]] = OrderedDict()
        self._subscribed = threading.Event()
        self._refusal: str | None = None

    def __enter__(self) -> AlertFeed:
        """Connect and subscribe.

        Raises:
            WatchError: The broker cannot be reached or refuses.
        """
        try:
            connect(self._client, self._config)
        except OSError as error:
            raise WatchError(f"cannot connect to {self._config.url}: {error}") from error
        self._client.loop_start()
        if not self._subscribed.wait(10.0) or self._refusal is not None:
            self.__exit__()
            raise WatchError(f"{self._config.url}: {self._refusal or 'the broker does not answer'}")
        return self

    def __exit__(self, *exception: object) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def alerts(self, timeout_s: float | None = None) -> Iterator[AlertMessage]:
        """Alerts as they arrive, until none came for `timeout_s`; None: for ever."""
        while True:
            try:
                alert = self._arrived.get(timeout=timeout_s)
            except queue.Empty:
                return
            seen, revision = self._seen.setdefault(alert.id, set()), alert.properties.revision
            self._seen.move_to_end(alert.id)
            if revision in seen or (not self._outdated and any(other > revision for other in seen)):
                continue
            seen.add(revision)
            if len(self._seen) > _IDS_REMEMBERED:
                self._seen.popitem(last=False)
            yield alert

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refusal = f"the broker refuses the connection: {reason}"
            self._subscribed.set()
            return
        client.subscribe(topic("+", "alert"), qos=1)

    def _on_subscribe(self, client: Any, data: Any, message_id: int, reasons: list[Any], properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self._refusal = f"the broker refuses the subscription: {reasons[0]}"
        self._subscribed.set()

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            _log.warning("connection to %s lost (%s): trying again", self._config.url, reason)

    def _on_message(self, client: Any, data: Any, message: Any) -> None:
        try:
            self._arrived.put(decode_alert(message.payload))
        except msgspec.DecodeError as error:
            _log.warning("%a: not an alert: %s", message.topic, one_line(error))


def alert_line(alert: AlertMessage) -> str:
    """An alert in one line for people."""
    properties = alert.properties
    place = "position unknown"
    if alert.geometry is not None:
        longitude, latitude = alert.geometry.coordinates[:2]
        place = f"{latitude:10.6f} {longitude:11.6f}"
    times = "" if properties.count == 1 else f"  {properties.count} frames"
    return (
        f"{properties.captured_at}  {printable(properties.device)}  {printable(properties.label):8}"
        f" {properties.confidence:6.1%}  {place:22}  {printable(properties.frame.name)}{times}"
    )
