"""What a bundle must be: the one that ships opens, and each thing that can be wrong with one is refused by its name."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bundle import ANYONE, SHIPPED, Bundle, BundleError
from edge.bundle.limits import MAX_FILE_BYTES, MAX_FILES, MAX_MANIFEST_BYTES
from edge.bundle.manifest import parse_manifest

WEIGHTS = "ir/model.bin"
GRAPH = "ir/model.xml"
NESTED = "tensorflow/saved_model/variables/variables.index"
CALIBRATION = {"temperature": 1.25, "expected_calibration_error": 0.012, "fitted_on": ["harvey"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped bundle that may be damaged."""
    copy = tmp_path / "terrain-damage-1"
    shutil.copytree(SHIPPED, copy)
    return copy


def refusal(action: Callable[[], object], folder: Path) -> str:
    """Why a bundle is refused, behind the bundle's own name: one printable line."""
    with pytest.raises(BundleError) as caught:
        action()
    message = str(caught.value)
    assert message.isprintable(), repr(message)
    assert message.startswith(f"bundle {folder}: ")
    return message.removeprefix(f"bundle {folder}: ")


def refused(folder: Path) -> str:
    """Why a folder cannot be opened as a bundle."""
    return refusal(lambda: Bundle.open(folder, ANYONE), folder)


def manifest_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    return content


def rewrite(folder: Path, **changes: Any) -> None:
    """Change keys of the manifest; its files stay as they are."""
    (folder / "manifest.json").write_text(json.dumps(manifest_of(folder) | changes))


def entry_of(content: bytes) -> dict[str, Any]:
    """What a manifest says of a file with this content."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


# What opens


def test_the_shipped_bundle_opens() -> None:
    bundle = Bundle.shipped()

    assert bundle.path == SHIPPED
    assert bundle.manifest.labels == ("damaged", "undamaged")
    assert bundle.manifest.alert_labels == ("damaged",)
    assert (bundle.manifest.input.height, bundle.manifest.input.width) == (128, 128)
    assert bundle.has(GRAPH)
    assert bundle.has(WEIGHTS)


def test_the_shipped_bundle_holds_no_file_that_its_manifest_does_not_name() -> None:
    files = {file.relative_to(SHIPPED).as_posix() for file in SHIPPED.rglob("*") if file.is_file()}

    assert files - {"manifest.sig"} == {"manifest.json", *Bundle.shipped().manifest.files}


def test_a_bundle_is_known_by_its_name_version_and_the_hash_of_its_manifest(folder: Path) -> None:
    rewrite(folder, name="other-model", version=7)
    model = Bundle.open(folder, ANYONE).model

    assert (model.name, model.version) == ("other-model", 7)
    assert model.sha256 == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def test_a_manifest_may_say_how_its_probabilities_were_calibrated(folder: Path) -> None:
    manifest = manifest_of(folder)
    manifest.pop("calibration", None)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert Bundle.open(folder, ANYONE).manifest.calibration is None

    rewrite(folder, calibration=CALIBRATION)
    calibration = Bundle.open(folder, ANYONE).manifest.calibration
    assert calibration is not None
    assert (calibration.temperature, calibration.fitted_on) == (1.25, ("harvey",))


def test_a_bundle_opens_by_a_path_as_text(folder: Path) -> None:
    assert Bundle.open(str(folder), ANYONE).path == folder


def test_a_file_of_a_bundle_is_read(folder: Path) -> None:
    bundle = Bundle.open(folder, ANYONE)

    assert bundle.read(GRAPH) == (SHIPPED / GRAPH).read_bytes()
    assert bundle.read(NESTED) == (SHIPPED / NESTED).read_bytes()


def test_a_file_that_the_manifest_does_not_name_is_left_alone(folder: Path) -> None:
    (folder / "ir" / "notes.txt").write_text("left there by a person")
    bundle = Bundle.open(folder, ANYONE)

    assert not bundle.has("ir/notes.txt")
    assert refusal(lambda: bundle.read("ir/notes.txt"), folder) == "the manifest names no ir/notes.txt"


@pytest.mark.parametrize(
    "name", ["manifest.json", "", "ir", "../terrain-damage-1/ir/model.bin", "ir/../ir/model.bin", "/etc/hostname"]
)
def test_only_what_the_manifest_names_is_read(folder: Path, name: str) -> None:
    bundle = Bundle.open(folder, ANYONE)

    assert not bundle.has(name)
    assert refusal(lambda: bundle.read(name), folder) == f"the manifest names no {name}"


def test_an_empty_file_may_be_part_of_a_bundle(folder: Path) -> None:
    (folder / "empty").touch()
    rewrite(folder, files=manifest_of(folder)["files"] | {"empty": entry_of(b"")})

    assert Bundle.open(folder, ANYONE).read("empty") == b""


# Damaged files


@pytest.mark.parametrize("name", [WEIGHTS, GRAPH, NESTED])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    reason = refused(folder)

    assert Path(name).name in reason
    assert reason.endswith("is missing")


@pytest.mark.parametrize("at", [0, 100_000, -1])
@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_one_altered_bit_is_found(folder: Path, at: int, bit: int) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[at] ^= bit
    (folder / WEIGHTS).write_bytes(content)

    assert refused(folder) == f"{WEIGHTS} is altered: its SHA-256 is not the manifest's"


def test_an_altered_file_is_found_wherever_the_manifest_names_it(folder: Path) -> None:
    for name in manifest_of(folder)["files"]:
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert Path(name).name in refused(folder)
        (folder / name).write_bytes(whole)
    Bundle.open(folder, ANYONE)


@pytest.mark.parametrize("left", [0, 1, -1])
def test_a_truncated_file_is_refused_with_both_sizes(folder: Path, left: int) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:left])

    assert refused(folder) == f"{WEIGHTS} has {len(whole[:left])} bytes, the manifest says {len(whole)}"


def test_a_longer_file_is_refused(folder: Path) -> None:
    size = (folder / WEIGHTS).stat().st_size
    with (folder / WEIGHTS).open("ab") as file:
        file.write(b"\0")
    reason = refused(folder)

    assert "model.bin" in reason
    assert str(size + 1) in reason
    assert str(size) in reason.replace(str(size + 1), "")


def test_a_file_that_claims_a_terabyte_is_refused(folder: Path) -> None:
    # It is sparse and takes no room; reading all of it would end this process.
    os.truncate(folder / WEIGHTS, 1 << 40)

    assert "model.bin" in refused(folder)


@pytest.mark.parametrize("name", [WEIGHTS, "manifest.json"])
def test_a_link_is_refused_even_where_it_leads_to_the_right_file(folder: Path, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (folder / name).rename(elsewhere)
    (folder / name).symlink_to(elsewhere)

    assert Path(name).name in refused(folder)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", [WEIGHTS, "manifest.json"])
def test_a_pipe_in_place_of_a_file_does_not_hang(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)

    assert refused(folder) == f"{name} is not a regular file"


@pytest.mark.parametrize("name", [WEIGHTS, "manifest.json"])
def test_a_folder_in_place_of_a_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()

    assert Path(name).name in refused(folder)


def test_a_file_in_place_of_a_folder_is_refused(folder: Path) -> None:
    shutil.rmtree(folder / "ir")
    (folder / "ir").write_text("no folder")

    assert "cannot be read: Not a directory" in refused(folder)


@pytest.mark.parametrize("damage", ["altered", "longer", "shorter", "missing", "link"])
def test_reading_checks_again_what_was_whole_when_it_was_opened(folder: Path, tmp_path: Path, damage: str) -> None:
    bundle = Bundle.open(folder, ANYONE)
    file, whole = folder / WEIGHTS, (folder / WEIGHTS).read_bytes()
    file.unlink()
    if damage == "link":
        (tmp_path / "elsewhere").write_bytes(whole)
        file.symlink_to(tmp_path / "elsewhere")
    elif damage != "missing":
        file.write_bytes({"altered": b"\0" + whole[1:], "longer": whole + b"\0", "shorter": whole[:-1]}[damage])

    assert "model.bin" in refusal(lambda: bundle.read(WEIGHTS), folder)


# The manifest


def test_a_folder_without_a_manifest_is_no_bundle(folder: Path) -> None:
    (folder / "manifest.json").unlink()

    assert refused(folder) == "manifest.json is missing"


def test_a_folder_that_is_not_there_is_no_bundle(tmp_path: Path) -> None:
    assert refused(tmp_path / "absent") == "manifest.json is missing"


def test_a_file_is_no_bundle(folder: Path) -> None:
    assert "manifest.json" in refused(folder / "manifest.json")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"name: terrain-damage", b"\xff\xfe{}", b"[]", b"null", b'"text"', b"{}", b"[" * 100_000, b'{"a":' * 100_000],
)
def test_a_manifest_that_is_not_json_or_no_object_is_refused(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)

    assert refused(folder).startswith("manifest.json: ")


def test_a_manifest_cut_short_anywhere_is_refused(folder: Path) -> None:
    whole = (folder / "manifest.json").read_bytes().rstrip()
    for end in range(0, len(whole), 37):
        (folder / "manifest.json").write_bytes(whole[:end])
        assert refused(folder).startswith("manifest.json: ")


@pytest.mark.parametrize("where", ["manifest", "input", "file"])
def test_an_unknown_field_is_refused(folder: Path, where: str) -> None:
    content = manifest_of(folder)
    {"manifest": content, "input": content["input"], "file": content["files"][GRAPH]}[where]["postprocess"] = "run me"
    (folder / "manifest.json").write_text(json.dumps(content))

    assert "unknown field `postprocess`" in refused(folder)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "\u202e"])
def test_an_unknown_field_does_not_write_to_the_terminal(folder: Path, name: str) -> None:
    rewrite(folder, **{name: 1})

    assert refused(folder).startswith("manifest.json: ")


@pytest.mark.parametrize(
    "key", ["schema", "name", "version", "labels", "alert_labels", "input", "threshold", "metrics", "files"]
)
def test_a_missing_field_is_named(folder: Path, key: str) -> None:
    content = manifest_of(folder)
    del content[key]
    (folder / "manifest.json").write_text(json.dumps(content))

    assert f"`{key}`" in refused(folder)


def test_a_manifest_that_is_too_large_is_refused_unread(folder: Path) -> None:
    content = json.dumps(manifest_of(folder)).encode()
    (folder / "manifest.json").write_bytes(content.ljust(MAX_MANIFEST_BYTES))
    Bundle.open(folder, ANYONE)
    (folder / "manifest.json").write_bytes(content.ljust(MAX_MANIFEST_BYTES + 1))
    expected = f"manifest.json has {MAX_MANIFEST_BYTES + 1} bytes, at most {MAX_MANIFEST_BYTES} are allowed"

    assert refused(folder) == expected
    with pytest.raises(BundleError, match=expected):
        parse_manifest(content.ljust(MAX_MANIFEST_BYTES + 1))


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "ir/../../secret",
        "ir/../ir/model.bin",
        "./ir/model.bin",
        "ir//model.bin",
        "ir/model.bin/",
        "/etc/hostname",
        "//etc/hostname",
        r"ir\model.bin",
        r"..\secret",
        "C:/model.bin",
        "",
        ".",
        "..",
        ".hidden",
        "ir/.hidden",
        "~/secret",
        "-rf",
        "ir/mod el.bin",
        "ir/model.bin\n",
        "ir/model\0.bin",
        "ir/modèle.bin",
        "ir/" + "m" * 101,
    ],
)
def test_a_path_that_is_not_plain_and_below_the_bundle_is_refused(folder: Path, tmp_path: Path, path: str) -> None:
    # The right content lies where the path leads: only the path is wrong.
    (tmp_path / "secret").write_bytes(b"secret")
    rewrite(folder, files=manifest_of(folder)["files"] | {path: entry_of(b"secret")})

    assert refused(folder) == f"manifest.json: files: {path!a} is not a plain path below the bundle"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema": 2}, "$.schema"),
        ({"name": "Terrain Damage"}, "$.name"),
        ({"name": "../terrain"}, "$.name"),
        ({"name": "terrain-damage\n"}, "$.name"),
        ({"name": ""}, "$.name"),
        ({"version": 0}, "$.version"),
        ({"version": "1"}, "$.version"),
        ({"labels": ["damaged", "damaged"]}, "labels: one comes twice"),
        ({"labels": ["damaged", "undamaged", "damaged"]}, "labels: one comes twice"),
        ({"labels": ["damaged"]}, "$.labels"),
        ({"labels": ["damaged", ""]}, "$.labels"),
        ({"labels": ["damaged", "x" * 65]}, "$.labels"),
        ({"alert_labels": []}, "$.alert_labels"),
        ({"alert_labels": ["flooded"]}, "alert_labels: expected some of labels"),
        ({"threshold": 1.01}, "$.threshold"),
        ({"threshold": -0.01}, "$.threshold"),
        ({"threshold": None}, "$.threshold"),
        ({"metrics": []}, "$.metrics"),
        ({"calibration": {}}, "$.calibration"),
        ({"calibration": CALIBRATION | {"temperature": 0}}, "$.calibration.temperature"),
        ({"calibration": CALIBRATION | {"expected_calibration_error": 1.1}}, "$.calibration.expected_calibration_error"),
        ({"calibration": CALIBRATION | {"fitted_on": ["a"] * 65}}, "$.calibration.fitted_on"),
        ({"calibration": CALIBRATION | {"more": 1}}, "$.calibration"),
        ({"files": {}}, "$.files"),
        ({"files": [GRAPH]}, "$.files"),
        ({"input": {"height": 0, "width": 128, "colour": "BGR", "ground_sample_distance_m": None}}, "$.input.height"),
        ({"input": {"height": 128, "width": 4097, "colour": "BGR", "ground_sample_distance_m": None}}, "$.input.width"),
        ({"input": {"height": 128, "width": 128, "colour": "RGB", "ground_sample_distance_m": None}}, "$.input.colour"),
        ({"input": {"height": 128, "width": 128, "colour": "BGR\n", "ground_sample_distance_m": None}}, "$.input.colour"),
    ],
)
def test_a_manifest_that_says_what_cannot_be_is_refused_by_the_key(folder: Path, changes: dict[str, Any], reason: str) -> None:
    rewrite(folder, **changes)

    assert reason in refused(folder)


@pytest.mark.parametrize(
    "entry",
    [
        {"sha256": "AB" * 32, "bytes": 1},
        {"sha256": "ab" * 31, "bytes": 1},
        {"sha256": "ab" * 32 + "\n", "bytes": 1},
        {"sha256": "ab" * 32, "bytes": -1},
        {"sha256": "ab" * 32, "bytes": 1.5},
        {"sha256": "ab" * 32, "bytes": MAX_FILE_BYTES + 1},
        {"sha256": "ab" * 32},
        {"bytes": 1},
        "ab" * 32,
    ],
)
def test_an_entry_without_a_proper_hash_and_size_is_refused(folder: Path, entry: Any) -> None:
    rewrite(folder, files={GRAPH: entry})

    assert "$.files[...]" in refused(folder)


def test_more_files_than_are_allowed_are_refused(folder: Path) -> None:
    (folder / "empty").touch()
    rewrite(folder, files={f"ir/{number}": entry_of(b"") for number in range(MAX_FILES + 1)})

    assert "$.files" in refused(folder)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_a_damaged_manifest_is_taken_or_refused_in_one_line(data: st.DataObject) -> None:
    content = bytearray((SHIPPED / "manifest.json").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        parse_manifest(bytes(content))
    except BundleError as error:
        assert str(error).isprintable(), repr(str(error))
