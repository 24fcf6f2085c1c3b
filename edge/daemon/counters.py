"""What a run has done so far, and what it did in the end."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass, field

import psutil

from edge.journal import FrameRecord
from edge.messages import FixQuality, fix_quality

# Reasons of so many rejected frames are kept for the summary; all of them are in the journal.
_REASONS_KEPT = 20


@dataclass(slots=True)
class Counters:
    """Counts of one run, written by the recording stage alone. Times are of the monotonic clock.

    Attributes:
        alerts: Each revision counts.
        rejected: The first reasons, by frame name.
        first_result_s: From the start of the process to the first frame in the journal.
    """

    frames: int = 0
    observations: int = 0
    alerts: int = 0
    without_position: int = 0
    vanished: int = 0
    rejected_count: int = 0
    rejected: dict[str, str] = field(default_factory=dict)
    first_found: float | None = None
    first_result_s: float | None = None
    last_done: float | None = None
    last_fix: FixQuality | None = None

    def count(self, record: FrameRecord) -> None:
        """Count what became of a frame, once it is in the journal."""
        self.last_done = time.monotonic()
        if self.first_result_s is None:
            self.first_result_s = round(time.time() - psutil.Process().create_time(), 3)
        if record.outcome != "observed":
            self.rejected_count += 1
            if len(self.rejected) < _REASONS_KEPT:
                self.rejected[record.key.name] = record.reason or ""
            return
        self.frames += 1
        self.observations += len(record.observations)
        for observation in record.observations:
            if observation.fix is None:
                self.without_position += 1
            else:
                self.last_fix = fix_quality(observation.fix)

    def summary(self, *, delivered: int, waiting: int, engine: str) -> Summary:
        """What the run did."""
        work_s = 0.0
        if self.first_found is not None and self.last_done is not None:
            work_s = self.last_done - self.first_found
        return Summary(
            frames=self.frames,
            observations=self.observations,
            alerts=self.alerts,
            without_position=self.without_position,
            rejected_count=self.rejected_count,
            rejected=dict(self.rejected),
            vanished=self.vanished,
            delivered=delivered,
            waiting=waiting,
            first_result_s=self.first_result_s,
            work_s=round(work_s, 3),
            frames_per_s=round(self.frames / work_s, 1) if work_s else 0.0,
            process_memory_peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            engine=engine,
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did.

    Attributes:
        rejected: The first reasons, by frame name; all are in the journal.
        delivered: Alerts that the broker acknowledged in this run, those of earlier runs included.
        waiting: Alerts in the journal that are not delivered.
        first_result_s: From the start of the process to the first frame in the journal; None if there was none.
        work_s: From the first file found to the last frame recorded and, with ``--once``, the last alert delivered.
        process_memory_peak_bytes: Largest resident memory.
    """

    frames: int
    observations: int
    alerts: int
    without_position: int
    rejected_count: int
    rejected: dict[str, str]
    vanished: int
    delivered: int
    waiting: int
    first_result_s: float | None
    work_s: float
    frames_per_s: float
    process_memory_peak_bytes: int
    engine: str
