"""What may wait: pictures and logs. They have a connection of their own, so that no alert waits behind one that is lost and
sent again, and go only when everything else is through.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from paho.mqtt.reasoncodes import ReasonCode

from edge.config import UplinkConfig
from edge.journal import Journal, JournalFullError, Thumbnail
from edge.messages import LogMessage, encode, topic
from edge.uplink.budget import Budget
from edge.uplink.link import Link

_log = logging.getLogger(__name__)

# A broker that refuses pictures is asked again after so long.
_REFUSED_RETRY_S = 300.0
_LOOK_S = 1.0
_DROP_TOGETHER = 32
_LOGS_AT_ONCE = 20


class LogSource(Protocol):
    """What is logged and to be sent."""

    def take(self) -> LogMessage | None:
        """The oldest that was not taken; None: there is none."""


class Bulk:
    """Sends one picture after the other, the newest first, and what is logged in between."""

    def __init__(
        self,
        config: UplinkConfig,
        device: str,
        journal: Journal,
        budget: Budget,
        logs: LogSource | None,
        *,
        wake: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """
        Args:
            logs: None: nothing that is logged is sent.
            wake: Is called when `send` may have something to do.
            failed: Is told of a defect.

        Raises:
            ConfigError: A file that the configuration names cannot be used.
        """
        self._device = device
        self._journal = journal
        self._thumbnails = journal.thumbnails if config.thumbnail_bytes else None
        self._budget = budget
        self._logs = logs
        self._wake = wake
        self._acknowledged: deque[tuple[int, ReasonCode]] = deque()
        self._under_way: tuple[int, Thumbnail] | None = None
        self._sent: list[int] = []
        self._retry_at = 0.0
        self._lock = threading.Lock()
        self._link: Link | None = None
        if self._thumbnails is not None or logs is not None:
            self._link = Link(
                config,
                f"overflight-{device}-bulk",
                connected=self._on_connected,
                acknowledged=self._on_acknowledged,
                condition=lambda reason: wake(),
                failed=failed,
            )

    def start(self) -> None:
        """Begin to connect."""
        if self._link is not None:
            self._link.start()

    def stop(self) -> None:
        """End the connection; nobody calls `send` any more."""
        self._take()
        self._drop_sent()
        if self._link is not None:
            self._link.stop()

    def send(self, *, room: bool) -> None:
        """Send what there is room for.

        Args:
            room: Everything else is through.
        """
        self._take()
        if not room or self._link is None or not self._link.is_connected:
            return
        if self._under_way is None and not self._send_thumbnail(self._link) and self._logs is not None:
            self._send_logs(self._link, self._logs)

    def wait_s(self) -> float | None:
        """Seconds until `send` may have something to do without being woken; None: it has not."""
        if self._link is None or not self._link.is_connected or self._under_way is not None:
            return None
        pauses = [_LOOK_S] if self._logs is not None else []
        if self._thumbnails is not None and self._thumbnails.waiting:
            pauses.append(max(self._retry_at - time.monotonic(), self._budget.wait_s(1), 0.05))
        return min(pauses, default=None)

    def _on_connected(self) -> None:
        with self._lock:
            self._under_way = None

    def _on_acknowledged(self, message_id: int, reason: ReasonCode) -> None:
        self._acknowledged.append((message_id, reason))
        self._wake()

    def _take(self) -> None:
        while self._acknowledged:
            message_id, reason = self._acknowledged.popleft()
            with self._lock:
                under_way = self._under_way
                if under_way is None or under_way[0] != message_id:
                    continue
                self._under_way = None
            if reason.is_failure:
                _log.warning("uplink: the broker refuses pictures: %s", reason)
                self._retry_at = time.monotonic() + _REFUSED_RETRY_S
                continue
            self._sent.append(under_way[1].sequence)
            if len(self._sent) >= _DROP_TOGETHER:
                self._drop_sent()

    def _drop_sent(self) -> None:
        """Forget pictures that the broker has, several at once: each time is a write to the memory card."""
        if not self._sent:
            return
        try:
            self._journal.thumbnails.drop(self._sent)
        except JournalFullError as error:
            # They are sent once more, and overwrite what is there.
            _log.error("uplink: %s", error)
        self._sent = []

    def _send_thumbnail(self, link: Link) -> bool:
        """Send the newest picture. False: there is none that could be sent, however much room there was."""
        if self._thumbnails is None or not self._thumbnails.waiting or time.monotonic() < self._retry_at:
            return False
        thumbnail = self._thumbnails.newest(leave_out=self._sent)
        if thumbnail is None:
            # All are sent, or wait for their alerts.
            self._drop_sent()
            self._retry_at = time.monotonic() + _LOOK_S
            return False
        if self._budget.wait_s(len(thumbnail.jpeg)) > 0:
            return True
        message_id = link.publish(topic(self._device, f"thumbnail/{thumbnail.alert}"), thumbnail.jpeg, qos=1)
        if message_id is not None:
            with self._lock:
                self._under_way = (message_id, thumbnail)
            self._budget.spend(len(thumbnail.jpeg))
        return True

    def _send_logs(self, link: Link, logs: LogSource) -> None:
        for _ in range(_LOGS_AT_ONCE):
            if self._budget.wait_s(1) > 0 or (message := logs.take()) is None:
                return
            payload = encode(message)
            link.publish(topic(self._device, "log"), payload, qos=0)
            self._budget.spend(len(payload))
