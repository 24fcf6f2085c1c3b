"""Packing: a bundle opens, is signed, answers its own self-test, and is not written when anything about it is wrong."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.bundle import ANYONE, SHIPPED, Bundle, PublicKey, verify
from edge.inference import Classifier, Devices
from trainer.cli import main
from trainer.export.record import ExportRecord
from trainer.pack import choose_alert_labels
from trainer.pack.errors import PackError
from trainer.pack.gate import Compared, worse
from trainer.pack.selftest import render_scenes
from trainer.start import start_from


def pack(export: Path, out: Path, *more: object) -> int:
    return main(["pack", str(export), "--name", "town", "--version", "3", "--out", str(out), *map(str, more)])


def hashes(folder: Path) -> dict[str, str]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What was said on standard error, which must be one line."""
    said = capsys.readouterr().err
    assert said.startswith("overflight-train: ")
    assert said.count("\n") == 1, said
    return said


@pytest.fixture
def damaged_export(exported: Path, tmp_path: Path) -> Path:
    """A copy of an export that may be damaged."""
    copy = tmp_path / "export"
    shutil.copytree(exported, copy)
    return copy


def change_record(export: Path, **changes: Any) -> None:
    record = json.loads((export / "export.json").read_text())
    (export / "export.json").write_text(json.dumps(record | changes))


# What a bundle is


def test_a_bundle_opens_classifies_and_says_what_its_export_knew(packed: Path, exported: Path) -> None:
    bundle = Bundle.open(packed, ANYONE)
    record = ExportRecord.open(exported)
    manifest = bundle.manifest
    assert (bundle.model.name, bundle.model.version) == ("town", 3)
    assert manifest.labels == ("damaged", "undamaged")
    assert manifest.alert_labels == ("damaged",)
    assert (manifest.input.height, manifest.input.width, manifest.input.ground_sample_distance_m) == (128, 128, None)
    assert manifest.threshold == 0.5
    assert manifest.metrics == record.metrics
    assert manifest.metrics["rendered"]["tiles"] == 96
    assert manifest.calibration is not None
    assert record.calibration is not None
    assert manifest.calibration.temperature == record.calibration.temperature
    assert manifest.calibration.fitted_on == ("rendered",)
    images = [image for image, _ in render_scenes((128, 128))]
    for device in ("CPU", "TENSORFLOW"):
        for prediction in Classifier(bundle, Devices([device])).classify(images):
            assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-3)


def test_a_bundle_holds_only_what_its_manifest_names_and_its_signature(packed: Path) -> None:
    files = set(hashes(packed))
    assert files == {"manifest.json", "manifest.sig", *Bundle.open(packed, ANYONE).manifest.files}
    assert {"ir/model.xml", "ir/model-int8.bin", "tensorflow/model.tflite", "trainer/model.keras"} <= files
    assert not any("fp32" in file or "onnx" in file for file in files)


def test_a_bundle_is_signed_by_the_key_that_was_given(packed: Path, key: Path) -> None:
    trusted = PublicKey.parse(key.with_suffix(".pub").read_text())
    manifest, signature = (packed / "manifest.json").read_bytes(), (packed / "manifest.sig").read_bytes()
    assert json.loads(signature).keys() == {"key", "algorithm", "signature"}
    assert verify(manifest, signature, [trusted]) == trusted.id


def test_a_bundle_can_be_learned_on_from(packed: Path) -> None:
    start = start_from(packed)
    assert start.labels == ("damaged", "undamaged")
    assert start.build().input_shape == (None, 128, 128, 3)


def test_the_self_test_holds_what_the_engines_say_of_its_scenes(packed: Path) -> None:
    expected = json.loads((packed / "selftest" / "expected.json").read_text())
    assert expected["schema"] == 1
    assert expected["labels"] == ["damaged", "undamaged"]
    assert expected["tolerance"] == {"float": 0.01, "int8": 0.05}
    assert len(expected["scenes"]) == 8
    images = [cv2.imread(str(packed / scene["file"])) for scene in expected["scenes"]]
    assert [image.shape for image in images] == [(128, 128, 3)] * 4 + [(256, 256, 3)] * 4
    assert len({image.tobytes() for image in images}) == 8
    for device, kind in (("CPU", "int8"), ("TENSORFLOW", "float")):
        given = Classifier(Bundle.open(packed, ANYONE), Devices([device])).classify(images)
        for prediction, scene in zip(given, expected["scenes"], strict=True):
            assert list(prediction.probabilities.values()) == pytest.approx(scene["probabilities"][kind], abs=0.01)


def test_half_of_the_scenes_lie_in_ruins_and_every_bundle_gets_the_same() -> None:
    scenes = render_scenes((96, 64))
    assert [damaged for _, damaged in scenes].count(True) == 4
    assert scenes[0][0].shape == (96, 64, 3)
    again = render_scenes((96, 64))
    assert all((one == other).all() for (one, _), (other, _) in zip(scenes, again, strict=True))


def test_packing_again_gives_the_same_bundle_in_the_place_of_the_old_one(
    exported: Path, packed: Path, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    shutil.copytree(SHIPPED, out)
    (out / "old.txt").write_text("of the old one")
    assert pack(exported, out, "--key", key) == 0
    assert hashes(out) == hashes(packed)
    said = capsys.readouterr()
    assert f"{out}: town version 3, " in said.out
    # Two epochs teach too little to know towns; nothing else is to be said.
    lines = said.err.splitlines()
    assert all(line.startswith("warning: no scene of the self-test that is") for line in lines), lines


def test_an_unsigned_bundle_says_that_devices_refuse_it(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pack(exported, tmp_path / "bundle", "--threshold", 0.25, "--ground-sample-distance-m", 0.5) == 0
    assert "warning: not signed: a device that trusts keys will refuse it" in capsys.readouterr().err
    assert not (tmp_path / "bundle" / "manifest.sig").exists()
    manifest = Bundle.open(tmp_path / "bundle", ANYONE).manifest
    assert (manifest.threshold, manifest.input.ground_sample_distance_m) == (0.25, 0.5)


def test_a_threshold_is_chosen_for_a_wanted_recall(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Data and split are those of the run.
    assert pack(exported, tmp_path / "bundle", "--recall", 0.9) == 0
    threshold = Bundle.open(tmp_path / "bundle", ANYONE).manifest.threshold
    said = capsys.readouterr()
    assert f"threshold {threshold:.6f}: finds 9" in said.out
    assert "split otherwise" not in said.err

    from trainer.datasets import read
    from trainer.predict import open_predictor

    dataset = read("rendered:96")
    damaged = dataset.tiles.take(np.flatnonzero(dataset.given_held_out & (dataset.tiles.labels == 0)))
    found = open_predictor(tmp_path / "bundle").probabilities(damaged.images)[:, 0] >= threshold
    assert 0.9 <= found.mean() < 1


def test_an_export_without_int8_and_fallback_is_packed_and_says_so(
    damaged_export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left_out = {"int8": "costs more balanced accuracy than 0.3%", "litert": "cannot be made of an ONNX file"}
    change_record(damaged_export, formats=["fp32", "fp16"], left_out=left_out)
    (damaged_export / "trainer" / "model.keras").unlink()
    assert pack(damaged_export, tmp_path / "bundle") == 0
    said = capsys.readouterr().err
    assert "left out: INT8: costs more balanced accuracy than 0.3%" in said
    assert "left out: LiteRT: cannot be made of an ONNX file" in said
    assert "left out: SavedModel" in said
    assert "fit cannot learn on" in said
    bundle = Bundle.open(tmp_path / "bundle", ANYONE)
    expected = json.loads(bundle.read("selftest/expected.json"))
    assert expected["tolerance"] == {"float": 0.01}
    assert all(list(scene["probabilities"]) == ["float"] for scene in expected["scenes"])
    assert not bundle.has("ir/model-int8.xml")


# What is refused


def swap_litert(export: Path) -> None:
    shutil.copyfile(SHIPPED / "tensorflow" / "model.tflite", export / "tensorflow" / "model.tflite")


def swap_saved_model(export: Path) -> None:
    shutil.rmtree(export / "tensorflow" / "saved_model")
    shutil.copytree(SHIPPED / "tensorflow" / "saved_model", export / "tensorflow" / "saved_model")


def ruin_litert(export: Path) -> None:
    (export / "tensorflow" / "model.tflite").write_bytes(b"no network")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (swap_litert, "self-test: litert on CPU gives "),
        (swap_saved_model, "self-test: tensorflow on CPU gives "),
        (ruin_litert, "self-test: LiteRT: "),
        (lambda export: (export / "ir" / "model.bin").unlink(), "names model.bin, which is missing"),
        (lambda export: (export / "ir" / "model-int8.xml").unlink(), "names model-int8.xml, which is missing"),
        (lambda export: (export / "export.json").unlink(), "export.json cannot be read"),
        (lambda export: (export / "export.json").write_text("{"), "export.json cannot be read"),
    ],
)
def test_what_is_broken_is_not_packed(
    damaged_export: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], object],
    reason: str,
) -> None:
    damage(damaged_export)
    assert pack(damaged_export, tmp_path / "bundle") == 2
    assert reason in error_line(capsys)
    assert [entry.name for entry in tmp_path.iterdir()] == ["export"]


def test_a_folder_that_is_no_bundle_is_not_replaced(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert pack(exported, tmp_path) == 2
    assert "is not a bundle; it is not replaced" in error_line(capsys)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--name", "Terrain Damage"], "--name Terrain Damage: expected lower-case"),
        (["--alert", "flooded"], "--alert flooded: no such label, expected some of damaged, undamaged"),
        (["--key", "/nowhere/team.key"], "/nowhere/team.key: No such file"),
        (["--reference", "/nowhere"], "bundle /nowhere: manifest.json is missing"),
        (["--recall", "0.9", "--data", "/nowhere"], "/nowhere: no such folder"),
    ],
)
def test_a_mistake_is_named_in_one_line(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert pack(exported, tmp_path / "bundle", *arguments) == 2
    assert reason in error_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_data_with_other_labels_are_refused(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in ("field", "forest"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for shade in range(3):
            pixels = np.full((128, 128, 3), 40 * shade + len(label), np.uint8)
            assert cv2.imwrite(str(tmp_path / "photos" / label / f"{shade}.png"), pixels)
    assert pack(exported, tmp_path / "bundle", "--recall", 0.9, "--data", tmp_path / "photos") == 2
    assert "has the labels field, forest, expected damaged, undamaged" in error_line(capsys)


def test_labels_to_alert_of_must_be_named_where_none_is_damaged() -> None:
    assert choose_alert_labels(("damaged", "undamaged"), ()) == ("damaged",)
    assert choose_alert_labels(("field", "fire", "flood"), ("flood", "fire", "flood")) == ("flood", "fire")
    with pytest.raises(PackError, match="--alert is required"):
        choose_alert_labels(("field", "forest"), ())


# The gate


def test_a_worse_network_than_the_one_in_use_is_not_packed(
    exported: Path, town_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pack(exported, tmp_path / "bundle", "--reference", SHIPPED, "--data", town_photos, "--folds", 2) == 1
    said = error_line(capsys)
    assert "not packed: balanced accuracy lies more than 0 points below" in said
    assert "on the same held-out tiles: photos " in said
    assert "against 100.00%" in said
    assert not (tmp_path / "bundle").exists()


def test_a_network_that_is_no_worse_is_packed_and_both_figures_are_said(
    exported: Path, packed: Path, town_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pack(exported, tmp_path / "bundle", "--reference", packed, "--data", town_photos, "--folds", 2) == 0
    said = re.search(rf"photos: balanced accuracy (\S+), {packed} (\S+), on the same 12 tiles", capsys.readouterr().out)
    assert said is not None
    assert said[1] == said[2]


def test_a_worse_network_is_packed_where_so_much_may_be_lost(exported: Path, town_photos: Path, tmp_path: Path) -> None:
    data = ("--data", town_photos, "--folds", 2)
    assert pack(exported, tmp_path / "bundle", "--reference", SHIPPED, *data, "--most-lost", 1) == 0


def test_a_split_by_which_it_learned_from_tiles_that_are_measured_on_is_said(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pack(exported, tmp_path / "bundle", "--recall", 0.5, "--split", "random") == 0
    assert "warning: rendered: split otherwise than for fit" in capsys.readouterr().err


def test_a_loss_on_any_data_set_counts() -> None:
    compared = [Compared("harvey", 100, 0.98, 0.97), Compared("haiti", 50, 0.90, 0.93)]
    assert [each.dataset for each in worse(compared, 0.0)] == ["haiti"]
    assert worse(compared, 0.03) == []
    assert worse([Compared("harvey", 100, 0.97, 0.97)], 0.0) == []
