"""The uplink: takes alerts out of the journal and to the ground, and tells the ground how the device is.

The journal is the queue: an alert is in it before it is published and is marked delivered when the broker, or the ground
station, has acknowledged it. While the link is down nothing gathers in memory; when it is back, the newest alert goes first.
Through a thin link alerts go before status, status before pictures, and pictures before logs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec
from paho.mqtt.reasoncodes import ReasonCode

from edge.config import UplinkConfig
from edge.journal import Journal, JournalFullError
from edge.messages import AckMessage, HealthMessage, ReplyMessage, StatusMessage, decode_ack, encode, topic
from edge.text import one_line
from edge.uplink.budget import Budget
from edge.uplink.bulk import Bulk, LogSource
from edge.uplink.link import Link
from edge.uplink.outbox import Outbox
from edge.uplink.window import Window

_log = logging.getLogger(__name__)

# Deliveries are marked in the journal so many at once, or when the oldest has waited so long.
_MARK_TOGETHER = 512
_MARK_WITHIN_S = 3.0
_MARK_RETRY_S = 1.0
_REFUSED_RETRY_S = 30.0
# A status that waited so long goes before a backlog of alerts: the ground must know that there is one.
_STATUS_WAITS_S = 5.0
_REPLIES_MAX = 100
_PICTURES_MAX = 4
# A stop waits so long for the last acknowledgements.
_STOP_S = 0.35

Command = Callable[[bytes, bool], ReplyMessage | None]
"""Carries out a command: its payload, and whether the broker had kept it; returns the answer, if there is one."""


class Uplink:
    """The connection of one device to its ground. Its thread moves messages; those of paho only leave notes for it.

    Attributes:
        delivered: Alerts that were delivered since `start`.
    """

    def __init__(
        self,
        config: UplinkConfig,
        device: str,
        journal: Journal,
        *,
        status: Callable[[], StatusMessage],
        condition: Callable[[str | None], None],
        connected: Callable[[], None],
        failed: Callable[[BaseException], None],
        command: Command = lambda payload, retained: None,
        logs: LogSource | None = None,
    ) -> None:
        """
        Args:
            status: Says how the device is now.
            condition: Is told why alerts do not get through, or None when they do.
            connected: Is called when there is a connection: the ground is to be told how the device is.
            failed: Is told of an error that ends the delivery, which is a defect.
            command: Carries out what the ground asks for; is called on the thread of the uplink.
            logs: What is logged and to be sent; None: nothing.

        Raises:
            ConfigError: A file that the configuration names cannot be used.
        """
        self._config = config
        self._device = device
        self._journal = journal
        self._status = status
        self._condition = condition
        self._say_connected = connected
        self._command = command
        self._outbox = Outbox(journal, config.stored_within_s if config.delivery == "ground" else None)
        self._budget = Budget(config.max_bytes_per_s, config.thumbnail_bytes)
        self._window = Window()
        self._wake = threading.Event()
        self._failed = failed
        self._link = Link(
            config,
            f"overflight-{device}",
            connected=self._on_connected,
            acknowledged=self._on_acknowledged,
            condition=self._on_link,
            failed=failed,
        )
        topics = [topic(device, "ack")] + ([topic(device, "command")] if config.commands else [])
        self._link.listen(topics, self._on_arrived, self._on_denied)
        self._bulk = Bulk(config, device, journal, self._budget, logs, wake=self._wake.set, failed=failed)
        self.delivered = 0
        self._acknowledged: deque[tuple[int, ReasonCode]] = deque()
        self._arrived: deque[tuple[str, bytes, bool]] = deque()
        self._announce_since: float | None = None
        # On this connection, but for its time.
        self._said: StatusMessage | None = None
        self._health: HealthMessage | None = None
        self._replies: deque[ReplyMessage] = deque(maxlen=_REPLIES_MAX)
        self._pictures: deque[tuple[str, bytes]] = deque(maxlen=_PICTURES_MAX)
        self._mark_at = 0.0
        self._retry_at: float | None = None
        self._restart = False
        self._why_no_link: str | None = None
        self._why_denied: str | None = None
        self._why_refused: str | None = None
        self._journal_full = False
        self._hurried = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="uplink", daemon=True)

    def start(self) -> None:
        """Begin to connect and to deliver."""
        will = msgspec.structs.replace(self._status(), state="offline", reasons=["connection lost"])
        self._link.start((topic(self._device, "status"), encode(will)))
        self._bulk.start()
        self._thread.start()

    def wake(self) -> None:
        """Tell that the journal holds new alerts."""
        self._wake.set()

    def hurry(self) -> None:
        """Note deliveries at once from now on: somebody waits for the end."""
        self._hurried = True
        self._wake.set()

    def announce(self) -> None:
        """Publish the status, retained, soon. While the link is down that waits for the next connection."""
        if self._announce_since is None:
            self._announce_since = time.monotonic()
        self._wake.set()

    def publish_health(self, message: HealthMessage) -> None:
        """Publish a health message; while the link is down it is dropped."""
        if self._link.is_connected:
            self._health = message
            self._wake.set()

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the connection."""
        return self._link.is_connected

    @property
    def sent_bytes(self) -> int:
        """What was sent since `start`, with what lies around messages on the wire."""
        return self._budget.spent_bytes

    def send_picture(self, picture: str, jpeg: bytes) -> None:
        """Publish a picture that the ground has asked for, soon."""
        self._pictures.append((picture, jpeg))
        self._wake.set()

    def ask_again(self, first: int, last: int) -> int:
        """Have alerts sent again that were delivered; returns how many. To be called by a command.

        Raises:
            JournalFullError: There is no room in the journal to note it.
        """
        return self._outbox.ask_again(first, last)

    def stop(self) -> None:
        """Say that the device is offline and end the connection, within about a second."""
        self._stopping = True
        self._wake.set()
        self._thread.join(_STOP_S)
        self._bulk.stop()
        message = msgspec.structs.replace(self._status(), state="offline", reasons=["stopped"])
        self._link.stop((topic(self._device, "status"), encode(message)))

    # Notes of paho's threads

    def _on_connected(self) -> None:
        self._restart = True
        self._say_connected()

    def _on_acknowledged(self, message_id: int, reason: ReasonCode) -> None:
        self._acknowledged.append((message_id, reason))
        self._wake.set()

    def _on_arrived(self, name: str, payload: bytes, retained: bool) -> None:
        self._arrived.append((name, payload, retained))
        self._wake.set()

    def _on_link(self, reason: str | None) -> None:
        self._why_no_link, self._why_denied = reason, None
        self._say()
        self._wake.set()

    def _on_denied(self, name: str, reason: ReasonCode) -> None:
        if name == topic(self._device, "ack") and self._config.delivery == "broker":
            _log.info("uplink: the broker refuses the subscription to %s, which is not needed: %s", name, reason)
            return
        self._why_denied = f"the broker refuses the subscription to {name}: {reason}"
        self._say()

    def _say(self) -> None:
        self._condition(self._why_refused or self._why_denied or self._why_no_link)

    # The thread

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._wake.wait(self._pause_s())
                self._wake.clear()
                if self._restart:
                    self._restart = False
                    # The link may be another one now, and what is under way when it breaks goes once more.
                    self._window = Window()
                    self._said = None
                    self._outbox.begin_again()
                self._take()
                self._note_done()
                self._outbox.repeat()
                if self._link.is_connected:
                    self._send()
                self._bulk.send(room=self._outbox.is_idle and not self._has_notices)
            self._take()
            self._note_done(at_once=True)
        except Exception as error:  # noqa: BLE001 - it is raised again by the daemon
            self._failed(error)

    def _pause_s(self) -> float | None:
        """Seconds until there is something to do without being woken."""
        pauses: list[float | None] = [self._outbox.wait_s(), self._bulk.wait_s()]
        if self._outbox.done:
            pauses.append(self._mark_at - time.monotonic())
        if self._link.is_connected:
            if self._retry_at is not None:
                pauses.append(self._retry_at - time.monotonic())
            elif self._has_notices or not self._outbox.is_idle:
                # Zero: the window is full, and an acknowledgement wakes us.
                pauses.append(self._budget.wait_s() or None)
        known = [pause for pause in pauses if pause is not None]
        return max(0.0, min(known)) if known else None

    def _take(self) -> None:
        """Learn what the broker has, which alerts it refused, and what the ground says."""
        while self._acknowledged:
            message_id, reason = self._acknowledged.popleft()
            if reason.is_failure:
                self._take_refusal(message_id, reason)
                continue
            self._window.acknowledged()
            if self._why_refused is not None:
                self._why_refused = None
                self._say()
            if self._outbox.acknowledged(message_id) is not None and self._outbox.done == 1:
                self._mark_at = time.monotonic() + _MARK_WITHIN_S
        while self._arrived:
            name, payload, retained = self._arrived.popleft()
            if name == topic(self._device, "ack"):
                self._take_ack(payload)
            elif (reply := self._command(payload, retained)) is not None:
                self._replies.append(reply)

    def _take_refusal(self, message_id: int, reason: ReasonCode) -> None:
        sequence = self._outbox.refused(message_id)
        if sequence is None:
            return
        _log.error("uplink: the broker refuses alert %d: %s", sequence, reason)
        self._why_refused = f"the broker refuses alerts: {reason}"
        self._say()
        self._retry_at = time.monotonic() + _REFUSED_RETRY_S

    def _take_ack(self, payload: bytes) -> None:
        try:
            message: AckMessage = decode_ack(payload)
            self.delivered += self._outbox.stored(message)
        except msgspec.DecodeError as error:
            _log.warning("uplink: acknowledgement of the ground station: %s", one_line(error))
        except JournalFullError as error:
            # The station says it again, and the alerts are sent again until then.
            _log.error("uplink: %s: an acknowledgement is not noted", error)

    def _note_done(self, *, at_once: bool = False) -> None:
        """Write deliveries into the journal, many at once: each is a write to the memory card."""
        done = self._outbox.done
        together = (done >= _MARK_TOGETHER or self._hurried) and not self._journal_full
        if not done or not (at_once or together or time.monotonic() >= self._mark_at):
            return
        try:
            self.delivered += self._outbox.note_done()
            self._journal_full = False
        except JournalFullError as error:
            # They are not sent again while we live: we know that the broker has them, only the journal does not yet.
            if not self._journal_full:
                _log.error("uplink: %s: %d deliveries are not noted yet", error, done)
            self._journal_full = True
            self._mark_at = time.monotonic() + _MARK_RETRY_S

    @property
    def _has_notices(self) -> bool:
        return self._announce_since is not None or self._health is not None or bool(self._replies or self._pictures)

    def _send(self) -> None:
        if self._retry_at is not None and time.monotonic() >= self._retry_at:
            self._retry_at = None
        waited_s = 0.0 if self._announce_since is None else time.monotonic() - self._announce_since
        if waited_s > _STATUS_WAITS_S:
            self._send_notices()
        if self._retry_at is None and not self._send_alerts():
            return
        self._send_notices()

    def _send_alerts(self) -> bool:
        """Publish alerts until the window is full. False: the budget is spent, and more wait."""
        most = self._window.size(self._link.receive_maximum)
        while self._link.is_connected and not self._stopping and self._outbox.outstanding < most:
            alert = self._outbox.next()
            if alert is None:
                return True
            if self._budget.wait_s() > 0:
                return False
            message_id = self._link.publish(topic(self._device, "alert"), alert.message, qos=1)
            if message_id is None:
                return True
            self._outbox.sent(message_id)
            self._budget.spend(len(alert.message))
        return True

    def _send_notices(self) -> None:
        """Publish status, answers and health, as far as the budget goes."""
        if self._announce_since is not None and self._budget.wait_s() == 0:
            self._announce_since = None
            status = self._status()
            if msgspec.structs.replace(status, at="") != self._said:
                self._publish("status", status, qos=1, retain=True)
                self._said = msgspec.structs.replace(status, at="")
        while self._replies and self._budget.wait_s() == 0:
            self._publish("reply", self._replies.popleft(), qos=1)
        while self._pictures and self._budget.wait_s() == 0:
            picture, jpeg = self._pictures.popleft()
            self._link.publish(topic(self._device, f"thumbnail/{picture}"), jpeg, qos=1)
            self._budget.spend(len(jpeg))
        if self._health is not None and self._budget.wait_s() == 0:
            message, self._health = self._health, None
            self._publish("health", message, qos=0)

    def _publish(self, kind: str, message: msgspec.Struct, *, qos: int, retain: bool = False) -> None:
        payload = encode(message)
        self._link.publish(topic(self._device, kind), payload, qos=qos, retain=retain)
        self._budget.spend(len(payload))
