"""Pictures for the ground: one follows each alert, as far as anybody could look at them; and the newest frame when asked."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

from edge.records import Alert, Frame, FrameKey, Tile
from edge.thumbnail import thumbnail

# Nobody looks at more, and no thin link carries more.
_PER_S = 20.0
_AT_ONCE = 100
# Left for alerts that are told now when pictures are made for later.
_SPARE = 50
KEPT_MAX = 2048
"""Pictures of alerts that are told later; 12 MB of 6 kB each."""
_SNAPSHOT_BYTES = 60_000


class Pictures:
    """Makes pictures of frames."""

    def __init__(self, max_bytes: int) -> None:
        """
        Args:
            max_bytes: Of one that follows an alert; 0: none does.
        """
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._left = float(_AT_ONCE)
        self._at = time.monotonic()
        self._latest: Frame | None = None
        self._kept: OrderedDict[str, tuple[FrameKey, Tile, bytes]] = OrderedDict()

    def see(self, frame: Frame) -> None:
        """Keep the newest frame."""
        latest = self._latest
        if latest is None or frame.captured_at >= latest.captured_at:
            self._latest = frame

    def of_alert(self, frame: Frame, tile: Tile) -> bytes | None:
        """The tile of an alert with its surroundings; None: there were enough just now, or it cannot be made small enough."""
        return self._picture(frame, tile, 0)

    def _picture(self, frame: Frame, tile: Tile, spare: int) -> bytes | None:
        """
        Args:
            spare: So many more must be left to be made.
        """
        if not self._max_bytes or not self._may(spare):
            return None
        return thumbnail(frame.pixels, (frame.width, frame.height), tile, self._max_bytes)

    def of_alerts(self, frame: Frame, alerts: Sequence[Alert]) -> list[tuple[str, bytes]]:
        """The pictures that follow alerts that were told with a frame, by their ids.

        An alert that is told again has one if this frame shows it best, or if it is told first that another did, whose picture
        was kept. A new one always: where the frame that shows it best has gone, this one, with which it was confirmed, is
        shown.
        """
        found = []
        for alert in alerts:
            shown = alert.latest if alert.revision == 0 and alert.latest is not None else alert.observation
            if alert.observation.frame.key == frame.key:
                shown = alert.observation
            if shown.frame.key == frame.key and (picture := self.of_alert(frame, shown.tile)) is not None:
                found.append((alert.id, picture))
        return [*found, *self.kept([alert for alert in alerts if alert.observation.frame.key != frame.key])]

    def keep(self, frame: Frame, shown: Sequence[tuple[str, Tile]]) -> None:
        """Make pictures for alerts that this frame shows best and that are told later: then it is gone.

        Args:
            shown: Ids of the alerts, and which tile shows each.
        """
        for alert, tile in shown:
            picture = self._picture(frame, tile, _SPARE)
            with self._lock:
                self._kept.pop(alert, None)
                if picture is not None:
                    self._kept[alert] = (frame.key, tile, picture)
                if len(self._kept) > KEPT_MAX:
                    self._kept.popitem(last=False)

    def kept(self, alerts: Sequence[Alert]) -> list[tuple[str, bytes]]:
        """Of alerts those pictures that were kept and show what they tell of, by their ids; they are kept no longer."""
        found = []
        with self._lock:
            for alert in alerts:
                frame, tile, picture = self._kept.get(alert.id, (None, None, b""))
                if (frame, tile) == (alert.observation.frame.key, alert.observation.tile):
                    del self._kept[alert.id]
                    found.append((alert.id, picture))
        return found

    def snapshot(self) -> tuple[Frame, bytes] | None:
        """The newest frame, whole, as JPEG; None: there was none yet."""
        frame = self._latest
        if frame is None:
            return None
        whole = Tile(0, 0, frame.width, frame.height)
        jpeg = thumbnail(frame.pixels, (frame.width, frame.height), whole, self._max_bytes or _SNAPSHOT_BYTES)
        return None if jpeg is None else (frame, jpeg)

    def _may(self, spare: int) -> bool:
        with self._lock:
            now = time.monotonic()
            self._left = min(float(_AT_ONCE), self._left + (now - self._at) * _PER_S)
            self._at = now
            if self._left < 1 + spare:
                return False
            self._left -= 1
            return True
