"""Small bundles that are made here: a few bytes for a network, a real manifest, a real signature."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.bundle import SHIPPED, Bundle, BundleError, PublicKey, SelfTestError, Store, Trust, TrustedKeys
from trainer.keys import sign

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = PublicKey(PRIVATE.public_key().public_bytes_raw(), "field-team")
OTHER_PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER_KEY = PublicKey(OTHER_PRIVATE.public_key().public_bytes_raw(), "other-team")

TRUST = Trust(TrustedKeys((KEY,)))

FILES = {
    "ir/model.bin": bytes(range(256)),
    "ir/model.xml": b"<net/>",
    "selftest/expected.json": b'{"schema": 1}',
    "tensorflow/saved_model/variables/variables.index": b"index",
}


def entry_of(content: bytes) -> dict[str, Any]:
    """What a manifest says of a file with this content."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def manifest_of(files: Mapping[str, bytes] = FILES, **changes: Any) -> bytes:
    """A manifest as packing writes it."""
    content: dict[str, Any] = {
        "schema": 1,
        "name": "town",
        "version": 1,
        "labels": ["damaged", "undamaged"],
        "alert_labels": ["damaged"],
        "input": {"height": 8, "width": 8, "colour": "BGR", "ground_sample_distance_m": None},
        "threshold": 0.5,
        "metrics": {"rendered": {"tiles": 96, "accuracy": 1.0}},
        "files": {name: entry_of(file) for name, file in files.items()},
    }
    return json.dumps(content | changes, indent=2).encode() + b"\n"


def write_bundle(
    folder: Path, files: Mapping[str, bytes] = FILES, key: Ed25519PrivateKey | None = PRIVATE, **changes: Any
) -> Path:
    """Write a bundle, signed unless there is no key, and return its folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    rewrite(folder, manifest_of(files, **changes), key)
    return folder


def rewrite(folder: Path, manifest: bytes, key: Ed25519PrivateKey | None = PRIVATE) -> None:
    """Give a bundle another manifest, signed unless there is no key."""
    (folder / "manifest.json").write_bytes(manifest)
    (folder / "manifest.sig").unlink(missing_ok=True)
    if key is not None:
        (folder / "manifest.sig").write_bytes(sign(manifest, key))


def reissue(folder: Path, version: int, key: Ed25519PrivateKey | None = PRIVATE, **changes: Any) -> Path:
    """Copy the shipped bundle, with another version and signature, and return its folder."""
    shutil.copytree(SHIPPED, folder)
    manifest = json.loads((folder / "manifest.json").read_bytes()) | {"version": version, **changes}
    rewrite(folder, json.dumps(manifest).encode(), key)
    return folder


def passes(bundle: Bundle) -> None:
    """A self-test that reads what an engine would."""
    assert bundle.read("ir/model.bin") == FILES["ir/model.bin"]


def fails(bundle: Bundle) -> None:
    """A self-test that nothing passes."""
    raise SelfTestError(f"self-test: {bundle.model.name} sees ruins\neverywhere")


def refused(action: Callable[[], object]) -> str:
    """Why an action is refused, which must be one line."""
    with pytest.raises(BundleError) as caught:
        action()
    assert str(caught.value).isprintable(), repr(str(caught.value))
    return str(caught.value)


def versions(store: Store) -> list[int]:
    """Of the bundles that are installed."""
    return [each.version for each in store.list()]


def serving(store: Store, trust: Trust = TRUST) -> tuple[int, tuple[str, ...]]:
    """The version that is opened, and why no better one is."""
    bundle, reasons = store.open_active(trust)
    assert bundle is not None, reasons
    return bundle.model.version, reasons
