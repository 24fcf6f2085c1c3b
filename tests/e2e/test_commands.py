"""The commands as a person types them: their help, their mistakes, their output."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Mosquitto, Overflight, free_port
from tests.e2e.conftest import HARVEY_NAME, VERSION, rows, ruins
from tests.edge.bundle.bundles import reissue

COMMANDS = ["run", "classify", "demo", "watch", "config", "status", "model", "journal", "journal export", "journal report"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "edge", *command.split(), "--help"], capture_output=True, text=True, timeout=30, check=True
    )
    assert f"example: overflight {command}" in " ".join(finished.stdout.split())


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"captur": {}}, "captur: unknown key; did you mean capture?"),
        ({"capture": {"sorce": "/x"}}, "capture.sorce: unknown key; did you mean source?"),
        ({"triage": {"threshold": "high"}}, "triage.threshold: expected float"),
        ({"uplink": {"url": "http://ground"}}, "uplink.url: expected mqtt://host[:port] or mqtts://host[:port]"),
        ({"capture": {"after": "burn"}}, "capture.after: expected one of keep, move, delete; got 'burn'"),
        ({"position": {"sources": ["magic"]}}, "position.sources: magic: expected one of exif, filename, fixed, gpsd, gpx, mavlink, nmea"),
        ({"position": {"sources": ["filename:(x)"]}}, "expected the groups"),
        ({"position": {"sources": ["fixed:91,0"]}}, "latitude 91.0 is not within -90..90"),
    ],
)
def test_a_mistake_in_the_config_is_one_line_with_file_key_and_what_is_allowed(
    overflight: Overflight, config: dict[str, Any], said: str
) -> None:
    overflight.config |= config
    finished = overflight.run("run", "--once")
    assert finished.returncode == 2
    (line,) = finished.stderr.splitlines()
    assert said in line
    assert not overflight.journal.exists()


def test_a_config_file_that_is_missing_is_named(overflight: Overflight) -> None:
    command = overflight.command("run", "-c", "/nowhere.yaml")
    finished = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (finished.returncode, finished.stderr) == (
        2,
        "overflight: /nowhere.yaml: cannot be read: No such file or directory\n",
    )


@pytest.mark.parametrize("damage", ["is missing", "is altered"])
def test_a_bundle_whose_file_is_missing_or_altered_is_not_run(
    installed: Overflight, make_jpeg: Callable[..., bytes], damage: str
) -> None:
    (active,) = (installed.folder / "models" / "bundles").iterdir()
    weights = active / "ir" / "model.bin"
    if damage == "is missing":
        weights.unlink()
    else:
        content = bytearray(weights.read_bytes())
        content[1000] ^= 1
        weights.write_bytes(content)
    (installed.inbox / "a.jpg").write_bytes(make_jpeg())
    installed.config["triage"] = {"threshold": 1.0}
    finished = installed.run("run", "--once")
    assert finished.returncode == 0, finished.stderr
    assert f"bundle {active}: ir/model.bin {damage}" in finished.stderr
    # The one of the package is whole.
    assert rows(installed.journal, "SELECT model FROM results") == [(f"terrain-damage-{VERSION}",)]


def test_the_printed_config_is_a_file_that_works(overflight: Overflight, tmp_path: Path) -> None:
    overflight.config["device"] = "kite-7"
    printed = overflight.run("config").stdout
    assert yaml.safe_load(printed)["device"] == "kite-7"
    again = tmp_path / "again.yaml"
    again.write_text(printed)
    command = overflight.command("config", "-c", again)
    repeated = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, env=overflight.environment)
    assert repeated.stdout == printed


def test_a_variable_overrides_the_file(overflight: Overflight) -> None:
    overflight.environment["OVERFLIGHT_TRIAGE_THRESHOLD"] = "0.75"
    assert yaml.safe_load(overflight.run("config").stdout)["triage"]["threshold"] == 0.75


def test_classify_prints_a_line_for_each_image(overflight: Overflight, town_tiles: list[tuple[Any, bool]]) -> None:
    damaged = ruins(town_tiles, overflight.inbox)
    finished = overflight.run("classify", overflight.inbox)
    assert finished.returncode == 0, finished.stderr
    labels = [line.split()[0] for line in finished.stdout.splitlines()]
    assert len(labels) == len(town_tiles)
    assert labels.count("damaged") == damaged


def test_classify_json_is_a_feature_collection_with_positions(overflight: Overflight, data: Path) -> None:
    folder = data / "harvey" / "validation" / "damage"
    files = sorted(folder.iterdir())[:20]
    finished = overflight.run("classify", "--json", "--position", HARVEY_NAME, *files)
    assert finished.returncode == 0, finished.stderr
    collection = json.loads(finished.stdout)
    assert collection["type"] == "FeatureCollection"
    for feature, file in zip(collection["features"], files, strict=True):
        longitude, latitude = re.findall(r"-?\d+\.\d+", file.name)[:2]
        assert feature["geometry"]["coordinates"] == [float(longitude), float(latitude)]
        assert feature["properties"]["frame"]["name"] == file.name
        assert sum(feature["properties"]["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def test_classify_goes_on_after_a_bad_image_and_fails_in_the_end(
    overflight: Overflight, make_jpeg: Callable[..., bytes]
) -> None:
    (overflight.inbox / "a.jpg").write_bytes(b"no picture")
    (overflight.inbox / "b.jpg").write_bytes(make_jpeg())
    finished = overflight.run("classify", "--json", overflight.inbox)
    assert finished.returncode == 1
    (line,) = finished.stderr.splitlines()
    assert "a.jpg" in line
    assert "not an image" in line
    (feature,) = json.loads(finished.stdout)["features"]
    assert feature["properties"]["frame"]["name"] == "b.jpg"
    assert feature["geometry"] is None


def test_classify_of_a_path_that_is_not_there_is_a_mistake(overflight: Overflight) -> None:
    finished = overflight.run("classify", "/nowhere")
    assert (finished.returncode, finished.stderr) == (2, "overflight: /nowhere: no such file or folder\n")


def test_classify_by_a_bundle_that_is_not_installed(
    overflight: Overflight, make_jpeg: Callable[..., bytes], tmp_path: Path
) -> None:
    (overflight.inbox / "a.jpg").write_bytes(make_jpeg())
    bundle = reissue(tmp_path / "bundle", VERSION + 1, key=None)
    command = ("classify", "--json", "--bundle", bundle, overflight.inbox)
    refused = overflight.run(*command)
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert "is not signed" in line
    overflight.environment["OVERFLIGHT_MODEL_ALLOW_UNSIGNED"] = "true"
    finished = overflight.run(*command)
    assert finished.returncode == 0, finished.stderr
    (feature,) = json.loads(finished.stdout)["features"]
    assert feature["properties"]["model"]["version"] == VERSION + 1


def test_status_names_the_last_install(installed: Overflight) -> None:
    assert installed.run("run", "--once").returncode == 0
    before = json.loads(installed.run("status", "--json").stdout)
    assert before["last_install"] is None
    assert "install" not in installed.run("status").stdout
    finished = installed.run("model install", "--from-usb", installed.folder / "no-stick")
    assert finished.returncode == 1
    last = json.loads(installed.run("status", "--json").stdout)["last_install"]
    assert last["outcome"] == "failed"
    assert finished.stderr == f"overflight: {last['reason']}\n"
    line = f"install   {last['at']} {installed.folder}/no-stick: failed, {last['reason']}"
    assert line in installed.run("status").stdout.splitlines()


def test_once_on_a_folder_that_is_not_there_is_a_mistake(overflight: Overflight) -> None:
    overflight.inbox.rmdir()
    finished = overflight.run("run", "--once")
    assert finished.returncode == 2
    assert "capture.source" in finished.stderr
    assert "no such folder" in finished.stderr


def test_a_password_without_a_user_name_is_a_mistake(overflight: Overflight) -> None:
    overflight.config["uplink"] = {"password_file": "/secret"}
    finished = overflight.run("run", "--once")
    assert finished.returncode == 2
    assert "uplink.password_file: expected uplink.username_file" in finished.stderr


def test_a_position_source_that_is_mistyped_on_the_command_line_is_named(overflight: Overflight) -> None:
    finished = overflight.run("classify", "--position", "exiff", overflight.inbox)
    assert finished.returncode == 2
    assert finished.stderr == "overflight: --position: exiff: expected one of exif, filename, fixed, gpsd, gpx, mavlink, nmea\n"


def test_status_without_a_journal_says_so(overflight: Overflight) -> None:
    finished = overflight.run("status")
    assert finished.returncode == 1
    assert finished.stderr == f"overflight: journal {overflight.journal}: no such file\n"


def test_watch_without_a_broker_says_so(overflight: Overflight) -> None:
    overflight.config["uplink"] = {"url": f"mqtt://127.0.0.1:{free_port()}"}
    finished = overflight.run("watch")
    assert finished.returncode == 1
    (line,) = finished.stderr.splitlines()
    assert "cannot connect" in line


def test_watch_prints_one_line_for_each_alert(
    overflight: Overflight, town_tiles: list[tuple[Any, bool]], mosquitto: Mosquitto
) -> None:
    expected = ruins(town_tiles, overflight.inbox)
    overflight.config["uplink"] = {"url": mosquitto.url}
    with overflight.running("watch", "--count", expected) as watch:
        assert watch.stderr is not None
        watch.stderr.readline()
        assert overflight.run("run", "--once").returncode == 0
        output, _ = watch.communicate(timeout=20)
    assert watch.returncode == 0
    lines = output.splitlines()
    assert len(lines) == expected
    assert all("damaged" in line and "position unknown" in line for line in lines)


def test_a_reader_that_leaves_early_is_no_error(overflight: Overflight, town_tiles: list[tuple[Any, bool]]) -> None:
    ruins(town_tiles, overflight.inbox)
    command = overflight.command("classify", "-c", overflight.config_file, overflight.inbox)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=overflight.environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0
