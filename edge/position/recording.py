"""Positions from a file that was recorded: the whole track is known before the first frame is placed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from statistics import median

from edge.clock import SmallestDelay
from edge.position.provider import ProviderHealth, fix_of
from edge.position.report import Report, Stream
from edge.position.track import Track
from edge.records import Fix, Frame

# The clock of a device that goes back by more has begun anew.
_REBOOT_S = 1.0


class RecordedProvider:
    """The track of one file, in UTC."""

    def __init__(self, stream: Stream, title: str, *, max_age_s: float, max_speed_m_s: float) -> None:
        """Read it.

        Args:
            title: How the config writes it.

        Raises:
            StreamError: It cannot be read.
        """
        self.name = stream.name
        self.title = title
        self._track = Track(max_age_s=max_age_s, max_speed_m_s=max_speed_m_s)
        read: list[Report] = []
        with closing(stream.reports()) as reports:
            for report in reports:
                if report is None:
                    continue
                if report.refused is None:
                    read.append(report)
                else:
                    self._track.refuse(report.refused)
        for report, at_s in zip(read, measured_s(read), strict=True):
            if at_s is None:
                self._track.refuse("no time")
            else:
                self._track.add(report, at_s)

    def start(self) -> None:
        """Nothing has to run."""

    def stop(self) -> None:
        """Nothing runs."""

    def close(self, within_s: float = 1.0) -> None:
        """Nothing is open."""

    def locate(self, frame: Frame) -> Fix | None:
        """Where the device was at the exposure; None: the track does not know."""
        place = self._track.at(frame.captured_at.timestamp())
        return None if place is None else fix_of(place, self.name, frame.captured_at)

    def health(self) -> ProviderHealth:
        """How it does."""
        fixes, marked, refused = self._track.counts()
        return ProviderHealth(True, fixes, marked, refused, None)


def measured_s(reports: Sequence[Report]) -> list[float | None]:
    """When each was measured, in UTC; None: it does not say.

    All are placed on the recorder's clock first: those with a clock of their own by the message that was recorded with the
    smallest delay before or after. Where GPS time was told anywhere, all are then moved by as much as the recorder's clock was
    wrong, also those from before: two clocks are never mixed.
    """
    forward = _differences(reports, 1)
    backward = _differences(reports[::-1], -1)[::-1]
    recorded: list[float | None] = []
    for report, before, after in zip(reports, forward, backward, strict=True):
        if report.received_s is None or report.own_s is None or before is None or after is None:
            recorded.append(report.received_s)
        else:
            recorded.append(report.own_s + min(before, after))
    wrong_s = [
        report.utc_s - at_s
        for report, at_s in zip(reports, recorded, strict=True)
        if report.utc_s is not None and at_s is not None
    ]
    ahead_s = median(wrong_s) if wrong_s else 0.0
    return [report.utc_s if at_s is None else at_s + ahead_s for report, at_s in zip(reports, recorded, strict=True)]


def _differences(reports: Sequence[Report], direction: int) -> list[float | None]:
    """For each report the smallest difference of the clocks in those until then; from the last on, with direction -1."""
    delay, last_s = SmallestDelay(), None
    differences: list[float | None] = []
    for report in reports:
        if report.own_s is None or report.received_s is None:
            differences.append(None)
            continue
        if last_s is not None and direction * (report.own_s - last_s) < -_REBOOT_S:
            delay.clear()
        last_s = report.own_s
        differences.append(delay.add(direction * report.received_s, report.received_s - report.own_s))
    return differences
