"""``overflight-train compare``: what it measures adds up, and an engine that cannot be measured costs its own row alone."""

from __future__ import annotations

import csv
import itertools
import json
import shutil
import signal
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from trainer.cli import main
from trainer.commands import compare as command
from trainer.compare.charts import apart, draw
from trainer.compare.engines import ENGINES
from trainer.compare.figures import Figures, Spread, agreement, spread
from trainer.compare.measure import Measurements, Plan, measure
from trainer.compare.protocol import Latency, Loaded
from trainer.compare.subjects import CompareError, Row, base_of, open_subjects, rows_of

LABELS = ("damaged", "undamaged")
LIGHT = ("litert", "openvino-fp16", "onnxruntime")
# Fixtures train, export and start TensorFlow twice.
pytestmark = pytest.mark.timeout(400)
FEW = ("--runs", "1", "--images", "8", "--curve-runs", "0")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What was said on standard error, which must be one line."""
    said = capsys.readouterr().err
    assert said.startswith("overflight-train: ")
    assert said.count("\n") == 1, said
    return said


def plan(rounds: int = 2) -> Plan:
    latency = Latency(least=2, most=2, enough_s=0.0)
    return Plan(rounds, 0, (), threads=1, limit_s=60.0, throughput_samples=8, latency=latency)


@pytest.fixture(scope="module")
def tiles(rendered_images: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each label, which takes less time to read than a town takes to render."""
    root = tmp_path_factory.mktemp("tiles")
    for number, image in enumerate(rendered_images):
        (root / LABELS[number % 2]).mkdir(exist_ok=True)
        cv2.imwrite(str(root / LABELS[number % 2] / f"{number}.png"), image[..., ::-1])
    return root


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """An export that may be damaged."""
    return Path(shutil.copytree(exported, tmp_path / "copied"))


@pytest.fixture(scope="module")
def written(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of all engines."""
    folder = tmp_path_factory.mktemp("compared") / "comparison"
    arguments = ["--runs", "2", "--images", "64", "--samples", "16:48:16", "--out", str(folder)]
    assert main(["compare", str(exported), *arguments]) == 0
    return folder


def test_compare_measures_every_engine_and_all_formats_answer_alike(written: Path, exported: Path) -> None:
    rows = table(written / "comparison.csv")
    assert [row["engine"] for row in rows] == list(ENGINES)
    assert [row["failed"] for row in rows] == [""] * len(rows)
    for row in rows:
        limit = 0.2 if row["engine"] == "openvino-int8" else 1e-3
        assert float(row["largest_difference"]) <= limit, row["engine"]
        assert 0 < float(row["load_s"]) < float(row["first_result_s"])
        assert float(row["latency_least_s"]) <= float(row["latency_s"]) <= float(row["latency_most_s"])
        assert 0 < int(row["memory_loaded_bytes"]) <= int(row["memory_peak_bytes"])
    # What the exporter measured of its INT8 on the same tiles.
    measured = json.loads((exported / "export.json").read_text())["metrics"]["rendered"]
    int8 = next(row for row in rows if row["engine"] == "openvino-int8")
    assert float(int8["accuracy"]) == pytest.approx(measured["accuracy"], abs=1e-4)
    assert int(int8["errors"]) == round((1 - measured["accuracy"]) * measured["tiles"])


def test_compare_takes_medians_over_the_rounds_and_ratios_within_them(written: Path) -> None:
    runs = table(written / "runs.csv")

    def rounds(row: str, measured: str) -> dict[str, float]:
        chosen = sorted((run for run in runs if (run["row"], run["measured"]) == (row, measured)), key=lambda run: run["round"])
        return {
            number: statistics.median(float(run["seconds"]) for run in group)
            for number, group in itertools.groupby(chosen, key=lambda run: run["round"])
        }

    for row in table(written / "comparison.csv"):
        latency, base = rounds(row["row"], "latency"), rounds("Keras predict", "latency")
        assert list(latency) == ["1", "2"]
        assert float(row["latency_s"]) == pytest.approx(statistics.median(latency.values()), rel=1e-5)
        ratio = statistics.median(latency[number] / base[number] for number in latency)
        assert float(row["latency_ratio"]) == pytest.approx(ratio, rel=1e-5)
        throughput = rounds(row["row"], "throughput")
        images_per_s = statistics.median(64 / seconds for seconds in throughput.values())
        assert float(row["images_per_s"]) == pytest.approx(images_per_s, rel=1e-5)


def test_compare_writes_the_time_against_the_number_of_samples(written: Path) -> None:
    lines = [(line["row"], int(line["samples"])) for line in table(written / "samples.csv")]
    assert lines == [(form.title, samples) for form in ENGINES.values() for samples in (16, 32, 48)]


def test_compare_writes_a_page_that_says_what_was_measured_on_what_and_how(written: Path) -> None:
    page = (written / "comparison.md").read_text()
    assert f"overflight-train compare {page.split()[page.split().index('compare') + 1]} --runs 2 --images 64" in page
    for said in ("Processor: ", "openvino 20", "tensorflow 2", "96 of rendered (as the data set says)", "each of 2 rounds"):
        assert said in page
    for name in ("latency", "throughput", "memory", "samples"):
        assert f"({name}.svg)" in page
        drawing = ET.fromstring((written / f"{name}.svg").read_text())
        texts = {"".join(element.itertext()).strip() for element in drawing.iter("{http://www.w3.org/2000/svg}text")}
        assert texts >= {form.title for form in ENGINES.values()}
        assert not list(drawing.iter("{http://www.w3.org/2000/svg}image"))
    assert {file.name for file in written.iterdir()} == {
        *("comparison.md", "comparison.csv", "runs.csv", "samples.csv"),
        *("latency.svg", "throughput.svg", "memory.svg", "samples.svg"),
    }


def test_compare_of_two_exports_names_both_and_refers_to_the_wanted_base(
    exported: Path, copied: Path, tiles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "comparison"
    arguments = [
        "--data",
        str(tiles),
        "--engines",
        "litert,onnxruntime",
        "--base",
        "copied onnxruntime",
        *FEW,
        "--out",
        str(target),
    ]
    assert main(["compare", str(exported), str(copied), *arguments]) == 0
    rows = table(target / "comparison.csv")
    assert [row["row"] for row in rows] == ["town LiteRT", "town ONNX Runtime", "copied LiteRT", "copied ONNX Runtime"]
    assert [row["is_base"] for row in rows] == ["0", "0", "0", "1"]
    assert "copied ONNX Runtime" in capsys.readouterr().out
    assert not (target / "samples.svg").exists()


def test_the_same_figures_give_the_same_charts() -> None:
    def row(engine: str, seconds: float) -> Figures:
        times = Spread(seconds, seconds, seconds, None)
        loaded = Loaded({}, load_s=1.0, first_result_s=2.0, loaded_bytes=10**7, peak_bytes=2 * 10**7)
        title = ENGINES[engine].title
        return Figures(title, "town", engine, "", False, loaded, None, times, times, times, None, {8: seconds, 16: 2 * seconds})

    figures = [row("litert", 0.001), row("openvino-int8", 0.0009), row("keras", 0.2)]
    charts = draw(figures)
    assert [chart.name for chart in charts] == ["latency.svg", "throughput.svg", "memory.svg", "samples.svg"]
    assert draw(figures) == charts
    assert not any("date" in chart.svg for chart in charts)
    assert draw([]) == []


def test_labels_of_lines_that_end_together_do_not_lie_upon_each_other() -> None:
    heights = apart([0.1, 0.1, 0.5, 0.99, 1.0])
    assert all(above - below > 0.04 for below, above in itertools.pairwise(heights))
    assert max(heights) <= 1.0


def test_a_worker_that_is_killed_costs_its_own_row(exported: Path, rendered_images: np.ndarray) -> None:
    rows = rows_of(open_subjects([exported]), LIGHT)

    def watch(what: str, row: Row) -> None:
        if (what, row.engine) == ("images per second, round 1", "openvino-fp16"):
            # Workers are started in the order of the rows.
            workers = sorted(psutil.Process().children(), key=lambda child: child.create_time())
            workers[LIGHT.index("openvino-fp16")].kill()

    measured = {one.row.engine: one for one in measure(rows, rendered_images, LABELS, plan(), watch)}
    assert measured["openvino-fp16"].failed == "ended by SIGKILL"
    assert list(measured["openvino-fp16"].latency_s) == [1]
    for engine in ("litert", "onnxruntime"):
        assert not measured[engine].failed
        assert list(measured[engine].throughput_s) == [1, 2]
    assert not psutil.Process().children()


def test_what_cannot_be_measured_says_why_and_the_others_go_on(
    copied: Path, tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied / "ir" / "model.xml").write_text("<net/>")
    (copied / "ir" / "model-fp32.xml").unlink()
    record = json.loads((copied / "export.json").read_text())
    record["left_out"] = {"int8": "costs more balanced accuracy than 0.3%"}
    (copied / "export.json").write_text(json.dumps(record))
    # A runtime that is not installed raises this.
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "onnxruntime.py").write_text("raise ModuleNotFoundError(\"No module named 'onnxruntime'\", name='onnxruntime')\n")
    monkeypatch.setenv("PYTHONPATH", str(shadow))
    target = tmp_path / "comparison"
    engines = "litert,openvino-fp32,openvino-fp16,openvino-int8,onnxruntime"
    assert main(["compare", str(copied), "--data", str(tiles), "--engines", engines, *FEW, "--out", str(target)]) == 0
    failed = {row["engine"]: row["failed"] for row in table(target / "comparison.csv")}
    assert failed["litert"] == ""
    assert failed["openvino-fp32"] == "left out: the export has no ir/model-fp32.xml"
    assert failed["openvino-int8"] == "left out: costs more balanced accuracy than 0.3%"
    assert failed["onnxruntime"] == "not installed: onnxruntime"
    assert failed["openvino-fp16"]
    said = capsys.readouterr().out
    assert "- ONNX Runtime: not installed: onnxruntime" in said
    assert "- OpenVINO INT8: left out: costs more" in said


def test_ctrl_c_ends_all_workers_and_leaves_nothing_behind(exported: Path, tiles: Path, tmp_path: Path) -> None:
    arguments = ["compare", exported, "--data", tiles, "--engines", "litert,onnxruntime"]
    arguments += ["--runs", "100000", "--out", tmp_path / "comparison"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from trainer.cli import main; raise SystemExit(main())", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
    )
    children: list[psutil.Process] = []
    while len(children) < 2:
        assert process.poll() is None
        children = psutil.Process(process.pid).children()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 1
    assert not psutil.wait_procs(children, timeout=30)[1]
    assert not list(tmp_path.iterdir())


def test_a_ratio_is_the_median_of_the_ratios_within_each_round() -> None:
    # The second round was ten times slower for both, which changes nothing.
    compared = spread({1: 1.0, 2: 10.0, 3: 3.0}, {1: 2.0, 2: 20.0, 3: 4.0})
    assert compared is not None
    assert (compared.median, compared.least, compared.most, compared.ratio) == (3.0, 1.0, 10.0, 0.5)
    alone = spread({1: 1.0}, {})
    assert alone is not None
    assert alone.ratio is None
    assert spread({}, {1: 1.0}) is None


def test_agreement_counts_errors_and_what_differs_from_the_base() -> None:
    base = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]], np.float32)
    other = np.array([[0.8, 0.2], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]], np.float32)
    labels = np.array([0, 0, 0, 1], np.int32)
    found = agreement(other, base, labels)
    assert (found.errors, found.accuracy, found.decided_differently) == (2, 0.5, 1)
    assert found.balanced_accuracy == pytest.approx((1 / 3 + 1) / 2)
    assert found.largest_difference == pytest.approx(0.2)
    assert agreement(other, None, labels).decided_differently is None


def test_probabilities_are_in_the_order_of_the_labels_of_the_data(copied: Path, rendered_images: np.ndarray) -> None:
    def answered() -> Measurements:
        rows = rows_of(open_subjects([copied]), ["litert"])
        return measure(rows, rendered_images, LABELS, plan(rounds=0), lambda what, row: None)[0]

    straight = answered()
    record = json.loads((copied / "export.json").read_text())
    (copied / "export.json").write_text(json.dumps({**record, "labels": list(reversed(record["labels"]))}))
    turned = answered()
    assert straight.probabilities is not None
    assert turned.probabilities is not None
    assert np.array_equal(turned.probabilities, straight.probabilities[:, ::-1])


def test_the_base_is_found_by_key_or_title(exported: Path, copied: Path) -> None:
    (copied / "trainer" / "model.keras").unlink()
    rows = rows_of(open_subjects([exported, copied]), ["keras", "openvino-int8"])
    assert base_of(rows, None).label == "town Keras predict"
    assert base_of(rows, "copied openvino int8").label == "copied OpenVINO INT8"
    assert base_of(rows, "openvino-int8").label == "town OpenVINO INT8"
    with pytest.raises(CompareError, match='expected one of "town keras"'):
        base_of(rows, "copied keras")
    assert base_of(rows[2:], None).label == "copied OpenVINO INT8"


def test_the_command_knows_the_engines_that_there_are() -> None:
    assert tuple(ENGINES) == command._ENGINES


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--base", "town tensorrt"], "--base town tensorrt: expected one of"),
        (["--threads", "100000"], "--threads 100000"),
        (["--data", "nowhere:x"], "no reader nowhere"),
    ],
)
def test_a_wrong_argument_is_one_line(
    exported: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(["compare", str(exported), *arguments]) == 2
    assert says in error_line(capsys)


@pytest.mark.parametrize("arguments", [["--samples", "9:1:2"], ["--samples", "7"], ["--engines", "litert,tensorrt"]])
def test_a_value_that_is_none_is_refused(exported: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["compare", str(exported), *arguments])
    assert exited.value.code == 2
    assert arguments[1].split(",")[-1] in capsys.readouterr().err


def test_folders_that_do_not_fit_are_one_line(
    exported: Path, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(tmp_path)]) == 2
    assert "export.json cannot be read" in error_line(capsys)
    assert main(["compare", str(exported), str(exported)]) == 2
    assert "two exports are named town" in error_line(capsys)
    other: dict[str, Any] = json.loads((copied / "export.json").read_text())
    (copied / "export.json").write_text(json.dumps({**other, "run": {}}))
    assert main(["compare", str(copied)]) == 2
    assert "give --data" in error_line(capsys)
    (copied / "export.json").write_text(json.dumps({**other, "labels": ["a", "b"]}))
    assert main(["compare", str(exported), str(copied)]) == 2
    assert "has the labels a, b, expected damaged, undamaged" in error_line(capsys)
    assert main(["compare", str(exported), "--out", str(exported)]) == 2
    assert "is not a comparison" in error_line(capsys)
