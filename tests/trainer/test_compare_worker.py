"""The workers of a comparison: what they import, what they answer, and that none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from trainer.compare.engines import ENGINES
from trainer.compare.process import Worker, WorkerError
from trainer.compare.protocol import Failed, Latency, Load, Loaded, Probabilities, Timed, Written, decode_answer

RUNTIMES = {"litert": "ai_edge_litert", "openvino-fp16": "openvino", "onnxruntime": "onnxruntime", "savedmodel": "tensorflow"}
# Fixtures train and export.
pytestmark = pytest.mark.timeout(400)


def gone(pid: int) -> bool:
    """Whether a process ends within moments; one that nobody waits for may stay as a zombie."""
    try:
        process = psutil.Process(pid)
        for _ in range(600):
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            time.sleep(0.05)
    except psutil.NoSuchProcess:
        return True
    return False


def load(export: Path, pixels: Path, engine: str) -> Load:
    return Load(engine, str(export / ENGINES[engine].path), str(pixels), threads=1, temperature=1.0)


@pytest.fixture(scope="module")
def pixels(rendered_images: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pixels") / "pixels.npy"
    np.save(path, rendered_images[..., ::-1])
    return path


@pytest.mark.parametrize("engine", ["litert", "openvino-fp16", "onnxruntime"])
def test_a_worker_imports_only_the_runtime_that_it_measures(exported: Path, pixels: Path, engine: str) -> None:
    with Worker(60.0) as worker:
        worker.ask(load(exported, pixels, engine), Loaded)
        libraries = (Path(mapped.path) for mapped in psutil.Process(worker.pid).memory_maps() if ".so" in mapped.path)
        packages = {part for library in libraries for part in library.parts}
        assert packages & set(RUNTIMES.values()) == {RUNTIMES[engine]}


def test_a_worker_answers_in_lines_and_ends_when_it_is_asked_no_more(exported: Path, pixels: Path, tmp_path: Path) -> None:
    lines = b'no json\n{"type":"throughput","samples":1}\n{"type":"sing"}\n'
    done = subprocess.run(
        [sys.executable, "-m", "trainer.compare.worker"], input=lines, capture_output=True, check=False, timeout=60
    )
    answers = [decode_answer(line) for line in done.stdout.splitlines()]
    assert [type(answer) for answer in answers] == [Failed, Failed, Failed]
    assert answers[1] == Failed("Throughput before Load")
    assert done.returncode == 0

    with Worker(60.0) as worker:
        loaded = worker.ask(load(exported, pixels, "litert"), Loaded)
        assert loaded.versions.keys() == {"ai-edge-litert"}
        assert len(worker.ask(Latency(least=3, most=3, enough_s=0.0), Timed).seconds) == 3
        worker.ask(Probabilities(str(tmp_path / "answers.npy")), Written)
        answered = np.load(tmp_path / "answers.npy")
        assert answered.shape == (16, 2)
        assert np.allclose(answered.sum(axis=1), 1, atol=1e-3)
        with pytest.raises(WorkerError, match="a second time"):
            worker.ask(load(exported, pixels, "litert"), Loaded)
        assert gone(worker.pid)


def test_a_worker_that_hangs_is_killed(exported: Path, pixels: Path) -> None:
    with Worker(60.0) as worker:
        worker.ask(load(exported, pixels, "litert"), Loaded)
        worker._limit_s = 0.5
        os.kill(worker.pid, signal.SIGSTOP)
        with pytest.raises(WorkerError, match=r"no answer within 0\.5 s"):
            worker.ask(Latency(least=1, most=1, enough_s=0.0), Timed)
        assert gone(worker.pid)
        with pytest.raises(WorkerError, match="gone"):
            worker.ask(Latency(least=1, most=1, enough_s=0.0), Timed)


def test_workers_do_not_outlive_a_comparison_that_is_killed() -> None:
    script = (
        "from trainer.compare.process import Worker; import time; w = Worker(9.0); print(w.pid, flush=True); time.sleep(99)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert psutil.pid_exists(pid)
        process.kill()
    assert gone(pid)
