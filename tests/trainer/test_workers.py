"""One training on several machines: here two processes of one, each with its half of every batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import PROJECT, free_port
from tests.trainer.tints import tints
from trainer.run import Run

WORKER = """
import hashlib, json, sys
from pathlib import Path
from trainer.quiet import import_tensorflow
import_tensorflow()
import trainer.fit
from tests.trainer.tints import tints
from trainer.datasets import SplitRule
from trainer.fit.learner import Learner

class Watched(Learner):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        seen["learner"] = self

    def epoch(self, batches, seed):
        seen["share"] = batches.element_spec[0].shape[0]
        return super().epoch(batches, seed)

seen = {}
sys.modules["trainer.fit.fit"].Learner = Watched
parameters = trainer.fit.FitParameters(tile_px=32, epochs=4, batch=12, learning_rate=1e-3, patience=3)
run = trainer.fit.fit([tints()], ["tints"], SplitRule(folds=4), parameters, Path(sys.argv[1]))
weights = b"".join(weight.tobytes() for weight in seen["learner"].weights())
result = {"weights": hashlib.sha256(weights).hexdigest(), "share": seen["share"], "metrics": run.record["metrics"]}
print(json.dumps(result | {"steps": int(seen["learner"]._optimizer.iterations.numpy())}))
"""


@pytest.mark.timeout(300)
def test_two_workers_train_one_network(tmp_path: Path) -> None:
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    workers = []
    for index in range(2):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        command = [sys.executable, "-c", WORKER, str(tmp_path / "run")]
        environment = os.environ | {"TF_CONFIG": json.dumps(config), "PYTHONPATH": str(PROJECT)}
        workers.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    try:
        results: list[dict[str, Any]] = []
        for worker in workers:
            output, said = worker.communicate(timeout=250)
            assert worker.returncode == 0, said
            results.append(json.loads(output))
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    # Both have the same weights, statistics of batch norms included, and so judged and would have stopped alike.
    assert results[0] == results[1]
    history = Run.open(tmp_path / "run").record["history"]
    assert results[0]["share"] == 6
    # Of 36 tiles to learn from a tenth is watched; what is left makes two whole batches.
    assert results[0]["steps"] == 2 * len(history)
    assert history[-1]["loss"] < history[0]["loss"]
    # The chief alone wrote, and what it wrote is what was measured.
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == ["model.keras", "run.json"]
    run = Run.open(tmp_path / "run")
    assert run.record["workers"] == 2
    assert run.record["metrics"] == results[0]["metrics"]
    assert run.network()(tints(2).tiles.images.astype(np.float32)).shape == (2, 2)
