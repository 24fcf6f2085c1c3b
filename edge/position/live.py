"""Positions from a stream that comes live: a thread of its own reads it, and connects again for as long as it takes."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime

from edge.clock import Clock
from edge.position.provider import ProviderHealth, fix_of
from edge.position.report import Report, Stream, StreamError
from edge.position.track import Track
from edge.records import Fix, Frame
from edge.text import one_line, printable

_log = logging.getLogger(__name__)

# A receiver speaks every second; whoever is silent for longer hangs.
SILENT_S = 10.0
# Frames are classified within seconds of their exposure; what waits in a folder for longer has lost its track.
_KEPT_S = 900.0
# By so much a message can come before its time, where both clocks are right.
_EARLY_S = 0.1
_NOT_YET = "gives no position yet"
_RETRY_MIN_S, _RETRY_MAX_S = 0.5, 30.0

Told = Callable[[str, "str | None"], None]
"""Is told the name of a provider and why it does not work, None when it does."""


class LiveProvider:
    """Keeps the track of one stream."""

    def __init__(
        self,
        stream: Stream,
        title: str,
        clock: Clock,
        told: Told,
        *,
        max_age_s: float,
        max_speed_m_s: float,
        silent_s: float = SILENT_S,
    ) -> None:
        """
        Args:
            title: How the config writes it.
            silent_s: A stream that says nothing for longer is closed and opened again.
        """
        self.name = stream.name
        self.title = title
        self._stream = stream
        self._clock = clock
        self._told = told
        self._max_age_s = max_age_s
        self._silent_s = silent_s
        self._track = Track(max_age_s=max_age_s, max_speed_m_s=max_speed_m_s, kept_s=_KEPT_S)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"position {self.name}", daemon=True)
        self._is_connected = False
        self._reason: str | None = None
        self._placed_s = time.monotonic()

    def start(self) -> None:
        """Begin to listen."""
        self._placed_s = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Stop to listen, soon."""
        self._stopping.set()

    def close(self, within_s: float = 1.0) -> None:
        """Stop to listen, and wait for the end."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join(within_s)

    def locate(self, frame: Frame) -> Fix | None:
        """Where the device was at the exposure; None: the track does not know, or nobody knows when that was."""
        exposed_s = frame.exposed_s
        if exposed_s is None:
            # A file's own time is UTC; that of the file was understood before, as far as it could be.
            if frame.clock not in {"image", "name"}:
                return None
            exposed_s = self._clock.monotonic_of(frame.captured_at)
        place = self._track.at(exposed_s)
        return None if place is None else fix_of(place, self.name, frame.captured_at)

    def health(self) -> ProviderHealth:
        """How it does."""
        fixes, marked, refused = self._track.counts()
        return ProviderHealth(self._is_connected, fixes, marked, refused, self._reason)

    def _run(self) -> None:
        retry_s = _RETRY_MIN_S
        while not self._stopping.is_set():
            begun_s = time.monotonic()
            try:
                self._follow()
                reason = "ended"
            except StreamError as error:
                reason = one_line(error)
            except Exception as error:  # noqa: BLE001 - it is logged whole and said
                # A defect, or an error that a library does not tell: it may not cost the positions of months.
                _log.exception("position %s", printable(self.title))
                reason = f"{type(error).__name__}: {one_line(error)}"
            self._is_connected = False
            if self._stopping.is_set():
                return
            self._tell(reason)
            # What held for a while is worth a quick try.
            retry_s = _RETRY_MIN_S if time.monotonic() - begun_s > _RETRY_MAX_S else min(2 * retry_s, _RETRY_MAX_S)
            self._stopping.wait(retry_s * random.uniform(0.5, 1.0))  # noqa: S311 - so that not all try at once

    def _follow(self) -> None:
        """
        Raises:
            StreamError: It was lost, or is silent.
        """
        heard_s = time.monotonic()
        with closing(self._stream.reports()) as reports:
            for report in reports:
                if self._stopping.is_set():
                    return
                now_s = time.monotonic()
                if report is not None:
                    if not self._is_connected and self._reason is not None:
                        self._tell(_NOT_YET)
                    self._is_connected, heard_s = True, now_s
                    self._take(report, now_s)
                elif now_s - heard_s > self._silent_s:
                    raise StreamError(f"silent for {now_s - heard_s:.0f} s")
                if now_s - self._placed_s > self._silent_s and self._reason in {None, _NOT_YET}:
                    self._tell(f"gives no position{self._why()}")

    def _take(self, report: Report, now_s: float) -> None:
        if report.utc_s is not None and report.received_s is not None:
            reason = self._why_not_now(report.utc_s, now_s)
            if reason is not None:
                self._track.refuse(reason)
                return
            self._clock.learn(report.utc_s, report.received_s)
        if self._track.add(report, self._measured_s(report)):
            self._placed_s = now_s
            self._tell(None)

    def _measured_s(self, report: Report) -> float | None:
        """When it was, where the receiver and this machine both know UTC: then no delay is left. None: they do not."""
        if report.utc_s is None or report.received_s is None or self._clock.at(report.received_s).clock != "system":
            return None
        at_s = self._clock.monotonic_of(datetime.fromtimestamp(report.utc_s, UTC))
        return at_s if -_EARLY_S < report.received_s - at_s <= self._max_age_s else None

    def _why_not_now(self, utc_s: float, now_s: float) -> str | None:
        """A receiver may repeat what it knew before it was switched off; only a clock that is right can tell."""
        now = self._clock.at(now_s)
        if now.clock != "system":
            return None
        age_s = now.utc.timestamp() - utc_s
        if age_s > now_s:
            return "before the last start"
        return "stale" if age_s > self._max_age_s else None

    def _why(self) -> str:
        refused = ", ".join(f"{reason} {count}" for reason, count in sorted(self._track.counts()[2].items()))
        return f" (refused: {printable(refused)})" if refused else ""

    def _tell(self, reason: str | None) -> None:
        if reason != self._reason:
            self._reason = reason
            self._told(self.title, reason)
