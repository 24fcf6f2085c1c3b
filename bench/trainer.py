"""What the trainer promises in seconds: ``python -m bench.trainer --data ../shared/data``, or ``make bench-trainer``.

Measures how long ``overflight-train fit`` takes, from the start of the process to its end, until the network knows the Haiti
tiles that it learned from; and how fast the shipped network answers one tile in INT8 beside the network of 2020 in FP32, on
the same machine in the same minutes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import describe_machine
from edge.bundle import Bundle
from edge.inference.openvino import IR_INT8, fix_shape, import_openvino

_EPOCHS = 24
_REPEATS = 4
_CALLS = 200


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with haiti")
    parser.add_argument("--runs", type=int, default=5, help="turns of each network (5)")
    options = parser.parse_args()
    if not (options.data / "haiti").is_dir():
        parser.error(f"{options.data / 'haiti'}: no such folder")
    seconds, accuracy = _fit_haiti(options.data / "haiti")
    models = _models()
    latencies = {threads: _latencies(models, options.runs, threads) for threads in sorted({1, len(os.sched_getaffinity(0))})}
    print(f"measured on {describe_machine()}\n")
    print("| what | floor | measured |\n| --- | --- | --- |")
    print(f"| `fit` on the Haiti tiles, process start to end | 60 s | {seconds:.0f} s |")
    print(f"| accuracy on the tiles that it learned from | 93 % | {accuracy:.1%} |")
    for threads, (shipped, seed) in latencies.items():
        ratios = [one / other for one, other in zip(shipped, seed, strict=True)]
        on = f"{threads} thread{'s' * (threads > 1)}"
        print(f"| one tile on {on}, shipped network in INT8 | | {_spread(shipped)} ms |")
        print(f"| one tile on {on}, network of 2020 in FP32 | | {_spread(seed)} ms |")
        print(f"| ratio of these, within each turn | 0.2 | {_spread(ratios)} |")
    return 0


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _fit_haiti(folder: Path) -> tuple[float, float]:
    """Seconds of the whole command, and the accuracy on what it learned from, 0..1."""
    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary) / "run"
        data = ["--data", f"haiti*{_REPEATS}:{folder}"]
        training = ["--epochs", str(_EPOCHS), "--batch", "32", "--learning-rate", "0.002", "--augmentation", "strong"]
        begun = time.monotonic()
        subprocess.run([sys.executable, "-m", "trainer", "fit", *data, *training, "--out", str(run)], check=True)
        seconds = time.monotonic() - begun
        from trainer.quiet import import_tensorflow

        import_tensorflow()
        from trainer.datasets import read_all, split_all
        from trainer.metrics import score
        from trainer.predict import open_predictor
        from trainer.run import Run

        finished = Run.open(run)
        learned = split_all(read_all(finished.data), finished.split)[0].train
        return seconds, score(open_predictor(run).probabilities(learned.images), learned.labels)["accuracy"]


def _models() -> tuple[Any, Any]:
    """The shipped network in INT8 and the network of 2020 in FP32, for single tiles of their own size as on the device."""
    from trainer.export.formats import saved_model_to_ir, write_saved_model
    from trainer.export.sources import open_network
    from trainer.networks import build

    openvino = import_openvino()
    bundle = Bundle.shipped()
    xml, weights = (bundle.read(name) for name in IR_INT8)
    shipped = openvino.Core().read_model(xml, openvino.Tensor(np.frombuffer(weights, np.uint8)))
    with tempfile.TemporaryDirectory() as temporary:
        write_saved_model(open_network(build("seed-cnn", 2, 128), ("damaged", "undamaged")), Path(temporary))
        seed = saved_model_to_ir(Path(temporary))
    for model in (shipped, seed):
        fix_shape(model, (1, 128, 128, 3))
    return shipped, seed


def _latencies(models: tuple[Any, Any], runs: int, threads: int) -> tuple[list[float], list[float]]:
    """Median milliseconds for one tile of each turn, by the first model and by the second."""
    openvino = import_openvino()
    core = openvino.Core()
    properties = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    requests = [core.compile_model(model, "CPU", properties).create_infer_request() for model in models]
    tile = np.random.default_rng(1).integers(0, 256, (1, 128, 128, 3), np.uint8)
    for request in requests:
        # Set once, as the device does.
        request.set_input_tensor(openvino.Tensor(tile.copy()))
    turns = [[_latency(request) for request in requests] for _ in range(runs)]
    return [turn[0] for turn in turns], [turn[1] for turn in turns]


def _latency(request: Any) -> float:
    took = []
    for _ in range(_CALLS):
        begun = time.perf_counter()
        request.infer()
        took.append((time.perf_counter() - begun) * 1000)
    return statistics.median(took)


if __name__ == "__main__":
    sys.exit(main())
