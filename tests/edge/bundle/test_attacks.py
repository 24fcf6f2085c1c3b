"""What a stranger's stick may hold: nothing of it is installed, the active bundle goes on, each has its reason in a line."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.bundle import Bundle, BundleError, Store, Trust, TrustedKeys
from edge.bundle.limits import MAX_BUNDLE_BYTES, MAX_FILE_BYTES, MAX_MANIFEST_BYTES, MAX_METRICS_LEVELS, MAX_PATH_LETTERS
from tests.edge.bundle.bundles import (
    FILES,
    KEY,
    OTHER_KEY,
    OTHER_PRIVATE,
    PRIVATE,
    TRUST,
    entry_of,
    manifest_of,
    rewrite,
    write_bundle,
)
from trainer.keys import sign

# In the order in which they may be copied: what is signed comes first or last.
NAMES = ("manifest.json", "manifest.sig", *FILES)


def never(bundle: Bundle) -> None:
    raise AssertionError(f"{bundle.path} came as far as the self-test")


class Device:
    """A store with an active bundle, and a newer one on a stick that is attacked."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "store")
        self.source = write_bundle(folder / "stick" / "town-2", version=2)
        self.active = self.store.install(write_bundle(folder / "town-1"), TRUST, lambda bundle: None).path
        self._before = self._listing()

    def refusal(self, trust: Trust = TRUST) -> str:
        """Why the bundle on the stick is neither installed nor opened, behind its name."""
        reasons = set()
        for action in (
            lambda: self.store.install(self.source, trust, never, allow_downgrade=True),
            lambda: Bundle.open(self.source, trust),
        ):
            with pytest.raises(BundleError) as caught:
                action()
            reason = str(caught.value)
            assert reason.isprintable(), repr(reason)
            assert len(reason) < 1000
            assert reason.startswith(f"bundle {self.source}: ")
            reasons.add(reason.removeprefix(f"bundle {self.source}: "))
        assert self._listing() == self._before
        assert len(reasons) == 1, reasons
        return reasons.pop()

    def check(self) -> None:
        """The active bundle goes on."""
        bundle, reasons = self.store.open_active(TRUST)
        assert bundle is not None
        assert (bundle.path, reasons) == (self.active, ())

    def _listing(self) -> list[str]:
        return sorted(os.path.join(at, name) for at, folders, files in os.walk(self.store.root) for name in folders + files)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    device = Device(tmp_path)
    yield device
    device.check()


def test_the_bundle_that_is_attacked_below_would_be_installed(device: Device) -> None:
    Store(device.store.root.parent / "other").install(device.source, TRUST, lambda bundle: None)


# Damage


def truncated(device: Device, order: tuple[str, ...], at: int) -> None:
    """Leave what was copied when a stick was pulled after so many bytes."""
    whole = device.source.parent / "whole"
    shutil.rmtree(device.source)
    device.source.mkdir()
    for name in order:
        content = (whole / name).read_bytes()
        (device.source / name).parent.mkdir(parents=True, exist_ok=True)
        (device.source / name).write_bytes(content[: max(0, at)])
        at -= len(content)
        if at < 0:
            return


@pytest.mark.timeout(300)
@pytest.mark.parametrize("order", [NAMES, NAMES[::-1]], ids=["manifest first", "manifest last"])
def test_a_bundle_truncated_at_every_file_boundary_and_anywhere_is_refused(device: Device, order: tuple[str, ...]) -> None:
    whole = device.source.parent / "whole"
    shutil.copytree(device.source, whole)
    ends = list(itertools.accumulate((whole / name).stat().st_size for name in order))
    boundaries = [0, *ends[:-1], *(end - 1 for end in ends)]
    anywhere = random.Random(1).choices(range(ends[-1]), k=500)
    for at in (*boundaries, *anywhere):
        truncated(device, order, at)
        reason = device.refusal()
        assert any(word in reason for word in ("is missing", "is not signed", "the manifest says", "manifest.")), reason
    truncated(device, order, ends[-1])
    assert Bundle.open(device.source, TRUST).model.version == 2


@pytest.mark.timeout(300)
def test_10000_flipped_bits_are_all_found(device: Device) -> None:
    chance = random.Random(2)
    files = [device.source / name for name in NAMES]
    sizes = [file.stat().st_size for file in files]
    # Each file alike, whatever its size: the signature is the smallest.
    for number in range(10_000):
        file, size = files[number % len(files)], sizes[number % len(files)]
        at, bit = chance.randrange(size), 1 << chance.randrange(8)
        with file.open("r+b", buffering=0) as opened:
            opened.seek(at)
            (old,) = opened.read(1)
            opened.seek(at)
            opened.write(bytes([old ^ bit]))
            with pytest.raises(BundleError) as caught:
                device.store.install(device.source, TRUST, never)
            opened.seek(at)
            opened.write(bytes([old]))
        assert str(caught.value).isprintable()
        if number % 500 == 0:
            device.check()
    assert Bundle.open(device.source, TRUST).model.version == 2


def test_flipped_bits_of_the_active_bundle_itself_are_found(device: Device) -> None:
    device.store.install(device.source, TRUST, lambda bundle: None)
    chance = random.Random(3)
    for number in range(500):
        file = (device.store.active() or Path()) / NAMES[number % len(NAMES)]
        content = file.read_bytes()
        altered = bytearray(content)
        altered[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        file.write_bytes(altered)
        bundle, (reason,) = device.store.open_active(TRUST)
        assert bundle is not None
        assert bundle.path == device.active
        assert reason.startswith("active: ")
        file.write_bytes(content)
    device.store.rollback()


# Signatures


def test_install_refuses_wrong_key(device: Device) -> None:
    rewrite(device.source, manifest_of(version=2), OTHER_PRIVATE)
    assert device.refusal() == f"manifest.sig: signed by key {OTHER_KEY.id}, which is not trusted"


def test_install_refuses_the_signature_of_another_key_under_a_trusted_id(device: Device) -> None:
    manifest = (device.source / "manifest.json").read_bytes()
    forged = sign(manifest, OTHER_PRIVATE).replace(OTHER_KEY.id.encode(), KEY.id.encode())
    (device.source / "manifest.sig").write_bytes(forged)
    assert device.refusal() == f"manifest.sig: is not key {KEY.id}'s signature of this manifest.json"


def test_install_refuses_a_withdrawn_key(device: Device) -> None:
    trust = Trust(TrustedKeys((), frozenset({KEY.id})))
    assert device.refusal(trust) == f"manifest.sig: signed by key {KEY.id}, which is withdrawn"


def test_install_refuses_an_unsigned_bundle(device: Device) -> None:
    (device.source / "manifest.sig").unlink()
    assert device.refusal().startswith("is not signed: manifest.sig is missing")


@pytest.mark.parametrize("signature", [b"", b"{}", b"\0" * 64, sign(b"another manifest", PRIVATE)])
def test_install_refuses_a_wrong_signature_where_unsigned_bundles_are_allowed(device: Device, signature: bytes) -> None:
    (device.source / "manifest.sig").write_bytes(signature)
    assert device.refusal(Trust(TRUST.keys, allow_unsigned=True)).startswith("manifest.sig: ")


def test_nothing_of_a_manifest_is_believed_before_its_signature(device: Device) -> None:
    # It names a file to be read, and none of it is even parsed.
    rewrite(device.source, b'{"files": {"/etc/passwd": ', OTHER_PRIVATE)
    assert device.refusal() == f"manifest.sig: signed by key {OTHER_KEY.id}, which is not trusted"


# Paths, in manifests that a trusted key signed


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "ir/../../secret",
        "..",
        "/etc/passwd",
        "//etc/passwd",
        "ir//secret",
        "./secret",
        r"..\secret",
        "ir/..",
        "-rf",
        ".ssh/authorized_keys",
        "ir/a\nb",
        "\x1b[2J",
        "a/" * 200 + "a",
    ],
)
def test_install_refuses_a_path_that_leads_out(device: Device, path: str) -> None:
    (device.source.parent / "secret").write_bytes(b"secret")
    rewrite(device.source, manifest_of({**FILES, path: b"secret"}))
    assert device.refusal() == f"manifest.json: files: {path[: MAX_PATH_LETTERS + 1]!a} is not a plain path below the bundle"


@pytest.mark.parametrize("path", ["manifest.json", "manifest.sig"])
def test_install_refuses_a_manifest_that_names_itself(device: Device, path: str) -> None:
    rewrite(device.source, manifest_of({**FILES, path: b""}))
    assert device.refusal() == f"manifest.json: files: {path} cannot name itself"


def test_install_refuses_a_file_that_lies_in_a_file(device: Device) -> None:
    rewrite(device.source, manifest_of({**FILES, "ir/model.bin/more": b""}))
    assert device.refusal() == "manifest.json: files: ir/model.bin is a file, and ir/model.bin/more lies in it"


# What lies where a file should


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig", "ir/model.bin"])
def test_install_refuses_a_link_even_to_the_right_file(device: Device, name: str) -> None:
    elsewhere = device.source.parent / "elsewhere"
    (device.source / name).rename(elsewhere)
    (device.source / name).symlink_to(elsewhere)
    assert device.refusal() == f"{name} is a link"


def test_install_refuses_a_link_to_nowhere(device: Device) -> None:
    (device.source / "manifest.sig").unlink()
    (device.source / "manifest.sig").symlink_to("nowhere")
    assert device.refusal(Trust(TRUST.keys, allow_unsigned=True)) == "manifest.sig is a link"


@pytest.mark.parametrize("name", ["ir", "tensorflow/saved_model"])
def test_install_refuses_a_link_in_place_of_a_folder(device: Device, name: str) -> None:
    elsewhere = device.source.parent / "elsewhere"
    (device.source / name).rename(elsewhere)
    (device.source / name).symlink_to(elsewhere)
    assert device.refusal().endswith(f"cannot be read: {Path(name).name} is a link")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig", "ir/model.bin"])
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: socket.socket(socket.AF_UNIX).bind(str(path))])
def test_install_refuses_what_is_no_regular_file(device: Device, name: str, make: Callable[[Path], None]) -> None:
    (device.source / name).unlink()
    make(device.source / name)
    assert device.refusal() == f"{name} is not a regular file"


@pytest.mark.timeout(30)
@pytest.mark.parametrize("minor", [3, 5, 8], ids=["null", "zero", "random"])
def test_install_refuses_a_device(device: Device, minor: int) -> None:
    file = device.source / "ir" / "model.bin"
    file.unlink()
    try:
        os.mknod(file, 0o20666, os.makedev(1, minor))
    except PermissionError:
        pytest.skip("only root makes devices")
    assert device.refusal() == "ir/model.bin is not a regular file"


def test_install_refuses_a_file_in_place_of_a_folder(device: Device) -> None:
    shutil.rmtree(device.source / "ir")
    (device.source / "ir").write_text("no folder")
    assert device.refusal() == "ir/model.bin cannot be read: Not a directory"


# Sizes and counts


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig", "ir/model.bin"])
def test_install_refuses_a_file_of_a_terabyte_unread(device: Device, name: str) -> None:
    # It is sparse and takes no room.
    os.truncate(device.source / name, 1 << 40)
    assert f"{name} has {1 << 40} bytes, " in device.refusal()


def test_install_refuses_a_claim_of_a_terabyte(device: Device) -> None:
    claimed = json.loads(manifest_of(version=2))
    claimed["files"]["ir/model.bin"]["bytes"] = 1 << 40
    rewrite(device.source, json.dumps(claimed).encode())
    assert device.refusal().startswith("manifest.json: Expected `int` <= ")


def test_install_refuses_files_that_are_too_many_bytes_together(device: Device) -> None:
    claimed = json.loads(manifest_of(version=2))
    claimed["files"] |= {f"ir/{number}": entry_of(b"") | {"bytes": MAX_FILE_BYTES} for number in range(3)}
    rewrite(device.source, json.dumps(claimed).encode())
    total = 3 * MAX_FILE_BYTES + sum(map(len, FILES.values()))
    assert device.refusal() == f"manifest.json: files: {total} bytes together, at most {MAX_BUNDLE_BYTES} are allowed"


def test_install_refuses_a_million_names(device: Device) -> None:
    entry = json.dumps(entry_of(b""))
    names = ",".join(f'"ir/{number}":{entry}' for number in range(1_000_000))
    content = f'{{"files":{{{names}}}}}'.encode()
    rewrite(device.source, content)
    assert device.refusal() == f"manifest.json has {len(content)} bytes, at most {MAX_MANIFEST_BYTES} are allowed"


def test_install_refuses_as_many_names_as_a_manifest_can_hold(device: Device) -> None:
    rewrite(device.source, manifest_of({f"{number}": b"" for number in range(8000)}))
    assert (device.source / "manifest.json").stat().st_size <= MAX_MANIFEST_BYTES
    assert device.refusal().startswith("manifest.json: Expected `object` of length <= 64")


@pytest.mark.timeout(30)
def test_what_the_manifest_does_not_name_is_never_opened(device: Device) -> None:
    # Whoever opened it would wait for ever.
    os.mkfifo(device.source / "ir" / "more")
    Store(device.store.root.parent / "other").install(device.source, TRUST, lambda bundle: None)


@pytest.mark.parametrize("levels", [MAX_METRICS_LEVELS + 1, 100_000])
def test_install_refuses_metrics_that_are_nested_too_deeply(device: Device, levels: int) -> None:
    content = manifest_of(version=2).replace(b'"accuracy": 1.0', b'"accuracy": ' + b"[" * levels + b"]" * levels)
    rewrite(device.source, content)
    assert device.refusal().startswith("manifest.json: ")


def swap_file(source: Path) -> None:
    (source / "ir" / "model.bin").write_bytes(b"\0" * 256)


def swap_folder(source: Path) -> None:
    elsewhere = source.parent / "elsewhere"
    (source / "ir").rename(elsewhere)
    (source / "ir").symlink_to(elsewhere)


@pytest.mark.parametrize("swap", [swap_file, swap_folder])
def test_what_is_swapped_after_the_self_test_does_not_come_in(device: Device, swap: Callable[[Path], Any]) -> None:
    installed = device.store.install(device.source, TRUST, lambda bundle: swap(device.source))
    assert (installed.path / "ir" / "model.bin").read_bytes() == FILES["ir/model.bin"]
    device.store.activate(device.active.name)
