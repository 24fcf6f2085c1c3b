"""A flight that does not end: the memory of the daemon stays what it was after the first minutes.

There is no broker, and no frame is an alert: what may grow is what the daemon keeps of frames.
"""

from __future__ import annotations

import os
import statistics
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.conftest import Overflight, free_port, wait_for
from tests.e2e.conftest import rows

# In the folder at any time: it is never empty, and never so full that listing it takes long.
_WAITING = 2_000
_LOOK_S = 0.05
_WARM = 10_000


class Sample(NamedTuple):
    """Resident memory of the daemon when it had recorded so many frames."""

    frames: int
    memory_bytes: int


class Feeder:
    """Puts the same picture into the inbox under new names, as fast as the daemon deletes it."""

    def __init__(self, inbox: Path, frame: bytes, frames: int) -> None:
        """
        Args:
            frames: How many there are to be.
        """
        self._inbox = inbox
        self._frames = frames
        self._picture = inbox.with_name("picture.jpg")
        self._picture.write_bytes(frame)
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
        fed, moving = 0, self._inbox.with_name("moving.jpg")
        while fed < self._frames and not self._stopping.wait(_LOOK_S):
            for _ in range(min(_WAITING - len(os.listdir(self._inbox)), self._frames - fed)):
                # As a camera does it; the daemon hears of what was moved in, not of links.
                os.link(self._picture, moving)
                os.rename(moving, self._inbox / f"{fed:07}.jpg")
                fed += 1


def fly(overflight: Overflight, frame: bytes, *, frames: int, timeout_s: float) -> list[Sample]:
    """Classify so many frames in one run; returns how its memory went."""
    overflight.config["capture"] |= {"settle_s": 0.02, "after": "delete"}
    overflight.config["triage"] = {"threshold": 1.0}
    overflight.config["uplink"] = {"url": f"mqtt://127.0.0.1:{free_port()}"}
    samples: list[Sample] = []
    with overflight.running("run") as daemon, Feeder(overflight.inbox, frame, frames).running():
        process = psutil.Process(daemon.pid)

        def is_done() -> bool:
            recorded = rows(overflight.journal, "SELECT max(frame) FROM frames")
            samples.append(Sample((recorded[0][0] or 0) if recorded else 0, process.memory_info().rss))
            return samples[-1].frames >= frames

        wait_for(is_done, timeout_s)
        assert daemon.poll() is None
    assert rows(overflight.journal, "SELECT count(*), sum(outcome) FROM frames") == [(frames, 0)]
    return samples


def growth_bytes(samples: list[Sample]) -> float:
    """By how much the memory was larger at any time after the first frames than it mostly was shortly before."""
    before = statistics.median(sample.memory_bytes for sample in samples if _WARM / 2 <= sample.frames < _WARM)
    return max(sample.memory_bytes for sample in samples if sample.frames >= _WARM) - before


def curve(samples: list[Sample], points: int = 20) -> str:
    """How the memory went, for people."""
    step = max(1, samples[-1].frames // points)
    shown = {sample.frames // step: sample for sample in reversed(samples)}
    return "\n".join(f"{sample.frames:9} frames {sample.memory_bytes / 1e6:7.1f} MB" for _, sample in sorted(shown.items()))


def test_of_20_000_frames_none_leaves_a_kilobyte_behind(overflight: Overflight, make_jpeg: Callable[..., bytes]) -> None:
    samples = fly(overflight, make_jpeg(), frames=2 * _WARM, timeout_s=100)
    assert growth_bytes(samples) < _WARM * 1024, curve(samples)


@pytest.mark.long
def test_memory_stays_what_it_was_over_20_000_frames(overflight: Overflight, make_jpeg: Callable[..., bytes]) -> None:
    samples = fly(overflight, make_jpeg(), frames=2 * _WARM, timeout_s=100)
    assert growth_bytes(samples) < 5e6, curve(samples)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_memory_stays_what_it_was_over_1_000_000_frames(overflight: Overflight, make_jpeg: Callable[..., bytes]) -> None:
    samples = fly(overflight, make_jpeg(), frames=1_000_000, timeout_s=7000)
    print(curve(samples))
    assert growth_bytes(samples) < 5e6, curve(samples)
