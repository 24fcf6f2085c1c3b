"""Positions from a file that was recorded: the whole track is known before the first frame is placed."""

from __future__ import annotations

from contextlib import closing

from edge.clock import SmallestDelay
from edge.position.provider import ProviderHealth, fix_of
from edge.position.report import Report, Stream
from edge.position.track import Track
from edge.records import Fix, Frame


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
        with closing(stream.reports()) as reports:
            read = [report for report in reports if report is not None]
        for report, at_s in zip(read, _measured_s(read), strict=True):
            if at_s is None and report.refused is None:
                self._track.refuse("no time")
            else:
                self._track.add(report, at_s)

    def start(self) -> None:
        """Nothing has to run."""

    def close(self) -> None:
        """Nothing is open."""

    def locate(self, frame: Frame) -> Fix | None:
        """Where the device was at the exposure; None: the track does not know."""
        place = self._track.at(frame.captured_at.timestamp())
        return None if place is None else fix_of(place, self.name, frame.captured_at)

    def health(self) -> ProviderHealth:
        """How it does."""
        return ProviderHealth(True, self._track.fixes, dict(self._track.marked), dict(self._track.refused), None)


def _measured_s(reports: list[Report]) -> list[float | None]:
    """When each was measured, in UTC: as GPS time says, else by its own clock and the recorder's.

    What came with the smallest delay tells how the two clocks lie; a recording has it also from what came later.
    """
    forward = _differences(reports, 1)
    backward = _differences(reports[::-1], -1)[::-1]
    measured: list[float | None] = []
    for report, before, after in zip(reports, forward, backward, strict=True):
        if report.utc_s is not None:
            measured.append(report.utc_s)
        elif report.own_s is None or before is None or after is None:
            measured.append(report.received_s)
        else:
            measured.append(report.own_s + min(before, after))
    return measured


def _differences(reports: list[Report], direction: int) -> list[float | None]:
    """For each report the smallest difference of the clocks in those until then; from the last on, with direction -1."""
    delay, last_s = SmallestDelay(), None
    differences: list[float | None] = []
    for report in reports:
        if report.own_s is None or report.received_s is None:
            differences.append(None)
            continue
        if last_s is not None and direction * (report.own_s - last_s) < -1.0:
            delay.clear()
        last_s = report.own_s
        differences.append(delay.add(direction * report.received_s, report.received_s - report.own_s))
    return differences
