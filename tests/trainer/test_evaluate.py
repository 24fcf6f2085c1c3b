"""``overflight-train evaluate``: runs, cross-validations, exports and bundles, and the report that comes of them."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import html.parser
import io
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from edge.bundle import SHIPPED
from trainer.cli import main
from trainer.evaluate.evaluate import alert_label

TILES = 24
THREE = ("field", "roof", "water")


def folder_of_colours(root: Path, labels: tuple[str, ...], *, seed: int, names: bool = False) -> Path:
    """Tiles in a folder for each label, whose colour mostly tells it; with names that say places if wanted."""
    rng = np.random.default_rng(seed)
    for index, label in enumerate(labels):
        (root / label).mkdir(parents=True)
        for number in range(TILES):
            centre = np.zeros(3) + 60
            centre[index] = 150
            image = np.clip(rng.normal(centre, 60, (16, 16, 3)) + rng.normal(0, 25, 3), 0, 255).astype(np.uint8)
            image = cv2.resize(image, (128, 128), interpolation=cv2.INTER_NEAREST)
            # Blocks 3 km apart, each with tiles 100 m apart.
            east_m, north_m = 3000 * (number % 6) + 100 * (number // 6), 100 * index
            name = f"{-95 + east_m / 96_400:.6f}_{30 + north_m / 111_320:.6f}" if names else str(number)
            assert cv2.imwrite(str(root / label / f"{name}.png"), image)
    return root


def measured(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """What ``evaluate --json`` prints."""
    capsys.readouterr()
    assert main(["evaluate", *map(str, arguments), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert isinstance(content, dict)
    return content


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line with which ``evaluate`` ends with status 2."""
    capsys.readouterr()
    assert main(["evaluate", *map(str, arguments)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("overflight-train: ")
    assert said.err.count("\n") == 1
    return said.err


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiles whose names say where they are."""
    return folder_of_colours(tmp_path_factory.mktemp("data") / "coast", THREE, seed=1, names=True)


@pytest.fixture(scope="module")
def place_run(places: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three labels that was split by place."""
    run = tmp_path_factory.mktemp("runs") / "coast"
    assert main(["fit", "--data", str(places), "--epochs", "1", "--folds", "3", "--fold", "2", "--out", str(run)]) == 0
    return run


@pytest.fixture(scope="module")
def town_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a rendered town."""
    run = tmp_path_factory.mktemp("runs") / "town"
    assert main(["fit", "--data", "rendered:24", "--epochs", "1", "--out", str(run)]) == 0
    return run


@pytest.fixture(scope="module")
def town(town_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A report of that run, and what was printed when it was written as JSON, too."""
    out = tmp_path_factory.mktemp("reports") / "town"
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["evaluate", str(town_run), "--out", str(out), "--json"]) == 0
    return out, said.getvalue()


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-validation of two labels at random."""
    root = tmp_path_factory.mktemp("folds")
    data = folder_of_colours(root / "colours", ("blue", "green"), seed=2)
    arguments = ["--data", data, "--epochs", 1, "--folds", 2, "--cross-validate", "--out", root / "all"]
    assert main(["fit", *map(str, arguments)]) == 0
    return root / "all"


@pytest.fixture(scope="module")
def report(place_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of the run that was split by place."""
    out = tmp_path_factory.mktemp("reports") / "coast"
    assert main(["evaluate", str(place_run), "--alert", "roof", "--errors-block-m", "9000", "--out", str(out)]) == 0
    return out


class Page(html.parser.HTMLParser):
    """What a page is made of; refuses elements that are not closed as they were opened."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_run_is_measured_on_the_tiles_that_it_did_not_learn_from(town_run: Path, town: tuple[Path, str]) -> None:
    content = json.loads(town[1])
    record = json.loads((town_run / "run.json").read_text())
    (section,) = content["sections"]
    assert (content["subject"], content["kind"], content["precision"]) == ("town", "run", "fp32")
    assert (section["name"], section["how"], section["learned_from"]) == ("rendered", "as the data set says", True)
    assert section["figures"]["tiles"] == 96
    # The same network on the same tiles gets what was measured after training.
    assert round(section["figures"]["accuracy"]["value"], 4) == record["metrics"]["rendered"]["accuracy"]
    assert round(section["figures"]["balanced_accuracy"]["value"], 4) == record["metrics"]["rendered"]["balanced_accuracy"]
    assert content["alert"] == "damaged"
    assert section["alert"]["recall"]["value"] >= 0.98
    assert section["floor"]["tiles"] == 96
    assert section["places"] is None
    assert section["distances"] == []
    assert content["fingerprints"] == {"rendered": record["data"][0]["fingerprint"]}
    assert content["warnings"] == []


def test_what_is_printed_as_json_is_what_the_report_holds(town: tuple[Path, str]) -> None:
    assert (town[0] / "metrics.json").read_text() == town[1]


def test_same_evaluation_twice_gives_the_same_report(place_run: Path, report: Path, tmp_path: Path) -> None:
    again = tmp_path / report.name
    assert main(["evaluate", str(place_run), "--alert", "roof", "--errors-block-m", "9000", "--out", str(again)]) == 0
    for name in ("metrics.json", "predictions.csv", "report.html"):
        assert (again / name).read_bytes() == (report / name).read_bytes()


def test_table_says_what_was_measured(place_run: Path, report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = json.loads((report / "metrics.json").read_text())["sections"][0]["figures"]
    assert main(["evaluate", str(place_run)]) == 0
    said = capsys.readouterr().out
    assert f"{figures['balanced_accuracy']['value']:.2%}" in said
    assert f"{figures['accuracy']['value']:.2%}" in said
    assert "expected calibration error" in said
    assert "false alarms per 1000" in said
    assert "over 1000 m from the nearest training tile" in said


def test_run_split_by_place_tells_errors_by_place_and_by_distance(place_run: Path, report: Path) -> None:
    content = json.loads((report / "metrics.json").read_text())
    record = json.loads((place_run / "run.json").read_text())
    (section,) = content["sections"]
    assert content["labels"] == list(THREE)
    assert content["alert"] == "roof"
    assert section["how"] == "by place, blocks of 2000 m, fold 2 of 3"
    assert section["figures"]["tiles"] == record["data"][0]["held_out"]
    assert "blocks of ground" in section["figures"]["interval"]
    assert section["places"]["block_m"] == 9000
    assert sum(block["tiles"] for block in section["places"]["blocks"]) <= section["figures"]["tiles"]
    # Blocks are 3 km apart, so nothing is near.
    assert [(one["from_m"], one["to_m"], one["tiles"]) for one in section["distances"]] == [
        (1000, None, section["figures"]["tiles"])
    ]
    assert section["distances"][0]["accuracy"]["value"] == section["figures"]["accuracy"]["value"]
    assert np.array(section["figures"]["confusion"]).shape == (3, 3)


def test_predictions_are_those_that_the_figures_come_from(report: Path) -> None:
    content = json.loads((report / "metrics.json").read_text())
    figures = content["sections"][0]["figures"]
    with (report / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["dataset", "fold", "name", "label", "decided", *THREE, "longitude", "latitude"]
    assert len(rows) == figures["tiles"]
    right = sum(row["label"] == row["decided"] for row in rows)
    assert right / len(rows) == pytest.approx(figures["accuracy"]["value"], abs=1e-6)
    for row in rows:
        probabilities = {label: float(row[label]) for label in THREE}
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
        assert probabilities[row["decided"]] == max(probabilities.values())
        # The name says where it is.
        assert row["name"].startswith(f"{row['label']}/{float(row['longitude']):.6f}_{float(row['latitude']):.6f}")
        assert row["dataset"] == "coast"


def test_page_needs_nothing_but_itself_and_can_be_read_by_all(report: Path) -> None:
    text = (report / "report.html").read_text()
    page = Page(text)
    assert page.all("html")[0]["lang"] == "en"
    assert not page.all("script")
    assert not page.all("link")
    # Names of XML name spaces are never fetched.
    assert set(re.findall(r"https?://[^\s\"')]+", text)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    for element, attributes in page.elements:
        for name in ("src", "href", "xlink:href"):
            address = attributes.get(name)
            assert address is None or address.startswith(("data:image/", "#")), element
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(identifiers)
    assert len(page.all("svg")) == 6
    for drawing in page.all("svg"):
        assert drawing["role"] == "img"
        assert drawing["aria-label"]
    assert all(picture["alt"] for picture in page.all("img"))
    assert all(header.get("scope") in {"row", "col"} for header in page.all("th"))
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_page_shows_the_worst_mistakes_the_surest_first(report: Path) -> None:
    with (report / "predictions.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] != row["decided"]]
    text = (report / "report.html").read_text()
    worst = sorted(rows, key=lambda row: -float(row[row["decided"]]))[:24]
    assert worst
    pictures = [picture for picture in Page(text).all("img") if str(picture["src"]).startswith("data:image/jpeg;base64,")]
    assert len(pictures) == len(worst)
    shares = [float(share) for share in re.findall(r"</strong> \((\d+\.\d+)%\), but is", text)]
    assert shares == pytest.approx([100 * float(row[row["decided"]]) for row in worst], abs=0.006)


def test_page_without_pictures_has_none(place_run: Path, tmp_path: Path) -> None:
    assert main(["evaluate", str(place_run), "--out", str(tmp_path / "report"), "--no-pictures"]) == 0
    text = (tmp_path / "report" / "report.html").read_text()
    assert "data:image/jpeg" not in text
    assert "Pictures are left out" in text


def test_report_does_not_say_where_it_was_made(report: Path, place_run: Path) -> None:
    content = b"".join(file.read_bytes() for file in report.iterdir())
    assert str(place_run.parent).encode() not in content
    assert str(report.parent).encode() not in content


def test_cross_validation_is_measured_fold_by_fold_each_on_its_own_tiles(
    folds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = measured(capsys, folds)
    record = json.loads((folds / "folds.json").read_text())
    assert content["kind"] == "cross-validation"
    assert [(fold["fold"], fold["name"]) for fold in content["folds"]] == [(1, "colours"), (2, "colours")]
    balanced = [fold["balanced_accuracy"] for fold in content["folds"]]
    assert [round(value, 4) for value in balanced] == [fold["colours"]["balanced_accuracy"] for fold in record["folds"]]
    (spread,) = content["spreads"]
    assert spread["mean"] == pytest.approx(sum(balanced) / 2, abs=1e-6)
    assert (spread["least"], spread["most"]) == (min(balanced), max(balanced))
    assert spread["standard_deviation"] == pytest.approx(abs(balanced[0] - balanced[1]) / math.sqrt(2), abs=2e-6)
    # Pooled, every tile is there once.
    assert content["sections"][0]["figures"]["tiles"] == 2 * TILES
    assert sum(fold["tiles"] for fold in content["folds"]) == 2 * TILES


def test_report_of_a_cross_validation_has_every_tile_once_and_a_table_of_folds(folds: Path, tmp_path: Path) -> None:
    assert main(["evaluate", str(folds), "--out", str(tmp_path / "report")]) == 0
    with (tmp_path / "report" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["name"] for row in rows}) == len(rows) == 2 * TILES
    assert {row["fold"] for row in rows} == {"1", "2"}
    assert "Fold by fold" in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.parametrize("option", [("--fold", 2), ("--split", "random"), ("--folds", 3), ("--block-m", 100)])
def test_cross_validation_is_not_split_in_another_way(
    folds: Path, capsys: pytest.CaptureFixture[str], option: tuple[str, object]
) -> None:
    assert option[0] in refused(capsys, folds, *option)


def test_cross_validation_is_not_asked_about_all_tiles(folds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "name one fold-… folder instead" in refused(capsys, folds, "--all")


def test_cross_validation_that_misses_a_fold_is_one_line(
    folds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folds, tmp_path / "all")
    shutil.rmtree(tmp_path / "all" / "fold-2")
    assert str(tmp_path / "all" / "fold-2") in refused(capsys, tmp_path / "all")
    (tmp_path / "all" / "folds.json").write_text("{")
    assert "folds.json cannot be read" in refused(capsys, tmp_path / "all")


def test_data_that_it_did_not_learn_from_can_be_measured_on_all_tiles(
    place_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = folder_of_colours(tmp_path / "island", THREE, seed=9)
    content = measured(capsys, place_run, "--data", other, "--all")
    (section,) = content["sections"]
    assert section["figures"]["tiles"] == 3 * TILES
    assert (section["how"], section["learned_from"], section["floor"], section["distances"]) == ("all tiles", False, None, [])
    assert content["warnings"] == []
    content = measured(capsys, place_run, "--data", other)
    assert content["sections"][0]["figures"]["tiles"] < 3 * TILES
    assert "--all measures on all tiles" in content["warnings"][0]


def test_all_tiles_of_what_it_learned_from_flatter_and_the_report_says_so(
    place_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = measured(capsys, place_run, "--all")
    assert content["sections"][0]["learned_from"] is True
    assert "coast: measured on all tiles, those that the model learned from too" in content["warnings"][0]


def test_another_split_than_that_of_the_training_flatters_and_the_report_says_so(
    place_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = measured(capsys, place_run, "--fold", 1)
    assert content["sections"][0]["how"] == "by place, blocks of 2000 m, fold 1 of 3"
    assert content["sections"][0]["distances"] == []
    assert "not split as for training" in content["warnings"][0]


def test_data_changed_since_the_training_are_reported(
    place_run: Path, places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(places, tmp_path / "coast")
    next((tmp_path / "coast" / "roof").iterdir()).unlink()
    content = measured(capsys, place_run, "--data", tmp_path / "coast")
    assert content["sections"][0]["learned_from"] is False
    assert "not the very data" in content["warnings"][0]


def test_moved_data_are_recognized(place_run: Path, places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(places, tmp_path / "moved")
    content = measured(capsys, place_run, "--data", tmp_path / "moved")
    assert content["sections"][0]["learned_from"] is True
    assert content["sections"][0]["distances"]
    assert content["warnings"] == []


def test_several_data_sets_are_measured_each_and_all_together(
    place_run: Path, places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = folder_of_colours(tmp_path / "island", THREE, seed=3)
    content = measured(capsys, place_run, "--data", places, "--data", other)
    coast, island, everything = content["sections"]
    assert [section["name"] for section in content["sections"]] == ["coast", "island", "all together"]
    assert everything["figures"]["tiles"] == coast["figures"]["tiles"] + island["figures"]["tiles"]
    total = np.array(coast["figures"]["confusion"]) + np.array(island["figures"]["confusion"])
    assert everything["figures"]["confusion"] == total.tolist()
    assert (island["places"], everything["places"]) == (None, None)
    assert coast["places"] is not None
    # The distances of one data set are known, those of the other are not.
    assert sum(one["tiles"] for one in everything["distances"]) == coast["figures"]["tiles"]


def test_bundle_is_measured_on_the_data_that_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = folder_of_colours(tmp_path / "photos", ("damaged", "undamaged"), seed=4)
    content = measured(capsys, SHIPPED, "--data", data, "--precision", "fp16", "--all")
    assert (content["kind"], content["precision"]) == ("bundle", "fp16")
    assert content["sections"][0]["figures"]["tiles"] == 2 * TILES
    assert content["sections"][0]["learned_from"] is None
    assert "It is not known what this model learned from" in content["warnings"][0]


def test_export_is_measured_on_the_tiles_that_its_run_did_not_learn_from(
    place_run: Path, report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # As the exporter lays it out, with a network that always says the same.
    record = json.loads((place_run / "run.json").read_text())
    del record["history"]
    keys = ("source", "network", "formats", "left_out", "gate", "calibration", "metrics")
    export = dict(zip(keys, ("coast", "overflight-s", ["fp16"], {}, None, None, {}), strict=True))
    export |= {"labels": list(reversed(THREE)), "height": 128, "width": 128, "run": record}
    (tmp_path / "export" / "ir").mkdir(parents=True)
    (tmp_path / "export" / "export.json").write_text(json.dumps(export))
    images = ops.parameter([-1, -1, -1, 3], np.uint8, name="images")
    means = ops.reduce_mean(ops.convert(images, "f32"), np.array([1, 2]), False)
    constant = ops.softmax(ops.add(ops.multiply(means, np.float32(0)), np.array([[0, 2, 1]], np.float32)), 1)
    openvino.save_model(openvino.Model([constant], [images], "constant"), tmp_path / "export" / "ir" / "model.xml")
    content = measured(capsys, tmp_path / "export")
    of_run = json.loads((report / "metrics.json").read_text())
    assert (content["kind"], content["precision"], content["labels"]) == ("export", "fp16", list(reversed(THREE)))
    (section,) = content["sections"]
    assert section["how"] == of_run["sections"][0]["how"]
    assert section["learned_from"] is True
    assert section["distances"][0]["tiles"] == section["figures"]["tiles"] == of_run["sections"][0]["figures"]["tiles"]
    # All is decided "roof", the second of its labels, and the true ones are in its order.
    tiles = {label["label"]: label["tiles"] for label in of_run["sections"][0]["figures"]["by_label"]}
    assert section["figures"]["confusion"] == [[0, tiles[label], 0] for label in reversed(THREE)]
    export["run"] = {}
    (tmp_path / "export" / "export.json").write_text(json.dumps(export))
    assert "--data is required" in refused(capsys, tmp_path / "export")
    (tmp_path / "export" / "export.json").write_text("{}")
    assert "export.json cannot be read" in refused(capsys, tmp_path / "export")


def test_bundle_without_data_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--data is required" in refused(capsys, SHIPPED)


def test_labels_that_do_not_fit_are_one_line(place_run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = folder_of_colours(tmp_path / "colours", ("blue", "green"), seed=2)
    said = refused(capsys, place_run, "--data", data, "--out", tmp_path / "report")
    assert "colours: has the labels blue, green, expected field, roof, water" in said
    assert list(tmp_path.iterdir()) == [data]


def test_data_that_are_gone_are_one_line(place_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(place_run, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    record["data"][0]["argument"] = str(tmp_path / "gone")
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    assert f"{tmp_path / 'gone'}: no such folder" in refused(capsys, tmp_path / "run")


def test_label_to_alert_of_that_there_is_not_is_one_line(place_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--alert fire: expected one of field, roof, water" in refused(capsys, place_run, "--alert", "fire")


def test_label_to_alert_of_is_damaged_or_the_first() -> None:
    assert alert_label(("bare", "damaged"), None) == "damaged"
    assert alert_label(THREE, None) == "field"
    assert alert_label(THREE, "water") == "water"


def test_precision_that_a_run_has_not_is_one_line(place_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "coast: a run is fp32, not int8; export it first" in refused(capsys, place_run, "--precision", "int8")


def test_what_is_no_model_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, tmp_path, "--data", "rendered:96")
    assert (
        f"{tmp_path}: expected a run folder (with run.json), a cross-validation (with folds.json), "
        "an export (with export.json) or a bundle (with manifest.json)"
    ) in said


def test_network_that_answers_nan_is_one_line(place_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(place_run, tmp_path / "run")
    model = keras.models.load_model(place_run / "model.keras", compile=False)
    last = model.layers[-1] if model.layers[-1].weights else next(layer for layer in reversed(model.layers) if layer.weights)
    last.set_weights([np.full_like(weight, np.nan) for weight in last.get_weights()])
    model.save(tmp_path / "run" / "model.keras")
    said = refused(capsys, tmp_path / "run", "--out", tmp_path / "report")
    assert "answers NaN or infinity for 24 of 24 tiles of coast" in said
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_older_report_is_replaced_and_nothing_else_is(
    place_run: Path, report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(report, tmp_path / "report")
    assert main(["evaluate", str(place_run), "--out", str(tmp_path / "report")]) == 0
    assert json.loads((tmp_path / "report" / "metrics.json").read_text())["alert"] == "field"
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to-mum.txt").write_text("Dear mum")
    (tmp_path / "file").write_text("a file")
    for target in ("letters", "file"):
        assert "holds something else than a report" in refused(capsys, place_run, "--out", tmp_path / target)
    assert (tmp_path / "letters" / "to-mum.txt").read_text() == "Dear mum"
    assert (tmp_path / "file").read_text() == "a file"


def test_report_that_cannot_be_written_leaves_the_older_one_as_it_is(
    place_run: Path, report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    shutil.copytree(report, tmp_path / "report")
    before = {file.name: hashlib.sha256(file.read_bytes()).digest() for file in (tmp_path / "report").iterdir()}
    monkeypatch.setattr("trainer.evaluate.report._write_predictions", full)
    assert main(["evaluate", str(place_run), "--out", str(tmp_path / "report")]) == 1
    assert "no room on the disk" in capsys.readouterr().err
    assert before == {file.name: hashlib.sha256(file.read_bytes()).digest() for file in (tmp_path / "report").iterdir()}
    assert [entry.name for entry in tmp_path.iterdir()] == ["report"]


def test_names_of_files_are_text_in_the_page_and_nothing_more(tmp_path: Path) -> None:
    labels = ("a<b>", "c&d$x$")
    data = folder_of_colours(tmp_path / "odd", labels, seed=6)
    for label in labels:
        for file in (data / label).iterdir():
            file.rename(file.with_name(f"<script>alert(1)<{file.stem}.png"))
    assert main(["fit", "--data", str(data), "--epochs", "1", "--out", str(tmp_path / "run")]) == 0
    assert main(["evaluate", str(tmp_path / "run"), "--out", str(tmp_path / "report")]) == 0
    text = (tmp_path / "report" / "report.html").read_text()
    assert not Page(text).all("script")
    assert not Page(text).all("b")


def test_help_says_what_can_be_evaluated(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["evaluate", "--help"])
    assert exited.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "example: overflight-train evaluate " in said
    assert "run folder, cross-validation, export or bundle" in said


@pytest.mark.parametrize("wrong", [["--recall", "2"], ["--precision", "int4"], ["--errors-block-m", "-5"], []])
def test_wrong_arguments_end_with_status_2(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["evaluate", *wrong])
    assert exited.value.code == 2
