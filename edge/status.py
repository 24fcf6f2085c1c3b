"""How the daemon of this machine is, as it says itself and as its journal shows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from edge.config import Config
from edge.daemon import Report, read_report
from edge.journal import Counts, is_open, read_counts
from edge.messages import HealthMessage, InstallResult, PositionHealth
from edge.model import last_install, store_of
from edge.text import printable


@dataclass(frozen=True, slots=True)
class LocalStatus:
    """What can be known of a daemon.

    Attributes:
        state: "online", "degraded"; "starting"; "stopped", or "crashed", when it did not say that it stops.
    """

    device: str
    state: str
    report: Report | None
    counts: Counts
    last_install: InstallResult | None

    @property
    def reasons(self) -> list[str]:
        """Why it is degraded; nothing of a daemon that does not run."""
        return self.report.status.reasons if self.report and self.state == "degraded" else []

    def facts(self) -> dict[str, Any]:
        """For programs."""
        report = self.report
        return {
            "device": self.device,
            "state": self.state,
            "reasons": self.reasons,
            "status": None if report is None else msgspec.to_builtins(report.status),
            "health": None if report is None else msgspec.to_builtins(report.health),
            "last_install": msgspec.to_builtins(self.last_install),
            "journal": asdict(self.counts),
        }


def look(config: Config) -> LocalStatus:
    """Look at the daemon of a configuration.

    Raises:
        JournalError: There is no journal, or it cannot be read.
    """
    journal = Path(config.journal.path).absolute()
    counts = read_counts(journal)
    report = read_report(journal)
    last = last_install(store_of(config.model)) if config.model.store else None
    return LocalStatus(config.device, _state(report, is_running=is_open(journal)), report, counts, last)


def _state(report: Report | None, *, is_running: bool) -> str:
    said = None if report is None else report.status.state
    if is_running:
        return said if said in {"online", "degraded"} else "starting"
    return "crashed" if said in {"online", "degraded"} else "stopped"


def status_lines(status: LocalStatus) -> list[str]:
    """For people."""
    counts, report = status.counts, status.report
    lines = [f"{status.device} is {status.state}", *(f"  because {reason}" for reason in status.reasons)]
    if report is not None and report.status.bundle is not None:
        bundle = report.status.bundle
        lines.append(f"model     {bundle.name} version {bundle.version}, {report.status.engine} on {report.status.on}")
        lines.append(f"threshold {report.status.threshold:g}" if report.status.threshold is not None else "")
    if status.last_install is not None:
        last = status.last_install
        reason = "" if last.reason is None else f", {last.reason}"
        lines.append(f"install   {last.at} {last.source}: {last.outcome}{reason}")
    lines.append(f"frames    {counts.observed} classified, {counts.rejected} rejected")
    lines.append(f"alerts    {counts.alerts}, of which {counts.waiting} wait for the ground")
    if report is not None and report.health is not None:
        lines += _health_lines(report.health)
    return [printable(line) for line in lines if line]


def _health_lines(health: HealthMessage) -> list[str]:
    temperature = "" if health.temperature_c is None else f", {health.temperature_c:.0f} degrees C"
    disk = "" if health.disk_free_bytes is None else f", {health.disk_free_bytes / 1e9:.1f} GB of disk free"
    return [
        f"speed     {health.frames_per_s:g} frames/s, {health.uplink_bytes_per_s / 1000:.1f} kB/s sent (at {health.at})",
        f"machine   {health.cpu_percent:.0f}% of the CPU, {health.memory_percent:.0f}% of the memory{temperature}{disk}",
        f"journal   {(health.journal_bytes or 0) / 1e6:.1f} MB, {health.thumbnails_waiting} pictures wait",
        *([f"area      {health.outside_area} sightings outside of it"] if health.outside_area else []),
        *(_position_line(name, position) for name, position in health.positions.items()),
    ]


def _position_line(name: str, position: PositionHealth) -> str:
    reason = "" if position.reason is None else f" ({position.reason})"
    state = f"{'connected' if position.connected else 'not connected'}{reason}"
    marked = "".join(f", of which {count} {mark}" for mark, count in position.marked.items())
    refused = ", ".join(f"{count} {reason}" for reason, count in position.refused.items())
    return f"position  {name}: {state}, {position.fixes} fixes{marked}, {f'refused: {refused}' if refused else 'none refused'}"
