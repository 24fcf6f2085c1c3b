"""What a change of the model and the loss of an engine cost: ``python -m bench.swap --data ../shared/data``, or
``make bench-swap``.

Runs ``overflight run`` on harvey/validation, several times over, with a mosquitto of its own; changes the model, or kills the
worker of a stick, under full load; and reads in the journal when each frame was recorded. The machine may be shared, so the
longest pause in the same run without a change stands beside the longest one with it. The stick is a stand-in: the worker
process is the real one, its runtime takes the CPU for a stick.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.machine import describe_machine, mosquitto
from edge.bundle import SHIPPED, Bundle, Installed, PublicKey, Store, Trust, TrustedKeys
from edge.inference.openvino import IR, IR_INT8
from edge.messages import utc_now
from tests.stick import StandInStick
from trainer.keys import sign

_PAUSE_MS, _NEXT_MS, _INSTALL_S = 50, 1000, 3
_COPIES = 8
_SWAPS = 3
_LONGEST_S = 120.0
_LOOK_S = 0.05
# The first frames wait for memory and caches.
_START_UP = timedelta(seconds=0.5)
_AFTER_SWAP = timedelta(seconds=0.25)


@dataclass(frozen=True, slots=True)
class Swaps:
    """What the swaps of a run cost.

    Attributes:
        pause_ms: The longest time without a result while a new model was loaded and took over.
        usual_ms: The longest one in the rest of the run.
        new_after_ms: From the activation to the first result of the new model.
        wrong: Frames that were not observed, and observations too many.
    """

    pause_ms: float
    usual_ms: float
    new_after_ms: list[float]
    wrong: int


@dataclass(frozen=True, slots=True)
class Loss:
    """What the loss of an engine cost.

    Attributes:
        next_after_ms: From the kill to the first result of the next engine.
        wrong: Frames that were not observed, and observations too many.
    """

    next_after_ms: float
    wrong: int


def main() -> int:
    """Measure and print; returns 1 if a frame was lost or came twice, or a floor is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with harvey/validation")
    parser.add_argument("--runs", type=int, default=3, help="runs of each kind (3)")
    options = parser.parse_args()
    tiles = (options.data / "harvey" / "validation").absolute()
    if not tiles.is_dir():
        parser.error(f"{tiles}: no such folder")
    with tempfile.TemporaryDirectory() as temporary, mosquitto(Path(temporary)) as url:
        bench = Bench(Path(temporary), tiles, url)
        swaps, losses = [], []
        for _ in range(options.runs):
            # The first one finds nothing compiled for the CPU yet.
            losses.append(bench.lose())
            swaps.append(bench.swap())
        installs = [bench.install() for _ in range(options.runs)]
    wrong = sum(run.wrong for run in swaps) + sum(run.wrong for run in losses)
    _print(swaps, losses, installs, wrong)
    pause_ms, usual_ms = (statistics.median(values) for values in ([s.pause_ms for s in swaps], [s.usual_ms for s in swaps]))
    missed = [
        wrong > 0,
        # A machine that is busy with other things pauses for longer by itself.
        pause_ms > max(_PAUSE_MS, usual_ms),
        statistics.median(run.next_after_ms for run in losses) > _NEXT_MS,
        statistics.median(installs) > _INSTALL_S,
    ]
    return 1 if any(missed) else 0


class Bench:
    """A device with a store, a stick and many frames to work off."""

    def __init__(self, folder: Path, tiles: Path, url: str) -> None:
        self._folder = folder
        self._inbox = folder / "inbox"
        for number in range(_COPIES):
            shutil.copytree(tiles, self._inbox / f"{number}")
        self._frames = sum(file.is_file() for file in self._inbox.rglob("*"))
        self._stick = StandInStick(folder / "stick")
        self._url = url
        self._key = Ed25519PrivateKey.generate()
        public = PublicKey(self._key.public_key().public_bytes_raw(), "bench")
        self._trust = Trust(TrustedKeys((public,)))
        (folder / "keys").mkdir()
        (folder / "keys" / "bench.pub").write_text(public.text)
        shipped = Bundle.shipped().model
        self._bundles = [self._reissue(shipped.version + 1 + number) for number in range(2)]

    def swap(self) -> Swaps:
        """Change the model to and fro while frames run."""
        store, models = self._new_store()
        # The first change in each run finds nothing compiled.
        shutil.rmtree(self._folder / "cache", ignore_errors=True)
        changes = []
        with self._running({}):
            self._wait_for_frames(self._frames // (_SWAPS + 1) // 2)
            for number in range(_SWAPS):
                new = models[(number + 1) % 2]
                changes.append((f"{new.name}-{new.version}", utc_now()))
                store.activate(new.path.name, self._trust)
                self._wait_for_result("model", *changes[-1])
                self._wait_for_frames(self._frames * (number + 1) // (_SWAPS + 1))
            self._wait_for_frames(self._frames)
        firsts = [(since, self._first_result("model", name, since)) for name, since in changes]
        times = self._times()
        gaps = [gap for gap in pairwise(times) if gap[0] > times[0] + _START_UP]
        during = [gap for gap in gaps if any(gap[1] > since and gap[0] < first + _AFTER_SWAP for since, first in firsts)]
        usual = set(gaps) - set(during)
        return Swaps(_longest_ms(during), _longest_ms(usual), [_ms(first - since) for since, first in firsts], self._wrong())

    def lose(self) -> Loss:
        """Kill the worker of the stick while frames run."""
        self._new_store()
        self._stick.put_in()
        with self._running({"devices": ["MYRIAD", "CPU"], "myriad_python": str(self._stick.python)}) as daemon:
            self._wait_for_frames(self._frames // 20)
            self._stick.pull()
            (worker,) = (child for child in psutil.Process(daemon.pid).children() if "worker.py" in " ".join(child.cmdline()))
            killed = utc_now()
            worker.kill()
            self._wait_for_frames(self._frames)
        return Loss(_ms(self._first_result("device", "CPU", killed) - killed), self._wrong())

    def install(self) -> float:
        """Seconds of ``overflight model install`` of what is shipped into an empty store, from process start to end."""
        shutil.rmtree(self._folder / "models", ignore_errors=True)
        config = self._config({"devices": "auto"})
        command = [sys.executable, "-m", "edge", "model", "install", "-c", str(config), str(self._bundles[0])]
        begun = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - begun

    def _reissue(self, version: int) -> Path:
        """The shipped bundle with another version and weights that nobody has compiled, signed by a key of the bench's own."""
        folder = self._folder / f"bundle-{version}"
        shutil.copytree(SHIPPED, folder)
        manifest = json.loads((folder / "manifest.json").read_bytes()) | {"version": version}
        for name in (IR[1], IR_INT8[1]):
            weights = bytearray((folder / name).read_bytes())
            # The lowest bits of one weight in the middle.
            weights[len(weights) // 2] ^= version % 4
            (folder / name).write_bytes(weights)
            manifest["files"][name]["sha256"] = hashlib.sha256(weights).hexdigest()
        content = json.dumps(manifest).encode()
        (folder / "manifest.json").write_bytes(content)
        (folder / "manifest.sig").write_bytes(sign(content, self._key))
        return folder

    def _new_store(self) -> tuple[Store, list[Installed]]:
        """A store whose first bundle is active, and an empty journal; what was compiled before stays."""
        for name in ("models", "state"):
            shutil.rmtree(self._folder / name, ignore_errors=True)
        store = Store(self._folder / "models")
        models = [store.install(bundle, self._trust, lambda bundle: None) for bundle in self._bundles]
        store.activate(models[0].path.name, self._trust)
        return store, models

    def _config(self, model: dict[str, Any]) -> Path:
        paths = {name: str(self._folder / folder) for name, folder in (("store", "models"), ("trusted_keys", "keys"))}
        config = {
            "capture": {"source": str(self._inbox)},
            "model": {"devices": ["CPU"], "cache": str(self._folder / "cache")} | paths | model,
            "uplink": {"url": self._url},
            "journal": {"path": str(self._journal)},
        }
        file = self._folder / "overflight.yaml"
        file.write_text(yaml.safe_dump(config))
        return file

    @contextmanager
    def _running(self, model: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
        """The daemon while the block lasts, and until it has stopped."""
        command = [sys.executable, "-m", "edge", "run", "-c", str(self._config(model))]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as daemon:
            try:
                yield daemon
            finally:
                daemon.send_signal(signal.SIGTERM)

    @property
    def _journal(self) -> Path:
        return self._folder / "state" / "journal.db"

    def _ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What the journal says; nothing before it exists."""
        if not self._journal.exists():
            return []
        with closing(sqlite3.connect(f"file:{self._journal}?mode=ro", uri=True, timeout=10)) as database:
            try:
                return database.execute(query, values).fetchall()
            except sqlite3.OperationalError:
                return []

    def _wait_for_frames(self, count: int) -> None:
        _wait(lambda: self._ask("SELECT 1 FROM frames HAVING max(frame) >= ?", count) != [])

    def _wait_for_result(self, column: str, value: str, since: datetime) -> None:
        """Wait until there is an observation of a model, or a device, since then."""
        query = f"SELECT 1 FROM results WHERE {column} = ? AND recorded_ms >= ? LIMIT 1"
        _wait(lambda: self._ask(query, value, since.timestamp() * 1000) != [])

    def _first_result(self, column: str, value: str, since: datetime) -> datetime:
        """When the first observation since then of a model, or a device, was recorded."""
        query = f"SELECT min(recorded_ms) FROM results WHERE {column} = ? AND recorded_ms >= ?"
        ((first_ms,),) = self._ask(query, value, since.timestamp() * 1000)
        return datetime.fromtimestamp(first_ms / 1000, UTC)

    def _times(self) -> list[datetime]:
        """When each frame was recorded, in order."""
        times_ms = self._ask("SELECT recorded_ms FROM frames ORDER BY recorded_ms")
        return [datetime.fromtimestamp(time_ms / 1000, UTC) for (time_ms,) in times_ms]

    def _wrong(self) -> int:
        """Frames that were not observed, and observations too many."""
        ((observations, frames),) = self._ask("SELECT count(*), count(DISTINCT frame) FROM results WHERE label IS NOT NULL")
        return int(self._frames - frames + observations - frames)


def _ms(duration: timedelta) -> float:
    return duration / timedelta(milliseconds=1)


def _longest_ms(gaps: Iterable[tuple[datetime, datetime]]) -> float:
    return max(_ms(end - begin) for begin, end in gaps)


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LONGEST_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the daemon did not come so far in time")
        time.sleep(_LOOK_S)


def _print(swaps: list[Swaps], losses: list[Loss], installs: list[float], wrong: int) -> None:
    cold, *warm = (run.next_after_ms for run in losses)
    print(f"measured on {describe_machine()}; {len(swaps)} runs with {_SWAPS} swaps each, median (least to most);")
    print("the first swap of each run finds nothing compiled\n\n| what | floor | measured |\n| --- | --- | --- |")
    pauses = _spread([s.pause_ms for s in swaps])
    print(f"| longest pause between two results while the model is swapped | {_PAUSE_MS} ms | {pauses} ms |")
    print(f"| longest pause in the same runs without a swap | | {_spread([s.usual_ms for s in swaps])} ms |")
    print(f"| activation to the first result of the new model | | {_spread([ms for s in swaps for ms in s.new_after_ms])} ms |")
    print(f"| kill of an engine to the first result of the next (CPU), cold cache | {_NEXT_MS} ms | {cold:.0f} ms |")
    if warm:
        print(f"| the same, warm cache | {_NEXT_MS} ms | {_spread(warm)} ms |")
    print(f"| frames lost or doubled in all of these runs | 0 | {wrong} |")
    print(f"| `overflight model install` of the shipped bundle | {_INSTALL_S} s | {_spread(installs, 2)} s |")


def _spread(values: list[float], digits: int = 0) -> str:
    middle = f"{statistics.median(values):.{digits}f}"
    return f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 else middle


if __name__ == "__main__":
    sys.exit(main())
