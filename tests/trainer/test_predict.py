"""Asking a network, whatever form it has."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import SHIPPED, Bundle, BundleError
from edge.inference.openvino import IR_INT8
from tests.trainer.tints import tints
from trainer.predict import PredictError, open_predictor


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """RGB, more than one batch of them."""
    return tints(70, 128, seed=9).tiles.images


@pytest.fixture
def copy(tiny_export: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_export, tmp_path / "tiny")


def test_run_and_export_decide_alike(tiny_run: Path, tiny_export: Path, images: np.ndarray) -> None:
    asked = {name: open_predictor(path) for name, path in (("run", tiny_run), ("export", tiny_export))}
    assert {predictor.labels for predictor in asked.values()} == {("brown", "red")}
    said = {name: predictor.probabilities(images) for name, predictor in asked.items()}
    for probabilities in said.values():
        assert probabilities.shape == (70, 2)
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-3)
    assert (said["run"].argmax(axis=1) == said["export"].argmax(axis=1)).mean() > 0.9


def test_batches_give_what_single_images_give(tiny_export: Path, images: np.ndarray) -> None:
    predictor = open_predictor(tiny_export, "fp32")
    together = predictor.probabilities(images)
    alone = np.concatenate([predictor.probabilities(image[None]) for image in images[60:]])
    np.testing.assert_allclose(together[60:], alone, atol=1e-5)


def test_best_that_is_there_is_asked(tiny_export: Path, copy: Path) -> None:
    assert open_predictor(tiny_export).name == f"{tiny_export} int8"
    (copy / "ir" / "model-int8.xml").unlink()
    assert open_predictor(copy).name == f"{copy} fp16"
    assert open_predictor(copy, "fp32").name == f"{copy} fp32"


def test_precisions_are_different_files(tiny_export: Path, images: np.ndarray) -> None:
    said = [open_predictor(tiny_export, precision).probabilities(images) for precision in ("fp32", "fp16", "int8")]
    np.testing.assert_allclose(said[0], said[1], atol=1e-3)
    assert np.abs(said[0] - said[2]).max() > 1e-3


def test_bundle_is_asked_as_well() -> None:
    predictor = open_predictor(SHIPPED)
    assert predictor.labels == Bundle.shipped().manifest.labels
    assert predictor.probabilities(np.zeros((2, 128, 128, 3), np.uint8)).shape == (2, len(predictor.labels))


def test_precision_that_is_not_there_is_one_line(tiny_run: Path, copy: Path) -> None:
    with pytest.raises(PredictError, match="a run folder is fp32, not int8; export it first"):
        open_predictor(tiny_run, "int8")
    assert open_predictor(tiny_run, "fp32").labels == ("brown", "red")
    (copy / "ir" / "model-int8.xml").unlink()
    with pytest.raises(PredictError, match=r"has no ir/model-int8\.xml"):
        open_predictor(copy, "int8")


@pytest.mark.parametrize("name", ["nothing", "empty", "file"])
def test_what_is_no_network_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(PredictError, match=r"expected a run folder \(with run\.json\), an export .* or a bundle") as caught:
        open_predictor(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("file", ["model.xml", "model.bin"])
def test_damaged_ir_is_one_line(copy: Path, file: str) -> None:
    path = copy / "ir" / file
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(PredictError, match="no IR that can be read") as caught:
        open_predictor(copy, "fp16")
    assert str(caught.value).isprintable()


def test_damaged_manifest_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(BundleError) as caught:
        open_predictor(tmp_path)
    assert str(caught.value).isprintable()


def test_network_that_a_bundle_s_manifest_does_not_name_is_not_asked(float_bundle: Path, tmp_path: Path) -> None:
    # A device asks only what the manifest names, whatever else lies there.
    folder = shutil.copytree(float_bundle, tmp_path / "bundle")
    for name in IR_INT8:
        shutil.copyfile(SHIPPED / name, folder / name)
    assert open_predictor(folder).name.endswith(" fp16")
    with pytest.raises(PredictError, match=r"has no ir/model-int8\.xml"):
        open_predictor(folder, "int8")
