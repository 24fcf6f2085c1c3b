"""Harvesting: what a device brought back becomes folders to label, and what was labelled becomes a better bundle."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.bundle import ANYONE, Bundle
from edge.capture.directory import key_of
from edge.journal import FrameRecord, Journal
from edge.messages import rfc3339, uuid7
from edge.records import Alert, Fix, Frame, ModelName, Observation, Prediction, Tile
from tests.conftest import Overflight
from trainer.cli import main
from trainer.datasets import DatasetError, read
from trainer.harvest import HarvestError, harvest
from trainer.harvest.frames import oddness

CAPTURED_AT = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)


class Device:
    """A folder of frames and the journal of a device that observed them."""

    def __init__(self, folder: Path) -> None:
        self.frames = folder / "inbox"
        self.path = folder / "state" / "journal.db"
        self.frames.mkdir()
        self.journal = Journal(self.path, "uav-1")
        self.last: Observation | None = None

    def observe(
        self,
        name: str,
        damaged: float,
        *,
        pixels: NDArray[np.uint8] | None = None,
        tiles: int = 1,
        tile: Tile | None = None,
        probabilities: Mapping[str, float] | None = None,
        confirms: Observation | None = None,
    ) -> str | None:
        """Put a frame into the folder and into the journal; returns the id of the alert about it.

        Args:
            tile: The only one of several that has an answer.
            confirms: An observation of an earlier frame that the alert is about instead.
        """
        file = self.frames / name
        file.parent.mkdir(parents=True, exist_ok=True)
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
        noise = np.random.default_rng(seed).integers(0, 256, (96, 128, 3), np.uint8)
        shown = noise if pixels is None else pixels
        assert cv2.imwrite(str(file), shown)
        key = key_of(str(file), str(self.frames), file.stat())
        height, width = shown.shape[:2]
        frame = Frame(key, CAPTURED_AT, width, height, shown)
        said = probabilities or {"damaged": damaged, "undamaged": 1 - damaged}
        prediction = Prediction(said, ModelName("town", 3, "ab" * 32), "openvino", "CPU", 0.5)
        fix = Fix(29.5, -95.25, "exif", CAPTURED_AT)
        step = width // tiles
        boxes = [Tile(step * at, 0, step, height) for at in range(tiles)] if tile is None else [tile]
        observations = [Observation(frame, box, prediction, fix) for box in boxes]
        self.last = observations[0]
        alert = Alert(uuid7(), confirms or observations[0], "damaged", damaged) if damaged >= 0.5 else None
        alerts = [] if alert is None else [alert]
        self.journal.record([FrameRecord(key, rfc3339(CAPTURED_AT), "observed", None, observations, alerts)])
        return None if alert is None else alert.id


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    device = Device(tmp_path)
    yield device
    device.journal.close()


def queue(folder: Path) -> list[dict[str, str]]:
    with (folder / "queue.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run(device: Device, out: Path, *more: object) -> int:
    device.journal.close()
    status = main(["harvest", str(device.path), "--frames", str(device.frames), "--out", str(out), *map(str, more)])
    device.journal = Journal(device.path, "uav-1")
    return status


def images(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.png"))


# What comes first


def test_an_alert_that_a_later_frame_confirmed_is_of_the_frame_that_it_tells_of(device: Device, tmp_path: Path) -> None:
    device.observe("told.png", 0.45)
    alert = device.observe("confirms.png", 0.6, confirms=device.last)
    operators = tmp_path / "operators.jsonl"
    operators.write_text(json.dumps({"alert": alert, "label": "undamaged"}))
    out = tmp_path / "out"
    assert run(device, out, "--contradicted", operators) == 0
    assert [(row["frame"], row["true_label"], row["alert"]) for row in queue(out)] == [
        ("told.png", "undamaged", alert),
        ("confirms.png", "", ""),
    ]


def test_what_an_operator_contradicted_comes_first_and_then_what_was_least_sure(device: Device, tmp_path: Path) -> None:
    for name, damaged in (("sure.png", 0.99), ("torn.png", 0.52), ("unsure.png", 0.35), ("clear.png", 0.04)):
        device.observe(name, damaged)
    wrong, right = device.observe("day 2/wrong.png", 0.97), device.observe("day 2/right.png", 0.98)
    operators = tmp_path / "operators.jsonl"
    lines = [
        {"alert": wrong, "label": "undamaged"},
        {"alert": right, "label": "damaged"},
        {"frame": "clear.png", "label": "damaged"},
    ]
    operators.write_text("\n".join(map(json.dumps, lines)) + "\n")
    out = tmp_path / "out"
    assert run(device, out, "--contradicted", operators) == 0
    rows = queue(out)
    assert [(row["frame"], row["reason"]) for row in rows] == [
        ("clear.png", "contradicted"),
        ("day 2/wrong.png", "contradicted"),
        ("day 2/right.png", "confirmed"),
        ("torn.png", "uncertain"),
        ("unsure.png", "uncertain"),
        ("sure.png", "ordinary"),
    ]
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 7)]
    assert images(out) == sorted(row["file"] for row in rows)
    assert images(out) == [
        "damaged/0001-contradicted_clear.png",
        "damaged/0003-confirmed_day 2_right.png",
        "undamaged/0002-contradicted_day 2_wrong.png",
        "unlabelled/0004-uncertain_torn.png",
        "unlabelled/0005-uncertain_unsure.png",
        "unlabelled/0006-ordinary_sure.png",
    ]
    for row in rows:
        assert (out / row["file"]).read_bytes() == (device.frames / row["frame"]).read_bytes()


def test_the_queue_says_what_the_device_decided_where_and_when(device: Device, tmp_path: Path) -> None:
    device.observe("a.png", 0.1)
    alert = device.observe("b.png", 0.75)
    assert run(device, tmp_path / "out") == 0
    first, second = queue(tmp_path / "out")
    assert first == {
        "rank": "1",
        "reason": "ordinary",
        "file": "unlabelled/0001-ordinary_b.png",
        "frame": "b.png",
        "decided": "damaged",
        "probability": "0.750000",
        "margin": "0.500000",
        "true_label": "",
        "longitude": "-95.25",
        "latitude": "29.5",
        "captured_at": "2026-11-21T10:00:00.000Z",
        "sequence": "1",
        "alert": alert,
    }
    assert (second["decided"], second["sequence"], second["alert"]) == ("undamaged", "", "")


def test_the_limit_leaves_room_for_what_is_odd(device: Device, tmp_path: Path) -> None:
    grey = np.random.default_rng(1)
    for index in range(30):
        device.observe(f"{index:02}.png", 0.51 + index / 200, pixels=grey.integers(100, 140, (128, 128, 3), np.uint8))
    device.observe("red.png", 0.9999, pixels=np.full((128, 128, 3), (0, 0, 255), np.uint8))
    assert run(device, tmp_path / "out", "--limit", 8) == 0
    rows = queue(tmp_path / "out")
    assert [row["frame"] for row in rows] == [*(f"{index:02}.png" for index in range(7)), "red.png"]
    assert rows[-1]["reason"] == "odd"


def test_oddness_finds_what_lies_apart_and_calls_no_even_crowd_odd() -> None:
    crowd = np.random.default_rng(2).normal(0, 1, (200, 7))
    apart = np.full((1, 7), 12.0)
    found = oddness(np.concatenate([crowd, apart]))
    assert found.argmax() == 200
    assert (found > 0).mean() < 0.1
    assert not oddness(np.zeros((50, 7))).any()
    assert not oddness(crowd[:10]).any()


# What is found


def test_frames_that_were_moved_on_the_device_are_found(device: Device, tmp_path: Path) -> None:
    for name in ("a.png", "day/b.png", "c.png"):
        device.observe(name, 0.9)
    for name, moved in (("a.png", "done/a.png"), ("day/b.png", "done/day/b.png"), ("c.png", "done/c-1.png")):
        (device.frames / moved).parent.mkdir(parents=True, exist_ok=True)
        (device.frames / name).rename(device.frames / moved)
    (device.frames / "done" / "c.png").write_bytes(b"another frame of this name")
    assert run(device, tmp_path / "out") == 0
    assert {row["frame"] for row in queue(tmp_path / "out")} == {"a.png", "day/b.png", "c.png"}


def test_what_cannot_be_used_is_counted_and_named(device: Device, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = np.random.default_rng(3).integers(0, 256, (128, 128, 3), np.uint8)
    device.observe("kept.png", 0.6, pixels=same)
    device.observe("copy.png", 0.9, pixels=same)
    device.observe("gone.png", 0.9)
    device.observe("changed.png", 0.9)
    device.observe("corrupt.png", 0.9)
    device.observe("wide.png", 0.9, tiles=2)
    (device.frames / "gone.png").unlink()
    (device.frames / "changed.png").write_bytes(b"another file by now")
    (device.frames / "corrupt.png").write_bytes(bytes((device.frames / "corrupt.png").stat().st_size))
    operators = tmp_path / "operators.csv"
    operators.write_text("frame,alert,label\nkept.png,,undamaged\nelsewhere.png,,damaged\n,0198f1c2,damaged\n")
    assert run(device, tmp_path / "out", "--contradicted", operators) == 0
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'out'}: 1 frames: 1 contradicted\n"
    assert "2 are not in --frames, or are others by now: gone.png; changed.png" in said.err
    assert "1 cannot be read: corrupt.png: " in said.err
    assert "1 show what another shows: copy.png" in said.err
    assert "1 were classified in tiles, so no label is that of the whole: wide.png" in said.err
    assert "2 of --contradicted are not in the journal: 0198f1c2; elsewhere.png" in said.err
    assert images(tmp_path / "out") == ["undamaged/0001-contradicted_kept.png"]


@pytest.mark.parametrize("tile", [Tile(64, 0, 64, 96), Tile(0, 0, 64, 96), Tile(0, 48, 128, 48)])
def test_a_frame_of_which_one_tile_alone_got_an_answer_is_not_taken_for_whole(
    device: Device, tmp_path: Path, tile: Tile, capsys: pytest.CaptureFixture[str]
) -> None:
    device.observe("part.png", 0.9, tile=tile)
    device.observe("whole.png", 0.6)
    assert run(device, tmp_path / "out") == 0
    assert "1 were classified in tiles, so no label is that of the whole: part.png" in capsys.readouterr().err
    assert [row["frame"] for row in queue(tmp_path / "out")] == ["whole.png"]


def test_a_place_in_a_name_stays_that_place(device: Device, tmp_path: Path) -> None:
    device.observe("95.123456_29.500000.png", 0.6)
    device.observe("-95.123456_29.500000.png", 0.4)
    assert run(device, tmp_path / "out") == 0
    for row in queue(tmp_path / "out"):
        label = "damaged" if row["decided"] == "damaged" else "undamaged"
        (tmp_path / "out" / row["file"]).rename(tmp_path / "out" / label / Path(row["file"]).name)
    places = read(str(tmp_path / "out")).tiles.places.tolist()
    assert sorted(places) == [[-95.123456, 29.5], [95.123456, 29.5]]


def test_a_journal_is_read_with_its_log_and_left_as_it_was(device: Device, tmp_path: Path) -> None:
    device.observe("a.png", 0.6)
    # As after a power cut: what was recorded is still in the log.
    copy = tmp_path / "copy"
    shutil.copytree(device.path.parent, copy)
    (copy / "journal.db.lock").unlink()
    before = {file.name: file.read_bytes() for file in copy.iterdir()}
    assert len(before["journal.db-wal"]) > 0
    harvest(copy / "journal.db", device.frames, tmp_path / "out")
    assert len(queue(tmp_path / "out")) == 1
    assert {file.name: file.read_bytes() for file in copy.iterdir()} == before


# What is refused


def test_a_journal_that_a_daemon_has_open_is_refused(device: Device, tmp_path: Path) -> None:
    device.observe("a.png", 0.6)
    with pytest.raises(HarvestError, match="a daemon has it open"):
        harvest(device.path, device.frames, tmp_path / "out")


def test_a_folder_that_somebody_labels_is_not_replaced(device: Device, tmp_path: Path) -> None:
    device.observe("a.png", 0.6)
    assert run(device, tmp_path / "out") == 0
    before = images(tmp_path / "out")
    assert run(device, tmp_path / "out") == 2
    assert images(tmp_path / "out") == before


def test_no_frame_at_all_is_an_error(device: Device, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    device.observe("a.png", 0.6)
    (device.frames / "a.png").unlink()
    assert run(device, tmp_path / "out") == 2
    assert "none of the 1 frames that the journal knows can be used: 1 are missing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_no_journal_is_refused(device: Device, tmp_path: Path) -> None:
    assert run(device, tmp_path / "out") == 2
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as database:
        database.execute("CREATE TABLE frames (frame INTEGER)")
        database.commit()
    (tmp_path / "text.db").write_text("no database at all" * 100)
    for path, reason in (
        (tmp_path / "absent.db", "no such journal"),
        (other, "no journal of schema 3"),
        (tmp_path / "text.db", "not a database"),
    ):
        with pytest.raises(HarvestError, match=reason) as caught:
            harvest(path, device.frames, tmp_path / "out")
        assert str(path) in str(caught.value)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("label", ["../escaped", "/etc", ".hidden", "unlabelled", "two\nlines", ""])
def test_a_label_that_is_no_name_of_a_folder_is_refused(device: Device, tmp_path: Path, label: str) -> None:
    device.observe("a.png", 0.1, probabilities={label: 0.4, "undamaged": 0.6})
    assert run(device, tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("said.csv", "frame,label\na.png,flooded\n", "line 2: label flooded: expected one of damaged, undamaged"),
        ("said.csv", "frame,label\na.png\n", "line 2: "),
        ("said.csv", "label\ndamaged\n", 'line 2: expected either "alert" (its id) or "frame" (its name)'),
        ("said.jsonl", '{"frame": "a.png", "alert": "x", "label": "damaged"}\n', "line 1: expected either"),
        ("said.jsonl", '\n{"frame": "a.png"}\n', "line 2: "),
        ("said.jsonl", "undamaged\n", "line 1: "),
        ("said.jsonl", None, "cannot be read"),
    ],
)
def test_what_operators_said_must_be_readable(
    device: Device, capsys: pytest.CaptureFixture[str], name: str, content: str | None, reason: str
) -> None:
    device.observe("a.png", 0.6)
    tmp_path = device.frames.parent
    if content is not None:
        (tmp_path / name).write_text(content)
    assert run(device, tmp_path / "out", "--contradicted", tmp_path / name) == 2
    said = capsys.readouterr().err
    assert str(tmp_path / name) in said
    assert reason in said
    assert said.count("\n") == 1


# What comes of it


def test_what_nobody_labelled_is_not_learned_from_and_an_empty_label_is_an_error(device: Device, tmp_path: Path) -> None:
    for index in range(4):
        device.observe(f"{index}.png", 0.6)
    out = tmp_path / "out"
    assert run(device, out) == 0
    assert sorted(entry.name for entry in out.iterdir()) == ["README.txt", "damaged", "queue.csv", "undamaged", "unlabelled"]
    with pytest.raises(DatasetError, match="damaged: holds no image"):
        read(str(out))
    for index, row in enumerate(queue(out)[:3]):
        (out / row["file"]).rename(out / ("undamaged", "damaged")[index % 2] / Path(row["file"]).name)
    dataset = read(str(out))
    assert dataset.labels == ("damaged", "undamaged")
    assert len(dataset.tiles) == 3


@pytest.mark.timeout(300)
def test_a_device_s_frames_become_a_new_bundle(
    overflight: Overflight,
    packed: Path,
    town_photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    truth: dict[str, str] = {}
    for photo in sorted(town_photos.rglob("*.png")):
        truth[photo.name] = photo.parent.name
        shutil.copyfile(photo, overflight.inbox / photo.name)
    overflight.config["capture"]["after"] = "move"
    overflight.config["triage"] = {"threshold": 0.0}
    finished = overflight.run("run", "--once", "--deliver-timeout", 0.1)
    assert overflight.journal.is_file(), finished.stderr
    assert not list(overflight.inbox.glob("*.png"))

    def train(*arguments: Any) -> int:
        return main([str(argument) for argument in arguments])

    labelled = tmp_path / "labelled"
    assert train("harvest", overflight.journal, "--frames", overflight.inbox, "--out", labelled) == 0
    rows = queue(labelled)
    assert {row["frame"] for row in rows} == set(truth)
    for row in rows:
        (labelled / row["file"]).rename(labelled / truth[row["frame"]] / Path(row["file"]).name)

    data = ("--data", labelled, "--folds", 3)
    assert train("fit", "--from", packed, *data, "--epochs", 2, "--out", tmp_path / "run") == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["parameters"]["weights"].startswith("town-3 ")
    assert record["data"][0]["learned_from"] == 16
    assert train("export", tmp_path / "run", "--force-int8", "--out", tmp_path / "export") == 0
    capsys.readouterr()
    new = ("pack", tmp_path / "export", "--name", "town", "--version", 4, "--out", tmp_path / "town-4")
    assert train(*new, "--reference", packed, "--most-lost", 1) == 0
    assert "labelled: balanced accuracy" in capsys.readouterr().out
    bundle = Bundle.open(tmp_path / "town-4", ANYONE)
    assert (bundle.model.version, bundle.manifest.metrics["labelled"]["tiles"]) == (4, 8)
