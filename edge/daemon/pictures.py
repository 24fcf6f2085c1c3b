"""Pictures for the ground: one follows each alert, as far as anybody could look at them; and the newest frame when asked."""

from __future__ import annotations

import threading
import time

from edge.records import Frame, Tile
from edge.thumbnail import thumbnail

# Nobody looks at more, and no thin link carries more.
_PER_S = 20.0
_AT_ONCE = 100
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

    def see(self, frame: Frame) -> None:
        """Keep the newest frame."""
        latest = self._latest
        if latest is None or frame.captured_at >= latest.captured_at:
            self._latest = frame

    def of_alert(self, frame: Frame, tile: Tile) -> bytes | None:
        """The tile of an alert with its surroundings; None: there were enough just now, or it cannot be made small enough."""
        if not self._max_bytes or not self._may():
            return None
        return thumbnail(frame.pixels, (frame.width, frame.height), tile, self._max_bytes)

    def snapshot(self) -> tuple[Frame, bytes] | None:
        """The newest frame, whole, as JPEG; None: there was none yet."""
        frame = self._latest
        if frame is None:
            return None
        whole = Tile(0, 0, frame.width, frame.height)
        jpeg = thumbnail(frame.pixels, (frame.width, frame.height), whole, self._max_bytes or _SNAPSHOT_BYTES)
        return None if jpeg is None else (frame, jpeg)

    def _may(self) -> bool:
        with self._lock:
            now = time.monotonic()
            self._left = min(float(_AT_ONCE), self._left + (now - self._at) * _PER_S)
            self._at = now
            if self._left < 1:
                return False
            self._left -= 1
            return True
