"""What a self-test may say: it is read strictly, and what could not be asked of an engine is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge.bundle import Bundle, BundleError
from edge.bundle.limits import MAX_EXPECTED_BYTES, MAX_SCENE_BYTES, MAX_SCENES, MAX_TOLERANCE
from edge.bundle.selftest import read_selftest
from tests.edge.bundle.bundles import TRUST, write_bundle

SCENE = {"file": "selftest/scene-1.png", "probabilities": {"float": [0.75, 0.25], "int8": [0.7, 0.3]}}
EXPECTED: dict[str, Any] = {
    "schema": 1,
    "labels": ["damaged", "undamaged"],
    "scenes": [SCENE],
    "tolerance": {"float": 0.01, "int8": 0.05},
}


def bundle_with(folder: Path, expected: bytes) -> Bundle:
    files = {"ir/model.xml": b"<net/>", "selftest/expected.json": expected, "selftest/scene-1.png": b"picture"}
    return Bundle.open(write_bundle(folder / "bundle", files), TRUST)


def refusal(folder: Path, expected: bytes) -> str:
    bundle = bundle_with(folder, expected)
    with pytest.raises(BundleError) as caught:
        read_selftest(bundle)
    assert str(caught.value).isprintable()
    prefix = f"bundle {bundle.path}: selftest/expected.json: "
    assert str(caught.value).startswith(prefix)
    return str(caught.value).removeprefix(prefix)


def test_the_self_test_of_the_shipped_bundle_is_read() -> None:
    expected = read_selftest(Bundle.shipped())
    assert expected.labels == ("damaged", "undamaged")
    assert expected.tolerance.keys() == {"float", "int8"}
    assert all(sum(row) == pytest.approx(1, abs=1e-4) for scene in expected.scenes for row in scene.probabilities.values())


def test_a_self_test_is_read_as_it_was_written(tmp_path: Path) -> None:
    expected = read_selftest(bundle_with(tmp_path, json.dumps(EXPECTED).encode()))
    assert expected.scenes[0].probabilities == {"float": (0.75, 0.25), "int8": (0.7, 0.3)}
    assert expected.tolerance == {"float": 0.01, "int8": 0.05}


def test_a_bundle_without_a_self_test_is_said_to_have_none(tmp_path: Path) -> None:
    bundle = Bundle.open(write_bundle(tmp_path / "bundle", {"ir/model.xml": b"<net/>"}), TRUST)
    assert not bundle.has_selftest
    with pytest.raises(BundleError, match=r"has no selftest/expected\.json, so it cannot be tested"):
        read_selftest(bundle)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema": 2}, "$.schema"),
        ({"more": 1}, "unknown field `more`"),
        ({"labels": ["undamaged", "damaged"]}, "labels: expected those of the manifest, in their order"),
        ({"labels": ["damaged"]}, "'selftest/scene-1.png': expected 1 probabilities, one for each label"),
        ({"scenes": []}, "$.scenes"),
        ({"scenes": [SCENE] * (MAX_SCENES + 1)}, "$.scenes"),
        ({"scenes": [SCENE | {"file": "../secret.png"}]}, "the manifest names no '../secret.png'"),
        ({"scenes": [SCENE | {"file": "selftest/\x1b[2J"}]}, r"the manifest names no 'selftest/\x1b[2J'"),
        ({"scenes": [SCENE | {"probabilities": {"float": [0.75, 0.25]}}]}, "expected probabilities for float, int8"),
        ({"scenes": [SCENE | {"probabilities": {"float": [0.75], "int8": [0.7, 0.3]}}]}, "expected 2 probabilities"),
        ({"scenes": [SCENE | {"probabilities": {"float": [1.5, -0.5], "int8": [0.7, 0.3]}}]}, "$.scenes[0].probabilities"),
        ({"scenes": [SCENE | {"probabilities": {"float": [None, 0], "int8": [0.7, 0.3]}}]}, "$.scenes[0].probabilities"),
        ({"scenes": [SCENE | {"probabilities": {"fp4": [1, 0]}}]}, "'fp4'"),
        ({"tolerance": {}}, "$.tolerance"),
        ({"tolerance": {"float": 0, "int8": 0.05}}, "$.tolerance"),
        ({"tolerance": {"float": MAX_TOLERANCE * 1.01, "int8": 0.05}}, "$.tolerance"),
        ({"tolerance": {"float": 0.01}}, "expected probabilities for float"),
    ],
)
def test_a_self_test_that_says_what_cannot_be_is_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    assert reason in refusal(tmp_path, json.dumps(EXPECTED | changes).encode())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"NaN", b"[" * 100_000])
def test_what_is_no_self_test_is_refused(tmp_path: Path, content: bytes) -> None:
    assert refusal(tmp_path, content)


def test_a_self_test_that_is_too_large_is_refused(tmp_path: Path) -> None:
    content = json.dumps(EXPECTED).encode().ljust(MAX_EXPECTED_BYTES + 1)
    assert refusal(tmp_path, content) == f"has {MAX_EXPECTED_BYTES + 1} bytes, at most {MAX_EXPECTED_BYTES} are allowed"


def test_a_scene_that_is_too_large_is_refused(tmp_path: Path) -> None:
    content = json.dumps(EXPECTED).encode()
    files = {"selftest/expected.json": content, "selftest/scene-1.png": bytes(MAX_SCENE_BYTES + 1)}
    bundle = Bundle.open(write_bundle(tmp_path / "bundle", files), TRUST)
    with pytest.raises(BundleError, match=f"scene-1.png has {MAX_SCENE_BYTES + 1} bytes"):
        read_selftest(bundle)


def test_a_self_test_that_was_altered_since_is_refused(tmp_path: Path) -> None:
    bundle = bundle_with(tmp_path, json.dumps(EXPECTED).encode())
    (bundle.path / "selftest" / "expected.json").write_bytes(json.dumps(EXPECTED).encode().replace(b"0.75", b"0.25"))
    with pytest.raises(BundleError, match="is altered"):
        read_selftest(bundle)
