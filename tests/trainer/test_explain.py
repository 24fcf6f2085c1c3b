"""``explain``: the heat lies where the evidence is, and what is written can be read."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote

import cv2
import keras
import msgspec
import numpy as np
import pytest
from keras import layers

from edge.bundle import SHIPPED
from trainer.cli import main
from trainer.explain import ExplainError, GradCam, open_subject
from trainer.export.record import ExportCalibration, ExportRecord
from trainer.networks import NETWORKS, build
from trainer.run import Run

SIDE = 32
LABELS = ("bright", "dark")
QUARTERS = ("top_left", "top_right", "bottom_left", "bottom_right")


def bright_network(sureness: float = 1.0) -> keras.Model:
    """Decides by hand-set weights: ``bright`` if somewhere is a bright spot, else ``dark``."""
    images = keras.Input((SIDE, SIDE, 3))
    spots = layers.Conv2D(1, 3, padding="same", activation="relu", name="spots")(layers.Rescaling(1 / 255)(images))
    mean = layers.GlobalAveragePooling2D()(layers.AveragePooling2D(4)(spots))
    model = keras.Model(images, layers.Dense(2, activation="softmax", name="logits")(mean), name="bright")
    model.get_layer("spots").set_weights([np.full((3, 3, 3, 1), 1 / 27), np.array([-0.5])])
    model.get_layer("logits").set_weights([sureness * np.array([[400.0, -400.0]]), sureness * np.array([-1.0, 1.0])])
    return model


def write_run(folder: Path, model: keras.Model, labels: tuple[str, ...] = LABELS) -> Path:
    folder.mkdir(parents=True)
    model.save(folder / "model.keras")
    (folder / "run.json").write_text(json.dumps({"labels": labels, "data": [], "split": {}, "metrics": {}}))
    return folder


def spot(quarter: str | None, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """A dark image, with a bright square in the corner of a quarter."""
    image = np.full((height, width, 3), 20, np.uint8)
    if quarter is not None:
        rows = slice(height // 4) if quarter.startswith("top") else slice(-(height // 4), None)
        columns = slice(width // 4) if quarter.endswith("left") else slice(-(width // 4), None)
        image[rows, columns] = 250
    return image


def write_image(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "explanations.csv").open(newline="") as file:
        return {line["name"]: line for line in csv.DictReader(file)}


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err
    assert said.startswith("overflight-train: ")
    assert said.count("\n") == 1, said
    return said


@pytest.fixture(scope="module")
def bright_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("bright") / "run", bright_network())


def test_heat_of_a_trained_network_is_a_share_and_another_one_for_each_label(
    fitted_run: Path, rendered_images: np.ndarray
) -> None:
    cam = GradCam(Run.open(fitted_run).network())
    damaged, undamaged = (cam.explain(rendered_images, label) for label in (0, 1))
    for explained in (damaged, undamaged):
        assert explained.heat.shape == (16, 8, 8)
        assert np.isfinite(explained.heat).all()
        assert explained.heat.min() >= 0
        assert set(explained.heat.max(axis=(1, 2)).tolist()) <= {0.0, 1.0}
        np.testing.assert_allclose(explained.probabilities.sum(axis=1), 1, atol=1e-5)
    assert damaged.heat.any()
    # With two labels, what speaks for one speaks against the other.
    assert not (damaged.heat * undamaged.heat).any()


@pytest.mark.parametrize(("name", "cells"), [("overflight-s", 8), ("seed-cnn", 3), ("mobilenet-v2", 4)])
def test_every_network_can_be_explained(name: str, cells: int) -> None:
    assert name in NETWORKS
    keras.utils.set_random_seed(1)
    model = build(name, 2, 128)
    images = np.random.default_rng(1).integers(0, 256, (3, 128, 128, 3), np.uint8)
    explained = [GradCam(model).explain(images, label) for label in (0, 1)]
    np.testing.assert_allclose(explained[0].probabilities, np.asarray(model(images.astype(np.float32))), atol=1e-5)
    assert explained[0].heat.shape == explained[1].heat.shape == (3, cells, cells)
    assert explained[0].heat.any() or explained[1].heat.any()


def test_every_network_that_can_be_trained_is_tested_here() -> None:
    assert set(NETWORKS) == {"overflight-s", "seed-cnn", "mobilenet-v2"}


def test_decision_that_is_as_sure_as_can_be_has_heat() -> None:
    seen = GradCam(bright_network(sureness=1000.0)).explain(spot("top_left")[None])
    assert seen.probabilities[0, 0] == 1
    assert seen.heat.max() == 1


def test_without_evidence_there_is_no_heat() -> None:
    seen = GradCam(bright_network()).explain(spot(None)[None], 0)
    assert not seen.heat.any()
    assert seen.labels.tolist() == [0]
    assert seen.probabilities[0].argmax() == 1


@pytest.mark.parametrize("quarter", QUARTERS)
def test_heat_lies_on_the_corner_that_decided(tmp_path: Path, bright_run: Path, quarter: str) -> None:
    image = write_image(tmp_path / "photo.png", spot(quarter, 96, 128))
    assert main(["explain", str(bright_run), str(image), "--out", str(tmp_path / "out"), "--opacity", "1"]) == 0
    line = table(tmp_path / "out")["photo.png"]
    assert line["decided"] == line["explained"] == "bright"
    assert float(line["decided_probability"]) > 0.9
    assert float(line[quarter]) > 0.9
    assert sum(float(line[name]) for name in QUARTERS) == pytest.approx(1, abs=1e-3)
    assert (float(line["peak_x"]) < 0.5) == quarter.endswith("left")
    assert (float(line["peak_y"]) < 0.5) == quarter.startswith("top")
    picture = cv2.imread(str(tmp_path / "out" / "photo.png.png"))
    assert picture.shape[0] > 96
    assert picture.shape[1] >= 2 * 128
    np.testing.assert_array_equal(picture[:96, :128], spot(quarter, 96, 128))
    # Where the square is, the overlay is brightest.
    overlay = picture[:96, 128:256].sum(axis=2)
    row, column = np.unravel_index(overlay.argmax(), overlay.shape)
    assert (row < 48, column < 64) == (quarter.startswith("top"), quarter.endswith("left"))


def test_folder_keeps_its_shape_and_the_page_shows_every_picture(
    tmp_path: Path, bright_run: Path, capsys: pytest.CaptureFixture[str], make_jpeg: Callable[..., bytes]
) -> None:
    photos = tmp_path / "photos"
    names = ["a.png", "a.jpg", "north/a.png", 'north/<b>&"# 100%.png', "north/grå.bmp"]
    for name in names:
        write_image(photos / name, spot("top_left"))
    (photos / "broken.jpg").write_bytes(make_jpeg()[:300])
    (photos / "notes.txt").write_text("no image")
    out = tmp_path / "out"
    assert main(["explain", str(bright_run), str(photos), "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert "5 explained" in captured.out
    assert "1 cannot be read: broken.jpg: " in captured.err
    assert set(table(out)) == set(names)
    page = (out / "index.html").read_text()
    assert "<script" not in page
    assert "<b>" not in page
    assert "http" not in page
    assert "broken.jpg" in page
    sources = re.findall(r'<img src="([^"]*)"', page)
    assert sorted(unquote(html.unescape(source)) for source in sources) == sorted(f"{name}.png" for name in names)
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.png")} == {f"{name}.png" for name in names}


def test_explained_label_can_be_another_than_the_decided_one(tmp_path: Path, bright_run: Path) -> None:
    image = write_image(tmp_path / "photo.png", spot("top_left"))
    assert main(["explain", str(bright_run), str(image), "--label", "dark", "--out", str(tmp_path / "out")]) == 0
    line = table(tmp_path / "out")["photo.png"]
    assert (line["decided"], line["explained"], line["peak_x"]) == ("bright", "dark", "")
    total = float(line["decided_probability"]) + float(line["explained_probability"])
    assert total == pytest.approx(1, abs=1e-3)


def test_second_explanation_replaces_the_first_and_does_not_explain_it(tmp_path: Path, bright_run: Path) -> None:
    photos = tmp_path / "photos"
    write_image(photos / "a.png", spot("top_left"))
    arguments = ["explain", str(bright_run), str(photos), "--out", str(photos / "explained")]
    assert main(arguments) == 0
    (photos / "a.png").rename(photos / "b.png")
    assert main(arguments) == 0
    assert list(table(photos / "explained")) == ["b.png"]
    assert not (photos / "explained" / "a.png.png").exists()


def test_failed_explanation_leaves_the_old_one(tmp_path: Path, bright_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, out = write_image(tmp_path / "photo.png", spot("top_left")), tmp_path / "out"
    assert main(["explain", str(bright_run), str(photo), "--out", str(out)]) == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    photo.write_bytes(b"no image")
    capsys.readouterr()
    assert main(["explain", str(bright_run), str(photo), "--out", str(out)]) == 2
    assert "none of 1 images can be read; photo.png: " in error_line(capsys)
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert set(tmp_path.iterdir()) == {photo, out}


def test_what_is_no_explanation_is_not_replaced(tmp_path: Path, bright_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = write_image(tmp_path / "photos" / "photo.png", spot("top_left"))
    assert main(["explain", str(bright_run), str(photo), "--out", str(photo.parent)]) == 2
    assert str(photo.parent) in error_line(capsys)
    assert photo.is_file()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["photos/nothing.png"], "photos/nothing.png: no such file or folder"),
        (["empty"], "empty: holds no image"),
        (["photos", "--label", "purple"], "label purple: "),
        (["photos/photo.png", "other/photo.png"], "other/photo.png would both be photo.png"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bright_run: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    arguments: list[str],
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "other"):
        write_image(tmp_path / folder / "photo.png", spot("top_left"))
    (tmp_path / "empty").mkdir()
    assert main(["explain", str(bright_run), *arguments, "--out", "out"]) == 2
    assert named in error_line(capsys)
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "other", "empty"}


def test_subject_may_be_an_export_whose_probabilities_are_the_calibrated_ones(tmp_path: Path, bright_run: Path) -> None:
    export = tmp_path / "export"
    (export / "trainer").mkdir(parents=True)
    shutil.copyfile(bright_run / "model.keras", export / "trainer" / "model.keras")
    calibration = ExportCalibration(2.0, 0.0, ())
    record = ExportRecord("run", "bright", LABELS, SIDE, SIDE, (), {}, None, calibration, {}, {})
    (export / "export.json").write_bytes(msgspec.json.encode(record))
    subject = open_subject(export)
    image = spot("top_left")[None]
    plain = GradCam(bright_network()).explain(image).probabilities[0]
    calibrated = GradCam(subject.model, subject.temperature).explain(image).probabilities[0]
    assert np.log(calibrated[0] / calibrated[1]) == pytest.approx(np.log(plain[0] / plain[1]) / 2, rel=1e-3)
    (export / "trainer" / "model.keras").unlink()
    with pytest.raises(ExplainError, match=r"holds no trainer/model\.keras"):
        open_subject(export)


def test_subject_may_be_a_bundle_that_can_learn_on(
    tmp_path: Path, bright_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(SHIPPED, bundle)
    manifest = json.loads((bundle / "manifest.json").read_text())
    content = (bright_run / "model.keras").read_bytes()
    (bundle / "trainer").mkdir(exist_ok=True)
    (bundle / "trainer" / "model.keras").write_bytes(content)
    manifest["files"]["trainer/model.keras"] = {"sha256": sha256(content).hexdigest(), "bytes": len(content)}
    manifest["calibration"] = {"temperature": 1.5, "expected_calibration_error": 0.0, "fitted_on": []}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert open_subject(bundle).temperature == 1.5
    image = write_image(tmp_path / "photo.png", spot("top_left"))
    assert main(["explain", str(bundle), str(image), "--out", str(tmp_path / "out")]) == 0
    assert table(tmp_path / "out")["photo.png"]["decided"] == manifest["labels"][0]
    capsys.readouterr()
    assert main(["explain", str(tmp_path), str(image), "--out", str(tmp_path / "other")]) == 2
    assert "expected a run folder" in error_line(capsys)


def test_network_without_a_map_or_without_logits_is_refused() -> None:
    images = keras.Input((SIDE, SIDE, 3))
    flat = keras.Model(images, layers.Dense(2, activation="softmax")(layers.Flatten()(images)), name="flat")
    with pytest.raises(ExplainError, match="flat: has no layer whose output is a map"):
        GradCam(flat)
    convolution = layers.Conv2D(2, 3)(images)
    bare = keras.Model(images, layers.Softmax()(layers.GlobalAveragePooling2D()(convolution)), name="bare")
    with pytest.raises(ExplainError, match="expected Dense"):
        GradCam(bare)
