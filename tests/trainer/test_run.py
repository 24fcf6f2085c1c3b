"""The run folder: what of it is trusted, and what is said where it is damaged."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from trainer.datasets import SplitRule
from trainer.predict import open_predictor
from trainer.run import MODEL, RECORD, Run, RunError, read_record, write_network


@pytest.fixture
def copy(tiny_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_run, tmp_path / "run")


RECORDS: dict[str, Callable[[Path], object]] = {
    "no folder": shutil.rmtree,
    "no record": lambda run: (run / RECORD).unlink(),
    "no JSON": lambda run: (run / RECORD).write_text('{"labels": ['),
    "no text": lambda run: (run / RECORD).write_bytes(b"\xff\xfe"),
    "a list": lambda run: (run / RECORD).write_text("[]"),
    "no labels": lambda run: (run / RECORD).write_text('{"metrics": {}}'),
    "a folder": lambda run: ((run / RECORD).unlink(), (run / RECORD).mkdir()),
    "not finished": lambda run: (run / RECORD).write_text('{"labels": ["a", "b"]}'),
}

MODELS: dict[str, Callable[[Path], object]] = {
    "missing": lambda model: model.unlink(),
    "a text": lambda model: model.write_text("this was a model once"),
    "empty": lambda model: model.write_bytes(b""),
    "truncated": lambda model: model.write_bytes(model.read_bytes()[: model.stat().st_size // 2]),
    "damaged": lambda model: model.write_bytes(model.read_bytes()[:300_000] + bytes(64) + model.read_bytes()[300_064:]),
}


def test_open_tells_what_the_training_was_given(tiny_run: Path) -> None:
    run = Run.open(tiny_run)
    assert run.labels == ("brown", "red")
    assert run.data == (str(tiny_run.parent / "tints"),)
    assert run.split == SplitRule(folds=4)
    assert run.network().output_shape == (None, 2)


@pytest.mark.parametrize("breaks", RECORDS.values(), ids=RECORDS)
def test_folder_without_a_whole_record_is_refused_in_one_line(copy: Path, breaks: Callable[[Path], object]) -> None:
    breaks(copy)
    with pytest.raises(RunError) as caught:
        Run.open(copy)
    assert str(copy) in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("breaks", MODELS.values(), ids=MODELS)
def test_damaged_network_is_refused_in_one_line(copy: Path, breaks: Callable[[Path], object]) -> None:
    breaks(copy / MODEL)
    with pytest.raises(RunError) as caught:
        open_predictor(copy)
    assert f"{copy}: {MODEL} cannot be read" in str(caught.value)
    assert str(caught.value).isprintable()


def test_network_with_code_in_it_is_refused(copy: Path) -> None:
    # A run folder may come from somebody else: loading it must not execute anything.
    keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Lambda(lambda pixels: pixels)]).save(copy / MODEL)
    with pytest.raises(RunError, match="arbitrary code execution"):
        Run.open(copy).network()


def test_kept_network_has_no_optimizer_and_computes_in_float32(tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    images = keras.Input((8, 8, 3))
    hidden = keras.layers.Dense(4, dtype="mixed_bfloat16")(keras.layers.Flatten(dtype="mixed_bfloat16")(images))
    model = keras.Model(images, keras.layers.Dense(2, activation="softmax", dtype="mixed_bfloat16")(hidden))
    model.optimizer = keras.optimizers.Adam()
    model.optimizer.build(model.trainable_variables)
    write_network(tmp_path, model)
    kept = Run(tmp_path, {}).network()
    assert b"optimizer" not in zipfile.ZipFile(tmp_path / MODEL).read("model.weights.h5")
    assert {layer.compute_dtype for layer in kept.layers} == {"float32"}
    for weight, other in zip(model.get_weights(), kept.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)
    assert [file.name for file in tmp_path.iterdir()] == [MODEL]


def test_record_of_a_folder_without_one_is_none(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    (tmp_path / RECORD).write_text(json.dumps({"labels": []}))
    assert read_record(tmp_path) == {"labels": []}
