"""Exports of what others made: a SavedModel, a Keras file, an ONNX file; each is asked as its maker would ask it."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

from tests.trainer.export.engines import ask, openvino_says
from tests.trainer.pictures import noise, put
from tests.trainer.tints import tints
from trainer.cli import main
from trainer.export import ExportRecord

SCALED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "0..1": lambda pixels: pixels / 255,
    "0..255": lambda pixels: pixels,
    "-1..1": lambda pixels: pixels / 127.5 - 1,
}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """BGR, of another size than any model here takes."""
    tiles = tints(6, 128, seed=9).tiles.images
    return np.stack([cv2.resize(image, (96, 80))[..., ::-1] for image in tiles])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise of two colours that nobody can mistake, one folder each."""
    folder = tmp_path_factory.mktemp("data") / "tints"
    for index, label in itertools.product(range(8), ("brown", "red")):
        shift = (20, 0, 0) if label == "red" else (0, 20, 0)
        put(folder / label / f"{index}.png", np.clip(noise(2 * index + len(label)) // 2 + shift, 0, 255).astype(np.uint8))
    return folder


def export(path: Path, out: Path, *more: object) -> int:
    return main(["export", "--from", str(path), "--out", str(out), *map(str, more)])


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err
    assert said.startswith("overflight-train: ")
    assert said.count("\n") == 1, said
    return said


def resized(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """RGB as float, as TensorFlow scales it."""
    return np.asarray(tf.image.resize(images[..., ::-1].astype(np.float32), (height, width)))


def grey(rgb: np.ndarray) -> np.ndarray:
    return (rgb @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]


def keras_file(path: Path, shape: tuple[int, int, int], outputs: int, **more: Any) -> keras.Model:
    """A small classifier that looks at where what colour is; its weights are random, but not so that it is never sure."""
    keras.utils.set_random_seed(4)
    pixels = keras.Input(shape, **more)
    x = keras.layers.Conv2D(4, 3, strides=4, activation="relu")(keras.layers.BatchNormalization()(pixels))
    last = keras.layers.Dense(outputs, activation="softmax" if outputs > 1 else "sigmoid")
    model = keras.Model(pixels, last(keras.layers.Flatten()(x)))
    model.save(path)
    return model


def onnx_file(path: Path, shape: Sequence[int | str], layout: str, outputs: int = 2, scale: float = 1.0) -> Path:
    """A classifier by the mean colour: of two labels the second is the redder one."""
    channels = int(shape[layout.index("C")])
    towards = np.array([[-1, 1], [1, -1], [0, 0]], np.float32)[:channels] * scale
    nodes = [
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[layout.index("H"), layout.index("W")], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
        helper.make_node("Softmax" if outputs > 1 else "Sigmoid", ["logits"], ["said"]),
    ]
    weights = towards if outputs == 2 else np.resize(towards[:, 1:], (channels, outputs))
    graph = helper.make_graph(
        nodes,
        "tints",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("said", TensorProto.FLOAT, [shape[0], outputs])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def test_seed_model_says_what_openvino_makes_of_it(data: Path, tmp_path: Path) -> None:
    seed = data / "seed-model"
    out = tmp_path / "seed"
    assert export(seed, out, "--labels", "damaged,undamaged") == 0
    record = ExportRecord.open(out)
    assert set(record.formats) == {"saved_model", "litert", "onnx", "fp32", "fp16"}
    assert record.left_out == {"int8": "no data were given to quantize with"}
    assert (record.height, record.width, record.network, record.run) == (128, 128, "", {})
    pictures = np.stack([cv2.imread(str(name)) for name in sorted((data / "haiti").glob("*/*.png"))[::15]])
    undamaged = openvino_says(openvino.Core().read_model(seed), pictures[..., :1].astype(np.float32) / 255)
    assert np.ptp(undamaged) > 0.5
    for form in record.formats:
        given = ask(out, form, pictures)
        np.testing.assert_allclose(given, np.hstack([1 - undamaged, undamaged]), atol=2e-3, err_msg=form)


@pytest.mark.parametrize("values", SCALED)
def test_keras_file_in_colour_gets_the_pixels_that_it_was_made_for(tmp_path: Path, images: np.ndarray, values: str) -> None:
    model = keras_file(tmp_path / "model.keras", (64, 48, 3), 3)
    assert export(tmp_path / "model.keras", tmp_path / "out", "--labels", "a,b,c", f"--values={values}") == 0
    expected = np.asarray(model(SCALED[values](resized(images, 64, 48))))
    for form in ("saved_model", "litert", "onnx", "fp32", "fp16"):
        np.testing.assert_allclose(ask(tmp_path / "out", form, images), expected, atol=5e-3, err_msg=form)


def test_grey_keras_file_of_one_output_gives_both_probabilities(tmp_path: Path, images: np.ndarray) -> None:
    model = keras_file(tmp_path / "model.keras", (64, 64, 1), 1)
    assert export(tmp_path / "model.keras", tmp_path / "out", "--labels", "no,yes") == 0
    yes = np.asarray(model(grey(resized(images, 64, 64)) / 255))
    for form in ("litert", "onnx", "fp32"):
        np.testing.assert_allclose(ask(tmp_path / "out", form, images), np.hstack([1 - yes, yes]), atol=2e-3, err_msg=form)


def test_saved_model_of_today_says_what_its_maker_says(tmp_path: Path, images: np.ndarray) -> None:
    model = keras_file(tmp_path / "model.keras", (64, 48, 3), 2)
    model.export(tmp_path / "saved", verbose=False)
    assert export(tmp_path / "saved", tmp_path / "out", "--labels", "a,b", "--values=0..255") == 0
    expected = np.asarray(model(resized(images, 64, 48)))
    for form in ("saved_model", "litert", "onnx", "fp32"):
        np.testing.assert_allclose(ask(tmp_path / "out", form, images), expected, atol=2e-3, err_msg=form)


@pytest.mark.parametrize("values", SCALED)
@pytest.mark.parametrize(
    "made",
    [
        (["n", 3, 64, 48], "NCHW", 2),
        (["n", 64, 48, 3], "NHWC", 2),
        ([1, 3, 64, 48], "NCHW", 2),
        ([1, 64, 48, 1], "NHWC", 2),
        ([1, 3, 64, 48], "NCHW", 1),
    ],
    ids=str,
)
def test_onnx_file_gets_the_pixels_that_it_was_made_for(
    tmp_path: Path, images: np.ndarray, made: tuple[list[int | str], str, int], values: str
) -> None:
    shape, layout, outputs = made
    file = onnx_file(tmp_path / "model.onnx", shape, layout, outputs, scale={"0..1": 4, "0..255": 0.02, "-1..1": 2}[values])
    assert export(file, tmp_path / "out", "--labels", "brown,red", f"--values={values}") == 0
    record = ExportRecord.open(tmp_path / "out")
    assert set(record.formats) == {"fp32", "fp16"}
    assert set(record.left_out) == {"saved_model", "litert", "onnx", "int8"}
    assert (record.height, record.width) == (64, 48)
    pixels = resized(images, 64, 48)
    pixels = SCALED[values](grey(pixels) if 1 in shape[1:] else pixels).astype(np.float32)
    session = onnxruntime.InferenceSession(file)
    asked = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2) if layout == "NCHW" else pixels)
    expected = np.concatenate([session.run(None, {"pixels": one[None]})[0] for one in asked])
    expected = np.hstack([1 - expected, expected]) if outputs == 1 else expected
    np.testing.assert_allclose(ask(tmp_path / "out", "fp32", images), expected, atol=1e-3)
    np.testing.assert_allclose(ask(tmp_path / "out", "fp16", images), expected, atol=3e-3)


@pytest.mark.parametrize("labels", ["brown,red", "red,brown"])
def test_labels_are_in_the_order_of_the_output_whatever_the_folders_order(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str], labels: str
) -> None:
    scale = 60.0 if labels == "brown,red" else -60.0
    file = onnx_file(tmp_path / "model.onnx", [1, 3, 64, 64], "NCHW", scale=scale)
    assert export(file, tmp_path / "out", "--labels", labels, "--data", folder) == 0
    record = ExportRecord.open(tmp_path / "out")
    assert record.labels == tuple(labels.split(","))
    assert record.metrics["tints"]["balanced_accuracy"] > 0.7
    assert record.gate is not None
    assert record.gate.fp32["tints"] > 0.7
    assert "tints" in capsys.readouterr().out


def test_no_model_file_names_where_the_original_was(tmp_path: Path) -> None:
    onnx_file(tmp_path / "model.onnx", [1, 3, 64, 64], "NCHW")
    keras_file(tmp_path / "model.keras", (64, 64, 3), 2)
    for name in ("model.onnx", "model.keras"):
        assert export(tmp_path / name, tmp_path / f"out-{name}", "--labels", "a,b") == 0
    files = [file for file in tmp_path.glob("out-*/**/*") if file.is_file() and file.name != "export.json"]
    assert len(files) >= 8
    assert [file for file in files if str(tmp_path).encode() in file.read_bytes()] == []


def saved_model(path: Path, shape: list[int | None], outputs: int = 2, inputs: int = 1) -> Path:
    class Module(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32) for _ in range(inputs)])  # type: ignore[untyped-decorator]
        def serve(self, *pixels: Any) -> Any:
            return {"said": tf.nn.softmax(tf.reshape(pixels[0], (tf.shape(pixels[0])[0], -1))[:, :outputs])}

    module = Module()
    tf.saved_model.save(module, str(path), signatures=module.serve.get_concrete_function())
    return path


def garbage(path: Path) -> Path:
    path.write_bytes(b"this was a model once")
    return path


def garbage_saved_model(path: Path) -> Path:
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"\xff this was a model once")
    return path


def truncated(path: Path) -> Path:
    keras_file(path, (64, 64, 3), 2)
    path.write_bytes(path.read_bytes()[:-300])
    return path


def made_by_keras(path: Path, shape: tuple[int, int, int], outputs: int, **more: Any) -> Path:
    keras_file(path, shape, outputs, **more)
    return path


WRONG: dict[str, tuple[Callable[[Path], Path], str]] = {
    "nothing": (lambda to: to / "nothing", "expected a run folder, a SavedModel, a .keras or an .onnx file"),
    "no onnx": (lambda to: to / "nothing.onnx", "nothing.onnx: no ONNX file that can be read"),
    "no keras": (lambda to: to / "nothing.keras", "nothing.keras: no Keras model that can be read"),
    "another suffix": (lambda to: garbage(to / "model.pt"), "model.pt: expected a run folder, a SavedModel"),
    "an empty folder": (lambda to: to, "expected a run folder, a SavedModel"),
    "garbage onnx": (lambda to: garbage(to / "model.onnx"), "model.onnx: no ONNX file that can be read"),
    "garbage keras": (lambda to: garbage(to / "model.keras"), "model.keras: no Keras model that can be read"),
    "truncated keras": (lambda to: truncated(to / "model.keras"), "model.keras: no Keras model that can be read"),
    "garbage SavedModel": (lambda to: garbage_saved_model(to / "model"), "model: no SavedModel that can be read"),
    "keras of three labels": (
        lambda to: made_by_keras(to / "model.keras", (64, 64, 3), 3),
        "gives (None, 3), which is not one probability for each of a, b",
    ),
    "keras of two channels": (
        lambda to: made_by_keras(to / "model.keras", (64, 64, 2), 2),
        "takes (None, 64, 64, 2), expected pixels",
    ),
    "keras of one picture": (
        lambda to: made_by_keras(to / "model.keras", (64, 64, 3), 2, batch_size=1),
        "takes (1, 64, 64, 3), expected pixels (any number",
    ),
    "SavedModel of any size": (lambda to: saved_model(to / "model", [None, None, None, 3]), "expected pixels"),
    "SavedModel of two inputs": (
        lambda to: saved_model(to / "model", [None, 64, 64, 3], inputs=2),
        "expected one input and one output",
    ),
    "onnx of three labels": (
        lambda to: onnx_file(to / "model.onnx", ["n", 3, 64, 64], "NCHW", 3),
        "which is not one probability for each of a, b",
    ),
    "onnx of any size": (
        lambda to: onnx_file(to / "model.onnx", ["n", 3, "h", "w"], "NCHW"),
        "expected pixels of a fixed size",
    ),
    "onnx of no pixels": (lambda to: onnx_file(to / "model.onnx", ["n", 2, 64, 64], "NCHW"), "expected pixels of a fixed size"),
}


@pytest.mark.parametrize(("make", "named"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], make: Callable[[Path], Path], named: str
) -> None:
    (tmp_path / "in").mkdir()
    path = make(tmp_path / "in")
    capfd.readouterr()
    assert export(path, tmp_path / "out" / "model", "--labels", "a,b") == 2
    said = capfd.readouterr().err
    assert named in said
    assert str(path) in said
    assert said.startswith("overflight-train: ")
    assert said.count("\n") == 1, said
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("labels", [None, "", "a", "a,a", ","])
def test_fewer_than_two_labels_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: str | None) -> None:
    more = [] if labels is None else ["--labels", labels]
    assert export(tmp_path / "model.onnx", tmp_path / "out", *more) == 2
    assert "--from needs --labels: two or more different names" in error_line(capsys)


def test_data_with_other_labels_are_refused(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = onnx_file(tmp_path / "model.onnx", [1, 3, 64, 64], "NCHW")
    assert export(file, tmp_path / "out", "--labels", "a,b", "--data", folder) == 2
    assert "tints: has the labels brown, red, expected a, b" in error_line(capsys)
    assert not (tmp_path / "out").exists()


def test_old_export_stays_where_the_new_model_is_wrong(tiny_export: Path, tmp_path: Path) -> None:
    out = shutil.copytree(tiny_export, tmp_path / "out")
    assert export(garbage(tmp_path / "model.onnx"), out, "--labels", "a,b") == 2
    assert ExportRecord.open(out) == ExportRecord.open(tiny_export)
    assert ask(out, "fp32", np.zeros((1, 8, 8, 3), np.uint8)).shape == (1, 2)
