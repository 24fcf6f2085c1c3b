"""Positions from a stream that comes live: a thread of its own reads it, and connects again for as long as it takes."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import closing

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

    def close(self) -> None:
        """Stop to listen; returns within about a second."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def locate(self, frame: Frame) -> Fix | None:
        """Where the device was at the exposure; None: the track does not know."""
        exposed_s = self._clock.monotonic_of(frame.captured_at) if frame.exposed_s is None else frame.exposed_s
        place = self._track.at(exposed_s)
        return None if place is None else fix_of(place, self.name, frame.captured_at)

    def health(self) -> ProviderHealth:
        """How it does."""
        track = self._track
        return ProviderHealth(self._is_connected, track.fixes, dict(track.marked), dict(track.refused), self._reason)

    def _run(self) -> None:
        retry_s = _RETRY_MIN_S
        while not self._stopping.is_set():
            begun_s = time.monotonic()
            try:
                self._follow()
                reason = "ended"
            except StreamError as error:
                reason = one_line(error)
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
                    self._is_connected, heard_s = True, now_s
                    self._take(report, now_s)
                elif now_s - heard_s > self._silent_s:
                    raise StreamError(f"silent for {now_s - heard_s:.0f} s")
                if now_s - self._placed_s > self._silent_s and self._reason is None:
                    self._tell(f"gives no position{self._why()}")

    def _take(self, report: Report, now_s: float) -> None:
        if report.utc_s is not None and report.received_s is not None:
            reason = self._why_not_now(report.utc_s, now_s)
            if reason is not None:
                self._track.refuse(reason)
                return
            self._clock.learn(report.utc_s, report.received_s)
        if self._track.add(report):
            self._placed_s = now_s
            self._tell(None)

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
        refused = ", ".join(f"{reason} {count}" for reason, count in sorted(self._track.refused.items()))
        return f" (refused: {printable(refused)})" if refused else ""

    def _tell(self, reason: str | None) -> None:
        if reason != self._reason:
            self._reason = reason
            self._told(self.title, reason)
