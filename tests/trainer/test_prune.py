"""``prune``: what was asked for is zero and stays so, and the report says what it did."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from trainer.cli import main
from trainer.networks import build
from trainer.predict import open_predictor
from trainer.prune import Masks, PruneError, PruneParameters, prune, sparsity_at
from trainer.prune.report import verdict
from trainer.run import Run

# Rendering, training, converting and timing take a while where other things run, too.
pytestmark = pytest.mark.timeout(300)


def kernels(run: Path) -> list[np.ndarray]:
    model = Run.open(run).network()
    return [layer.kernel.numpy() for layer in model.layers if hasattr(layer, "kernel")]


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err
    assert said.startswith("overflight-train: ")
    assert said.count("\n") == 1, said
    return said


@pytest.fixture(scope="module")
def pruned_run(tmp_path_factory: pytest.TempPathFactory, fitted_run: Path) -> Path:
    """The run, pruned to three weights of ten."""
    target = tmp_path_factory.mktemp("pruned") / "run"
    assert main(["prune", str(fitted_run), "--sparsity", "0.7", "--epochs", "2", "--out", str(target)]) == 0
    return target


def test_saved_network_has_the_wanted_zeros_in_each_layer(pruned_run: Path, fitted_run: Path) -> None:
    # What is saved are averaged weights: a run averages by default, and averages remember what is zero now.
    assert Run.open(fitted_run).record["parameters"]["average"] > 0
    first, *pruned, last = kernels(pruned_run)
    for kernel in pruned:
        assert abs((kernel == 0).sum() - 0.7 * kernel.size) <= 1
    assert first.all()
    assert last.all()
    for before, after in zip(kernels(fitted_run), kernels(pruned_run), strict=True):
        assert before.shape == after.shape
        assert not np.array_equal(before, after)


def test_outcome_is_a_run_like_any_other(pruned_run: Path, fitted_run: Path, rendered_images: np.ndarray) -> None:
    run, original = Run.open(pruned_run), Run.open(fitted_run)
    assert {path.name for path in pruned_run.iterdir()} == {
        "model.keras",
        "run.json",
        "prune.json",
        "prune.md",
        "tensorboard",
    }
    assert set(original.record) | {"pruned"} == set(run.record)
    assert (run.labels, run.data, run.split) == (original.labels, original.data, original.split)
    assert run.record["data"] == original.record["data"]
    assert len(run.record["history"]) == run.record["parameters"]["epochs"] == 2
    assert run.record["pruned"]["from"] == str(fitted_run)
    probabilities = open_predictor(pruned_run).probabilities(rendered_images)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_report_has_sparsity_accuracy_size_and_speed(pruned_run: Path, fitted_run: Path) -> None:
    report = json.loads((pruned_run / "prune.json").read_text())
    by_name = {layer["name"]: layer for layer in report["layers"]}
    # Nine convolutions and the dense layer.
    assert len(by_name) == 10
    for layer in list(by_name.values())[1:-1]:
        assert layer["wanted"] == 0.7
        assert abs(layer["zeros"] - 0.7 * layer["weights"]) <= 1
    assert report["reached"] == pytest.approx(0.7, abs=1e-3)
    assert report["reached_of_all_weights"] < report["reached"]
    accuracy = report["accuracy"]["rendered"]
    assert accuracy["before"] == Run.open(fitted_run).record["metrics"]["rendered"]
    assert accuracy["after"] == Run.open(pruned_run).record["metrics"]["rendered"]
    assert accuracy["newly_right"] - accuracy["newly_wrong"] == round(
        accuracy["before"]["tiles"] * (accuracy["after"]["accuracy"] - accuracy["before"]["accuracy"])
    )
    before, after = report["size_bytes"]["before"], report["size_bytes"]["after"]
    # Zeros take as much room as other numbers, until the file is compressed.
    assert after["ir_fp16"] == pytest.approx(before["ir_fp16"], rel=0.01)
    assert after["keras_file"] == pytest.approx((pruned_run / "model.keras").stat().st_size, rel=0.01)
    for name in ("keras_file_gzip", "weights_gzip", "ir_fp16_gzip"):
        assert after[name] < 0.7 * before[name]
    assert report["speed"]["before_ms"] > 0
    assert report["speed"]["after_ms"] > 0
    text = (pruned_run / "prune.md").read_text()
    for row in (
        "| rendered | 96 |",
        "| IR, FP16, gzip, bytes |",
        "| one image, OpenVINO on one CPU thread, ms |",
        "| logits | 192 | left",
    ):
        assert row in text
    assert "dense kernel multiplies" in text


def test_share_of_zeros_rises_along_a_cubic_and_then_stays() -> None:
    shares = [sparsity_at(step, 10, 0.1, 0.9) for step in range(15)]
    assert shares[0] == pytest.approx(0.1)
    assert shares[5] == pytest.approx(0.9 - 0.8 / 8)
    assert shares[10:] == pytest.approx([0.9] * 5)
    assert shares == sorted(shares)


def test_weight_that_is_zero_stays_zero_whatever_a_step_does() -> None:
    keras.utils.set_random_seed(1)
    model = build("overflight-s", 2, 32)
    masks = Masks(model, 0.5)
    layer = model.get_layer(masks.reached()[1].name)
    zero = np.zeros(layer.kernel.shape, bool)
    for step in range(1, 6):
        masks.update(step, 5)
        masks.apply()
        now = np.asarray(layer.kernel) == 0
        assert now[zero].all()
        assert now.sum() == round(sparsity_at(step, 5, 0.0, 0.5) * now.size)
        zero = now
        # As an optimizer that moves what is zero far and brings all else near.
        layer.kernel.assign(np.where(zero, 10.0, np.asarray(layer.kernel) / 100))
    masks.apply()
    assert (np.asarray(layer.kernel) == 0)[zero].all()


def test_smallest_weights_go() -> None:
    model = build("overflight-s", 2, 32)
    masks = Masks(model, 0.5)
    layer = model.get_layer(masks.reached()[1].name)
    before = np.abs(np.asarray(layer.kernel))
    masks.update(1, 1)
    masks.apply()
    gone = np.asarray(layer.kernel) == 0
    assert before[gone].max() <= before[~gone].min()


@pytest.mark.parametrize("name", ["overflight-s", "seed-cnn"])
@pytest.mark.parametrize("all_layers", [False, True])
def test_first_convolution_and_last_dense_layer_are_spared_unless_asked_for(name: str, all_layers: bool) -> None:
    model = build(name, 2, 128)
    masks = Masks(model, 0.9, all_layers=all_layers)
    masks.update(1, 1)
    masks.apply()
    # Making a picture grey is no weight that was learned.
    layers = [layer for layer in masks.reached() if layer.name != "grey"]
    assert (layers[0].zeros > 0, layers[-1].zeros > 0) == (all_layers, all_layers)
    assert layers[-1].name == "logits"
    for layer in layers[1:-1]:
        assert abs(layer.zeros - 0.9 * layer.weights) <= 1


def test_depthwise_kernels_are_left_alone() -> None:
    model = build("mobilenet-v2", 2, 128)
    masks = Masks(model, 0.9)
    masks.update(1, 1)
    masks.apply()
    depthwise = {layer.name for layer in model.layers if isinstance(layer, keras.layers.DepthwiseConv2D)}
    untouched = {layer.name for layer in masks.reached() if not layer.zeros}
    assert untouched == depthwise | {"Conv1", "logits"}


@pytest.mark.parametrize("sparsity", ["0", "1", "1.5", "-0.1", "nan", "most"])
def test_sparsity_that_is_none_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fitted_run: Path, sparsity: str
) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["prune", str(fitted_run), f"--sparsity={sparsity}", "--out", str(tmp_path / "new")])
    assert exited.value.code == 2
    assert "--sparsity: expected a number between 0 and 1" in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sparsity", [0.0, 1.0, 1.5])
def test_sparsity_that_is_none_is_refused_by_the_function_too(tmp_path: Path, fitted_run: Path, sparsity: float) -> None:
    with pytest.raises(PruneError, match="expected a number between 0 and 1"):
        prune(Run.open(fitted_run), [], PruneParameters(sparsity), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("record", "named"),
    [
        (None, "not the folder of a finished fit"),
        ({"labels": ["a", "b"], "parameters": {}}, "not the folder of a finished fit"),
        ({"labels": ["damaged", "undamaged"], "metrics": {}}, "is not what fit writes"),
        (
            {"labels": ["damaged", "undamaged"], "metrics": {}, "data": [], "parameters": {"wings": 2}, "split": {}},
            "does not say how it was trained",
        ),
    ],
)
def test_folder_of_another_kind_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], record: dict[str, object] | None, named: str
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    build("overflight-s", 2, 32).save(run / "model.keras")
    if record is not None:
        (run / "run.json").write_text(json.dumps(record))
    assert main(["prune", str(run), "--sparsity", "0.5", "--out", str(tmp_path / "new")]) == 2
    line = error_line(capsys)
    assert str(run) in line
    assert named in line
    assert list(tmp_path.iterdir()) == [run]


def test_other_data_than_the_runs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], fitted_run: Path) -> None:
    # The name alone does not make them the same.
    for name in ("rendered", "others"):
        for index, label in enumerate(("damaged", "undamaged")):
            (tmp_path / name / label).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / name / label / "photo.png"), np.full((8, 8, 3), index, np.uint8))
    arguments = ["prune", str(fitted_run), "--sparsity", "0.5", "--out", str(tmp_path / "new")]
    assert main([*arguments, "--data", str(tmp_path / "rendered")]) == 2
    assert "rendered: not, or no longer, the data that" in error_line(capsys).split("overflight-train: ")[1]
    assert main([*arguments, "--data", str(tmp_path / "others")]) == 2
    assert "also learned from rendered" in error_line(capsys)
    assert {path.name for path in tmp_path.iterdir()} == {"rendered", "others"}


def test_what_is_no_outcome_of_prune_is_not_replaced(
    capsys: pytest.CaptureFixture[str], fitted_run: Path, pruned_run: Path
) -> None:
    for run, target in ((pruned_run, fitted_run), (fitted_run, fitted_run), (pruned_run, pruned_run)):
        before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
        assert main(["prune", str(run), "--sparsity", "0.5", "--out", str(target)]) == 2
        assert "it is not replaced" in error_line(capsys)
        assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == before


class _Impatient:
    """Breaks the training off at its second step, as Ctrl-C does."""

    def step(self, epoch: int, step: int, loss: float) -> None:
        raise KeyboardInterrupt

    def epoch(self, epoch: int, measured: dict[str, float]) -> None:
        raise AssertionError

    def close(self) -> None:
        pass


def test_interrupted_prune_leaves_nothing_behind(tmp_path: Path, fitted_run: Path) -> None:
    begun: list[Path] = []

    def watch(folder: Path, steps: int, done: int) -> list[_Impatient]:
        begun.append(folder)
        return [_Impatient()]

    with pytest.raises(KeyboardInterrupt):
        prune(Run.open(fitted_run), [], PruneParameters(0.5, epochs=1), tmp_path / "new", watch=watch)
    assert begun
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ratio", "equals", "said"),
    [(0.97, 1.01, "No difference"), (0.8, 1.15, "No difference"), (0.6, 1.02, "faster on"), (1.4, 0.98, "slower on")],
)
def test_difference_in_speed_is_said_only_where_chance_does_not_explain_it(ratio: float, equals: float, said: str) -> None:
    text = verdict({"ratio": ratio, "ratio_of_equals": equals, "rounds": 200})
    assert said in text
    assert "do not by themselves make it faster" in text
