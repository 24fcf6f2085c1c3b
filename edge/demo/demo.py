"""The whole system on one machine: a flight, the daemon, a broker and somebody who watches."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge.arguments import UsageError
from edge.cli import rejected_lines
from edge.config import CaptureConfig, Config, JournalConfig, PositionConfig
from edge.daemon import Daemon, Summary
from edge.demo.broker import EmbeddedBroker
from edge.messages import AlertMessage
from edge.watch import AlertFeed, alert_line

_SEED = 2010
_ROWS, _COLUMNS = 12, 16
_ARRIVAL_S = 10.0


def run_demo(config: Config | None, images: Path | None, position: Sequence[str] | None, keep: Path | None) -> int:
    """Fly, classify, publish, print the alerts as they come and say in the end how good it was.

    Args:
        config: Its broker, model and threshold are used; None: an embedded broker and the defaults.
        images: Folder to fly over; None: a rendered town.
        position: As ``position.sources``; None: EXIF.
        keep: Folder in which flight and journal stay; None: they are removed.

    Returns:
        The exit status: 1 if an alert did not arrive.

    Raises:
        UsageError: The folder is missing, or the demo's own packages are.
    """
    if images is not None and not images.is_dir():
        raise UsageError(f"{images}: no such folder")
    try:
        import amqtt  # noqa: F401
        import PIL  # noqa: F401
    except ImportError as error:
        raise UsageError(f"the demo needs {error.name}: install overflight[demo]") from error
    with contextlib.ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="overflight-demo-")))
        truth = None if images is not None else _fly(folder / "flight")
        uplink = config.uplink if config is not None else stack.enter_context(EmbeddedBroker()).uplink
        run_config = msgspec.structs.replace(
            config or Config(device="demo"),
            capture=CaptureConfig(source=str(images or folder / "flight"), settle_s=0.05),
            position=PositionConfig(sources=list(position or ["exif"])),
            journal=JournalConfig(path=str(folder / "journal.db")),
            uplink=uplink,
        )
        feed = stack.enter_context(AlertFeed(uplink, outdated=True))
        return _watch_run(run_config, feed, truth)


def _fly(folder: Path) -> dict[str, bool]:
    """Render the flight; returns which photos show ruins."""
    from edge.demo.flight import fly
    from edge.demo.town import render_town

    print("Rendering a town with a damaged quarter, and flying over it …", file=sys.stderr, flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    photos = fly(render_town(_SEED, _ROWS, _COLUMNS), folder, _SEED)
    return {photo.name: photo.damaged for photo in photos}


def _watch_run(config: Config, feed: AlertFeed, truth: dict[str, bool] | None) -> int:
    daemon = Daemon(config)
    journal = daemon.journal_id
    arrived: list[AlertMessage] = []
    finished = threading.Event()

    def show() -> None:
        while True:
            for alert in feed.alerts(0.2):
                if alert.properties.journal == journal:
                    print(alert_line(alert), flush=True)
                    arrived.append(alert)
            if finished.is_set():
                return

    shower = threading.Thread(target=show, name="show", daemon=True)
    shower.start()
    try:
        summary = daemon.run(once=True)
        deadline = time.monotonic() + _ARRIVAL_S
        while len(arrived) < summary.delivered and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        finished.set()
        shower.join(_ARRIVAL_S)
    print("\n" + "\n".join(_lines(summary, arrived, truth)))
    return 0 if len(arrived) == summary.alerts else 1


def _lines(summary: Summary, arrived: Sequence[AlertMessage], truth: dict[str, bool] | None) -> list[str]:
    lines = [
        f"frames      {summary.frames} classified by {summary.engine}, {summary.frames_per_s:.0f} frames/s",
        f"alerts      {summary.alerts}, of which {len(arrived)} arrived at the other end of the broker",
        *rejected_lines(summary),
    ]
    if truth is None:
        return lines
    alerted = {alert.properties.frame.name for alert in arrived}
    damaged = {name for name, is_damaged in truth.items() if is_damaged}
    right = len(alerted & damaged)
    judged = sum((name in alerted) == is_damaged for name, is_damaged in truth.items())
    lines.append(
        f"truth       {len(damaged)} of {len(truth)} photos show ruins: precision {right / max(len(alerted), 1):.1%},"
        f" recall {right / len(damaged):.1%}, {judged / len(truth):.1%} judged right"
    )
    return lines
