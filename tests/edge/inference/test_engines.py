"""The engines: each gives the right answer, and all give the same one, whatever the size and number of the images."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.bundle import ANYONE, Bundle
from edge.inference.engine import BATCH, Engine, Mode
from edge.inference.openvino import OpenVinoEngine
from edge.inference.tensorflow import LiteRtEngine, TensorFlowEngine

# One image for every way through an engine: the model's own size, larger, smaller, and sides that nothing divides.
SIZES = ((128, 128), (256, 256), (97, 131), (201, 75), (333, 500), (64, 64))

Tiles = list[tuple[np.ndarray, bool]]

# TensorFlow takes 600 MB and the runtimes do not love each other: it gets a process of its own.
WITH_TENSORFLOW = """
import sys
import numpy as np
sys.modules["ai_edge_litert"] = None
from edge.bundle import Bundle
from edge.inference.tensorflow import load_tensorflow
engine = load_tensorflow(Bundle.shipped())
images = np.load(sys.argv[1])
results = [engine.start([images[key]]).result().probabilities[0] for key in images.files]
stacks = {}
for key in images.files:
    stacks.setdefault(images[key].shape, []).append(images[key])
largest = max(stacks.values(), key=len)[:8]
np.savez(sys.argv[2], name=engine.name, single=results, batch=engine.start(largest).result().probabilities)
"""


@pytest.fixture(scope="module")
def openvino() -> OpenVinoEngine:
    return OpenVinoEngine(Bundle.shipped(), "CPU", "throughput", None)


@pytest.fixture(scope="module")
def openvino_float(float_bundle: Path) -> OpenVinoEngine:
    return OpenVinoEngine(Bundle.open(float_bundle, ANYONE), "CPU", "throughput", None)


@pytest.fixture(scope="module")
def litert() -> LiteRtEngine:
    return LiteRtEngine(Bundle.shipped())


@pytest.fixture(scope="module")
def images(town_tiles: Tiles) -> list[np.ndarray]:
    """Rendered tiles at all sizes, (height, width)."""
    return [
        cv2.resize(tile, (width, height), interpolation=cv2.INTER_AREA) for height, width in SIZES for tile, _ in town_tiles[:6]
    ]


def judge(engine: Engine, images: Sequence[np.ndarray]) -> np.ndarray:
    """Probabilities of images, each in a request of its own."""
    return np.concatenate([engine.start([image]).result().probabilities for image in images])


def harvey(data: Path, count: int) -> list[np.ndarray]:
    files = [
        file for name in ("damage", "no_damage") for file in sorted((data / "harvey/validation" / name).iterdir())[: count // 2]
    ]
    return [cv2.imread(str(file)) for file in files]


def judge_with_tensorflow(folder: Path, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    np.savez(folder / "images.npz", *images)
    arguments = [sys.executable, "-c", WITH_TENSORFLOW, folder / "images.npz", folder / "judged.npz"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(folder / "judged.npz") as judged:
        return dict(judged)


def assert_same(one: np.ndarray, other: np.ndarray, tolerance: float) -> None:
    np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize("side", [128, 256])
def test_openvino_judges_rendered_tiles_right(openvino: OpenVinoEngine, town_tiles: Tiles, side: int) -> None:
    labels = Bundle.shipped().manifest.labels
    tiles = [cv2.resize(tile, (side, side), interpolation=cv2.INTER_AREA) for tile, _ in town_tiles]
    said = [labels[row.argmax()] == "damaged" for row in judge(openvino, tiles)]
    assert np.mean([answer == truth for answer, (_, truth) in zip(said, town_tiles, strict=True)]) >= 0.95


def test_openvino_judges_real_tiles_of_a_hurricane_right(openvino: OpenVinoEngine, data: Path) -> None:
    labels = Bundle.shipped().manifest.labels
    said = [labels[row.argmax()] for row in judge(openvino, harvey(data, 50))]
    assert np.mean([answer == truth for answer, truth in zip(said, ["damaged"] * 25 + ["undamaged"] * 25, strict=True)]) >= 0.85


def test_probabilities_sum_to_one(openvino: OpenVinoEngine, litert: LiteRtEngine, images: list[np.ndarray]) -> None:
    for engine in (openvino, litert):
        probabilities = judge(engine, images)
        assert probabilities.dtype == np.float32
        assert (probabilities >= 0).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("side", [128, 256])
@pytest.mark.parametrize("count", [2, 3, BATCH])
def test_an_image_is_judged_the_same_in_a_batch_as_alone(
    openvino: OpenVinoEngine, litert: LiteRtEngine, town_tiles: Tiles, side: int, count: int
) -> None:
    # Several of the model's own size take another graph than all else.
    tiles = [cv2.resize(tile, (side, side), interpolation=cv2.INTER_AREA) for tile, _ in town_tiles[:count]]
    for engine in (openvino, litert):
        assert_same(engine.start(tiles).result().probabilities, judge(engine, tiles), 1e-5)


@pytest.mark.parametrize("mode", ["throughput", "latency"])
def test_both_modes_give_the_same(litert: LiteRtEngine, float_bundle: Path, town_tiles: Tiles, mode: Mode) -> None:
    tiles = [cv2.resize(tile, (128, 128), interpolation=cv2.INTER_AREA) for tile, _ in town_tiles[:BATCH]]
    engine = OpenVinoEngine(Bundle.open(float_bundle, ANYONE), "CPU", mode, None)
    assert_same(engine.start(tiles).result().probabilities, judge(litert, tiles), 1e-3)


def test_requests_that_run_at_once_do_not_share_their_pixels(openvino: OpenVinoEngine, images: list[np.ndarray]) -> None:
    alone = judge(openvino, images)
    running = [openvino.start([image]) for image in images]
    assert_same(np.concatenate([request.result().probabilities for request in running]), alone, 1e-5)
    # Requests are used again: what an earlier one left behind must not show.
    running = [openvino.start([image]) for image in reversed(images)]
    assert_same(np.concatenate([request.result().probabilities for request in running]), alone[::-1], 1e-5)


def test_results_are_not_overwritten_by_the_next_request(
    openvino: OpenVinoEngine, litert: LiteRtEngine, images: list[np.ndarray]
) -> None:
    for engine in (openvino, litert):
        first = engine.start([images[0]]).result().probabilities
        kept = first.copy()
        for image in images[1:6]:
            engine.start([image]).result()
        assert (first == kept).all()


def test_image_that_is_a_view_into_another_is_judged_by_its_own_pixels(
    openvino: OpenVinoEngine, litert: LiteRtEngine, town_tiles: Tiles
) -> None:
    # A tile is cut out of a frame without a copy.
    frame = np.hstack([town_tiles[0][0], town_tiles[1][0]])
    view = frame[::2, 256::2]
    assert not view.flags.c_contiguous
    for engine in (openvino, litert):
        assert_same(judge(engine, [view]), judge(engine, [view.copy()]), 1e-6)


def test_time_of_a_request_is_told(openvino: OpenVinoEngine, litert: LiteRtEngine, images: list[np.ndarray]) -> None:
    for engine in (openvino, litert):
        assert engine.start([images[0]]).result().elapsed_ms > 0


def test_litert_agrees_with_openvino_at_all_sizes(
    openvino_float: OpenVinoEngine, litert: LiteRtEngine, images: list[np.ndarray]
) -> None:
    assert_same(judge(litert, images), judge(openvino_float, images), 1e-3)


def test_litert_agrees_with_openvino_on_real_tiles(openvino_float: OpenVinoEngine, litert: LiteRtEngine, data: Path) -> None:
    tiles = harvey(data, 50)
    assert_same(judge(litert, tiles), judge(openvino_float, tiles), 1e-3)


def test_tensorflow_agrees_with_openvino_at_all_sizes(
    tmp_path: Path, openvino_float: OpenVinoEngine, images: list[np.ndarray]
) -> None:
    judged = judge_with_tensorflow(tmp_path, images)
    assert judged["name"] == TensorFlowEngine.name
    assert_same(judged["single"], judge(openvino_float, images), 1e-3)
    assert_same(judged["batch"], judged["single"][:6], 1e-5)


def test_tensorflow_agrees_with_openvino_on_real_tiles(tmp_path: Path, openvino_float: OpenVinoEngine, data: Path) -> None:
    tiles = harvey(data, 50)
    judged = judge_with_tensorflow(tmp_path, tiles)
    assert_same(judged["single"], judge(openvino_float, tiles), 1e-3)
    assert_same(judged["batch"], judged["single"][:BATCH], 1e-5)


def test_int8_is_what_a_cpu_runs_and_decides_as_the_float_network_does(
    openvino: OpenVinoEngine, openvino_float: OpenVinoEngine, images: list[np.ndarray]
) -> None:
    quantized, exact = judge(openvino, images), judge(openvino_float, images)
    assert np.abs(quantized - exact).max() > 1e-4
    assert (quantized.argmax(axis=1) == exact.argmax(axis=1)).mean() >= 0.9


def test_compiled_models_are_kept_in_the_cache_folder_and_give_the_same(tmp_path: Path, images: list[np.ndarray]) -> None:
    first = judge(OpenVinoEngine(Bundle.shipped(), "CPU", "latency", tmp_path), images)
    assert any(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    again = judge(OpenVinoEngine(Bundle.shipped(), "CPU", "latency", tmp_path), images)
    assert_same(first, again, 1e-6)


@pytest.mark.parametrize("damage", ["half", "empty", "zeros"])
def test_damaged_cache_costs_nothing_but_time(tmp_path: Path, images: list[np.ndarray], damage: str) -> None:
    first = judge(OpenVinoEngine(Bundle.shipped(), "CPU", "latency", tmp_path), images)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files
    for file in files:
        # As a power cut leaves a file that was being written.
        size = file.stat().st_size
        os.truncate(file, size // 2 if damage == "half" else 0)
        if damage == "zeros":
            os.truncate(file, size)
    again = judge(OpenVinoEngine(Bundle.shipped(), "CPU", "latency", tmp_path), images)
    assert_same(first, again, 1e-6)
