"""How fast the daemon is on real tiles: ``python -m bench.edge --data ../shared/data``, or ``make bench``.

Measures ``overflight run --once`` on harvey/validation with a mosquitto of its own, several times, beside the limit of the
same machine in the same minutes: the same IR on all cores in full batches, and decoding alone. The machine may be shared,
so the ratio tells more than the frames per second.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from bench.machine import describe_machine, mosquitto
from edge.bundle import Bundle
from edge.capture.image import decode
from edge.inference import Classifier, Devices
from edge.inference.engine import BATCH
from edge.journal import read_alerts

_NAME = r"filename:(?P<longitude>-?\d+\.\d+)_(?P<latitude>-?\d+\.\d+)"


def main() -> int:
    """Measure and print; returns 1 if a tile or an alert was lost or misplaced."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with harvey/validation")
    parser.add_argument("--runs", type=int, default=5, help="runs, interleaved with the limit (5)")
    options = parser.parse_args()
    tiles = (options.data / "harvey" / "validation").absolute()
    if not tiles.is_dir():
        parser.error(f"{tiles}: no such folder")
    with tempfile.TemporaryDirectory() as temporary, mosquitto(Path(temporary)) as url:
        limits, runs = [], []
        for index in range(options.runs):
            limits.append(_limit(tiles))
            runs.append(_run(Path(temporary), tiles, url, keep_cache=index > 0))
    _print(limits, runs)
    return 0 if all(run["complete"] for run in runs) else 1


def _run(folder: Path, tiles: Path, url: str, *, keep_cache: bool) -> dict[str, Any]:
    """One run with a new journal: its summary, whether it is complete, and its CPU time."""
    if not keep_cache:
        shutil.rmtree(folder / "cache", ignore_errors=True)
    journal = folder / "state" / "journal.db"
    shutil.rmtree(journal.parent, ignore_errors=True)
    config = {
        "capture": {"source": str(tiles)},
        "position": {"sources": [_NAME]},
        "model": {"cache": str(folder / "cache")},
        "uplink": {"url": url},
        "journal": {"path": str(journal)},
    }
    file = folder / "overflight.yaml"
    file.write_text(yaml.safe_dump(config))
    before = os.times()
    finished = subprocess.run(
        [sys.executable, "-m", "edge", "run", "--once", "--json", "-c", file], capture_output=True, text=True, check=True
    )
    after = os.times()
    summary: dict[str, Any] = json.loads(finished.stdout)
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return summary | {"complete": _is_complete(journal, tiles), "cpu_s": spent}


def _is_complete(journal: Path, tiles: Path) -> bool:
    """One observation for each tile, no alert waiting, each with the coordinates that its file's name says."""
    expected = sum(1 for file in tiles.rglob("*") if file.is_file())
    with sqlite3.connect(journal) as database:
        observed = database.execute("SELECT count(*), count(DISTINCT frame) FROM results WHERE label IS NOT NULL").fetchone()
        waiting = database.execute("SELECT count(*) FROM alerts WHERE delivered = 0").fetchone()[0]
    alerts = [json.loads(message) for _, message, _ in read_alerts(journal)]
    placed = all(
        alert["geometry"]["coordinates"]
        == [float(part) for part in re.findall(r"-?\d+\.\d+", alert["properties"]["frame"]["name"])[:2]]
        for alert in alerts
    )
    return (
        bool(alerts)
        and observed == (expected, expected)
        and waiting == 0
        and placed
        and len({alert["id"] for alert in alerts}) == len(alerts)
    )


def _limit(tiles: Path) -> float:
    """Tiles/s if nothing but decoding and inference were to be done, each of them on all cores in turn."""
    classifier = Classifier(Bundle.shipped(), Devices(["CPU"]))
    contents = [file.read_bytes() for file in sorted(tiles.rglob("*.jpeg"))]
    images = [decode(content, (classifier.input.height, classifier.input.width), 10**8).pixels for content in contents[:BATCH]]

    def infer() -> None:
        running = classifier.start(images)
        for _ in range(len(contents) // BATCH // 2 - 1):
            started = classifier.start(images)
            running[0].predictions()
            running = started
        running[0].predictions()

    def decode_half(half: int) -> None:
        for content in contents[half::2]:
            decode(content, (classifier.input.height, classifier.input.width), 10**8)

    infer()
    inference_s = _seconds(infer, infer)
    decoding_s = _seconds(lambda: decode_half(0), lambda: decode_half(1))
    return len(contents) / (inference_s + decoding_s)


def _seconds(*works: Callable[[], None]) -> float:
    threads = [threading.Thread(target=work) for work in works]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def _import_seconds() -> tuple[float, str]:
    """Time of ``import edge`` in a new process, and which of the heavy modules it brought."""
    code = (
        "import sys, time; t = time.perf_counter(); import edge; s = time.perf_counter() - t;"
        "print(s, ','.join(m for m in ('tensorflow', 'openvino', 'cv2', 'numpy') if m in sys.modules) or 'none')"
    )
    outputs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(5)
    ]
    return statistics.median(float(output[0]) for output in outputs), outputs[0][1]


def _print(limits: list[float], runs: list[dict[str, Any]]) -> None:
    speeds = [run["frames_per_s"] for run in runs]
    ratios = [speed / limit for speed, limit in zip(speeds, limits, strict=True)]
    warm = [run["first_result_s"] for run in runs[1:]] or [runs[0]["first_result_s"]]
    import_s, brought = _import_seconds()
    complete = all(run["complete"] for run in runs)
    table = [
        ("2,000 tiles: one observation each, alerts acknowledged", "all", "yes" if complete else "NO"),
        ("tiles/s from first file to last PUBACK, start-up left out", "1500", _spread(speeds, "{:.0f}")),
        ("the same against the limit of this machine", "", _spread(ratios, "{:.2f}")),
        ("limit: decoding and inference alone, tiles/s", "", _spread(limits, "{:.0f}")),
        ("start of the process to first result, cold cache, s", "1.5", f"{runs[0]['first_result_s']:.2f}"),
        ("start of the process to first result, warm cache, s", "1.0", _spread(warm, "{:.2f}")),
        ("largest resident memory, MB", "200", _spread([run["process_memory_peak_bytes"] / 1e6 for run in runs], "{:.0f}")),
        (
            "CPU seconds for 1,000 tiles, start-up included",
            "",
            _spread([run["cpu_s"] / run["frames"] * 1000 for run in runs], "{:.2f}"),
        ),
        (f"import edge, s (heavy modules: {brought})", "0.3", f"{import_s:.3f}"),
    ]
    print(f"{describe_machine()}\n{len(runs)} runs; median (least to most)\n")
    print(f"{'what':60}{'floor':>8}  measured")
    for what, floor, measured in table:
        print(f"{what:60}{floor:>8}  {measured}")


def _spread(values: list[float], form: str) -> str:
    text = form.format(statistics.median(values))
    return f"{text} ({form.format(min(values))} to {form.format(max(values))})" if len(values) > 1 else text


if __name__ == "__main__":
    sys.exit(main())
