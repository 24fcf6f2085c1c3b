"""What operators said of alerts and frames: a file of lines, each with the true label of one."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.text import one_line, printable
from trainer.harvest.errors import HarvestError
from trainer.harvest.observed import Observed

_MAX_BYTES = 64 << 20


class _Line(msgspec.Struct, frozen=True):
    label: str
    alert: str | None = None
    frame: str | None = None


@dataclass(frozen=True, slots=True)
class Verdicts:
    """True labels by what they are about.

    Attributes:
        by_alert: By id of the alert; `by_frame`: by name of the frame.
    """

    by_alert: dict[str, str]
    by_frame: dict[str, str]

    def of(self, observed: Observed) -> str | None:
        """The true label of a frame; None: nobody said."""
        about_alert = self.by_alert.get(observed.alert) if observed.alert is not None else None
        return about_alert if about_alert is not None else self.by_frame.get(observed.name)

    def unknown(self, observations: Iterable[Observed]) -> list[str]:
        """Alerts and frames that someone spoke of and that are not among the observations."""
        alerts, frames = set(), set()
        for observed in observations:
            alerts.add(observed.alert)
            frames.add(observed.name)
        return [*(id_ for id_ in self.by_alert if id_ not in alerts), *(name for name in self.by_frame if name not in frames)]


def read_verdicts(file: Path, labels: Sequence[str]) -> Verdicts:
    """Read a file of true labels: CSV with the columns ``alert`` or ``frame`` and ``label``, or JSON lines with these keys.

    Args:
        labels: That the device knows.

    Raises:
        HarvestError: A line is neither, or its label is unknown.
    """
    verdicts = Verdicts({}, {})
    for number, line in _lines(file):
        if (line.alert is None) == (line.frame is None):
            raise HarvestError(f'{file}, line {number}: expected either "alert" (its id) or "frame" (its name)')
        if line.label not in labels:
            raise HarvestError(f"{file}, line {number}: label {printable(line.label)}: expected one of {', '.join(labels)}")
        if line.alert is not None:
            verdicts.by_alert[line.alert] = line.label
        elif line.frame is not None:
            verdicts.by_frame[line.frame] = line.label
    return verdicts


def _lines(file: Path) -> list[tuple[int, _Line]]:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise HarvestError(f"{file}: has more than {_MAX_BYTES >> 20} MiB")
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise HarvestError(f"{file}: cannot be read: {one_line(error)}") from error
    number = 0
    lines = []
    try:
        if file.suffix.lower() == ".csv":
            for number, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
                filled = {name: value for name, value in row.items() if name and value}
                lines.append((number, msgspec.convert(filled, _Line)))
        else:
            for number, line in enumerate(text.splitlines(), 1):
                if line.strip():
                    lines.append((number, msgspec.json.decode(line, type=_Line)))
    except (csv.Error, msgspec.DecodeError) as error:
        raise HarvestError(f"{file}, line {number}: {one_line(error)}") from error
    return lines
