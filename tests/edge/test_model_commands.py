"""``overflight model``: bundles are installed, changed and looked at with the real command, store and engines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge.bundle import Bundle, Store
from edge.cli import main
from tests.edge.bundle.bundles import FILES, KEY, OTHER_PRIVATE, TRUST, passes, reissue, write_bundle

COMMANDS = ["list", "show", "verify", "install", "activate", "rollback"]
SHIPPED_VERSION = Bundle.shipped().model.version


class Device:
    """A machine with a store and one trusted key."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
        self.folder = folder
        self.store = Store(folder / "models")
        self.keys = folder / "keys"
        self.keys.mkdir()
        (self.keys / "field-team.pub").write_text(KEY.text)
        self.model: dict[str, Any] = {"store": str(self.store.root), "trusted_keys": str(self.keys), "devices": ["CPU"]}
        self._capsys = capsys
        self._caplog = caplog

    def run(self, *arguments: object) -> tuple[int, str, str]:
        """Run ``overflight model``; returns status, standard output, and standard error with what was logged before it."""
        config = self.folder / "overflight.yaml"
        config.write_text(yaml.safe_dump({"model": self.model}))
        self._caplog.clear()
        command, *rest = map(str, arguments)
        try:
            status = main(["model", command, "-c", str(config), *rest])
        except SystemExit as error:
            status = int(error.code or 0)
        captured = self._capsys.readouterr()
        logged = "".join(f"{record.levelname} {record.getMessage()}\n" for record in self._caplog.records)
        return status, captured.out, logged + captured.err

    def refused(self, *arguments: object, status: int = 1) -> str:
        """Why a command fails, which must be one line."""
        given, out, err = self.run(*arguments)
        assert (given, out) == (status, ""), err
        assert err.count("\n") == 1, err
        assert err.startswith("overflight")
        return err.strip()

    @property
    def result(self) -> dict[str, Any]:
        """What the last install left."""
        content: dict[str, Any] = json.loads((self.store.root / "last-install.json").read_bytes())
        return content


@pytest.fixture
def device(tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Device:
    return Device(tmp_path, capsys, caplog)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Writes the shipped bundle with another version, signed by the trusted key."""

    def make(version: int, folder: str = "made", **changes: Any) -> Path:
        return reissue(tmp_path / folder / f"terrain-damage-{version}", version, **changes)

    return make


NEWER = SHIPPED_VERSION + 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(device: Device, command: str) -> None:
    status, out, _ = device.run(command, "--help")
    assert status == 0
    assert f"example: overflight model {command}" in " ".join(out.split())


def test_a_fresh_device_has_nothing_installed_and_the_shipped_bundle_serves(device: Device) -> None:
    assert device.run("list") == (0, "no installed bundle is active: the one that ships with the package serves\n", "")
    assert device.run("list", "--json") == (0, "[]\n", "")
    status, out, err = device.run("show")
    assert (status, err) == (0, "")
    assert f"model        terrain-damage version {SHIPPED_VERSION}\n" in out
    assert "measured     on harvey: tiles 2000, accuracy " in out
    assert not device.store.root.exists()


def test_install_list_show_and_roll_back(device: Device, make: Callable[..., Path]) -> None:
    status, out, err = device.run("install", make(NEWER))
    assert (status, err) == (0, "")
    first = device.store.list()[0].path.name
    assert out == f"installed {first}, which serves now\n"
    assert device.result | {"at": None} == {
        "schema": 1,
        "at": None,
        "source": str(device.folder / "made" / f"terrain-damage-{NEWER}"),
        "outcome": "installed",
        "reason": None,
        "model": first,
    }
    assert device.run("install", make(NEWER + 1))[0] == 0
    second = device.store.list()[1].path.name
    assert device.run("list")[1].splitlines() == [f"{first:40} previous", f"{second:40} active"]

    assert device.run("rollback") == (0, f"{first} serves again\n", "")
    entries = json.loads(device.run("list", "--json")[1])
    assert [(entry["version"], entry["active"], entry["previous"]) for entry in entries] == [
        (NEWER, True, False),
        (NEWER + 1, False, True),
    ]
    assert device.run("activate", second) == (0, f"{second} serves now\n", "")
    shown = json.loads(device.run("show", "--json")[1])
    assert shown["model"]["version"] == NEWER + 1
    assert shown["signed_by"] == KEY.id
    assert shown["manifest"]["labels"] == ["damaged", "undamaged"]
    out = device.run("show", first)[1]
    assert f"signed by    key {KEY.id}, field-team\n" in out
    assert f"folder       {device.store.root}/bundles/{first}\n" in out


def test_a_bundle_can_be_installed_without_being_activated(device: Device, make: Callable[..., Path]) -> None:
    status, out, _ = device.run("install", "--no-activate", make(NEWER))
    name = device.store.list()[0].path.name
    assert (status, out) == (0, f"installed {name}; overflight model activate {name}\n")
    assert device.store.active() is None


def test_install_tells_a_program_what_it_did(device: Device, make: Callable[..., Path]) -> None:
    status, out, _ = device.run("install", "--json", make(NEWER))
    assert status == 0
    assert json.loads(out) == device.result


def test_install_refuses_older_version_unless_asked(device: Device, make: Callable[..., Path]) -> None:
    device.run("install", make(NEWER + 1))
    older = make(NEWER)
    reason = device.refused("install", older)
    assert reason.endswith(f"version {NEWER} is older than the active version {NEWER + 1} (--allow-downgrade takes it)")
    assert (device.result["outcome"], device.result["reason"]) == ("failed", reason.removeprefix("overflight: "))
    assert device.run("install", "--allow-downgrade", older)[0] == 0
    assert device.result["outcome"] == "installed"


def test_install_refuses_wrong_key_and_an_unsigned_bundle(device: Device, make: Callable[..., Path]) -> None:
    assert "which is not trusted" in device.refused("install", make(NEWER, key=OTHER_PRIVATE))
    unsigned = make(NEWER + 1, key=None)
    assert "is not signed" in device.refused("install", unsigned)
    device.model["allow_unsigned"] = True
    assert device.run("install", unsigned)[0] == 0
    assert "signed by    nobody: model.allow_unsigned lets it serve\n" in device.run("show")[1]


def test_a_withdrawn_key_ends_what_it_signed(device: Device, make: Callable[..., Path]) -> None:
    device.run("install", make(NEWER))
    (device.keys / "revoked").write_text(f"{KEY.id}  # lost\n")
    assert "which is withdrawn" in device.refused("install", make(NEWER + 1))
    status, out, err = device.run("show")
    assert (status, f"version {SHIPPED_VERSION}\n" in out) == (0, True)
    assert err.startswith("WARNING active: ")
    assert err.endswith("which is withdrawn\n")


def test_a_broken_key_is_said_and_the_others_stay_trusted(device: Device, make: Callable[..., Path]) -> None:
    (device.keys / "broken.pub").write_text("no key")
    status, _, err = device.run("install", make(NEWER))
    assert status == 0
    assert err == (f"WARNING {device.keys}/broken.pub: public key: expected one line, overflight-ed25519 <base64> <name>\n")


def test_install_refuses_what_fails_its_self_test_and_remembers_it(device: Device, make: Callable[..., Path]) -> None:
    bad = make(NEWER)
    expected = json.loads((bad / "selftest" / "expected.json").read_bytes())
    for scene in expected["scenes"]:
        for row in scene["probabilities"].values():
            row.reverse()
    content = json.dumps(expected).encode()
    (bad / "selftest" / "expected.json").write_bytes(content)
    files = {name: (bad / name).read_bytes() for name in Bundle.shipped().manifest.files}
    size = {"height": 128, "width": 128, "colour": "BGR", "ground_sample_distance_m": None}
    write_bundle(bad, files, name="terrain-damage", version=NEWER, input=size)

    reason = device.refused("install", bad)
    assert "self-test: openvino on CPU gives " in reason
    assert device.result["outcome"] == "failed"
    assert "failed before: self-test: openvino on CPU gives " in device.refused("install", bad)
    assert "self-test: openvino on CPU gives " in device.refused("verify", bad)
    assert device.store.list() == ()


def test_where_no_engine_works_nothing_is_held_against_the_bundle(device: Device, make: Callable[..., Path]) -> None:
    device.model["devices"] = ["NPU"]
    bundle = make(NEWER)
    status, out, err = device.run("install", bundle)
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith("overflight: self-test: no engine works: OpenVINO on NPU: ")
    device.model["devices"] = ["CPU"]
    assert device.run("install", bundle)[0] == 0


def test_verify_says_who_signed_it_and_what_ran_it_and_changes_nothing(device: Device, make: Callable[..., Path]) -> None:
    bundle = make(NEWER)
    status, out, err = device.run("verify", bundle)
    files = len(Bundle.shipped().manifest.files)
    assert (status, err) == (0, "")
    assert out == (
        f"terrain-damage version {NEWER}: signed by key {KEY.id}, field-team; {files} files are whole;"
        " self-test passed by openvino on CPU\n"
    )
    facts = json.loads(device.run("verify", "--json", bundle)[1])
    assert (facts["model"]["version"], facts["engine"], facts["on"]) == (NEWER, "openvino", "CPU")
    assert not device.store.root.exists()


def test_verify_refuses_an_altered_file(device: Device, make: Callable[..., Path]) -> None:
    bundle = make(NEWER)
    (bundle / "ir" / "model.bin").write_bytes(b"\0" + (bundle / "ir" / "model.bin").read_bytes()[1:])
    assert device.refused("verify", bundle).endswith("ir/model.bin is altered: its SHA-256 is not the manifest's")


# From a stick


def test_the_newest_bundle_of_a_stick_is_installed(device: Device, make: Callable[..., Path]) -> None:
    for version in (NEWER, NEWER + 2, NEWER + 1):
        make(version, "stick/overflight")
    make(NEWER + 9, "stick/overflight", key=OTHER_PRIVATE)
    status, out, err = device.run("install", "--from-usb", device.folder / "stick")
    name = device.store.list()[0].path.name
    assert (status, out) == (0, f"installed {name}, which serves now\n")
    assert name.startswith(f"terrain-damage-{NEWER + 2}-")
    assert device.result["model"] == name
    # Why the others were not taken; those that are older than the newest are no fault.
    (line,) = err.splitlines()
    assert line.startswith("WARNING passed over: ")
    assert "which is not trusted" in line


def test_the_next_newest_is_installed_where_the_newest_is_damaged(device: Device, make: Callable[..., Path]) -> None:
    make(NEWER, "stick/overflight")
    (make(NEWER + 1, "stick/overflight") / "ir" / "model.bin").unlink()
    status, out, err = device.run("install", "--from-usb", device.folder / "stick")
    assert (status, f"installed terrain-damage-{NEWER}-" in out) == (0, True)
    assert "ir/model.bin is missing" in err


def test_a_stick_with_nothing_newer_is_no_failure(device: Device, make: Callable[..., Path]) -> None:
    make(SHIPPED_VERSION, "stick/overflight")
    status, out, _ = device.run("install", "--from-usb", device.folder / "stick")
    expected = f"version {SHIPPED_VERSION} is not newer than the active version {SHIPPED_VERSION}"
    assert status == 0
    assert out.startswith("nothing newer: ")
    assert expected in out
    assert device.result["outcome"] == "nothing newer"
    assert expected in device.result["reason"]
    assert device.store.active() is None


def test_a_stick_with_other_things_on_it_is_no_failure(device: Device) -> None:
    (device.folder / "stick" / "holiday").mkdir(parents=True)
    status, out, _ = device.run("install", "--from-usb", device.folder / "stick")
    assert (status, out) == (0, f"nothing newer: {device.folder}/stick: has no folder overflight\n")


def test_an_empty_folder_on_a_stick_is_no_failure(device: Device) -> None:
    (device.folder / "stick" / "overflight").mkdir(parents=True)
    assert device.run("install", "--from-usb", device.folder / "stick")[:2] == (0, "nothing newer: no bundle lies there\n")


def test_nothing_unsigned_is_taken_from_a_stick_even_in_development(device: Device, make: Callable[..., Path]) -> None:
    device.model["allow_unsigned"] = True
    make(NEWER, "stick/overflight", key=None)
    status, out, err = device.run("install", "--from-usb", device.folder / "stick")
    assert (status, out) == (1, "")
    assert "is not signed" in err.splitlines()[-1]
    assert device.store.list() == ()


def test_a_stick_whose_bundles_nobody_trusted_has_signed_is_a_failure(device: Device, make: Callable[..., Path]) -> None:
    make(SHIPPED_VERSION, "stick/overflight")
    make(NEWER, "stick/overflight", key=OTHER_PRIVATE)
    status, out, err = device.run("install", "--from-usb", device.folder / "stick")
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].endswith("which is not trusted")
    assert device.result["outcome"] == "failed"


def test_a_stick_whose_only_newer_bundle_is_damaged_is_a_failure_that_can_be_read(
    device: Device, make: Callable[..., Path]
) -> None:
    (make(NEWER, "stick/overflight") / "ir" / "model.bin").unlink()
    status, out, err = device.run("install", "--from-usb", device.folder / "stick")
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith("overflight: bundle ")
    assert device.result["outcome"] == "failed"
    assert device.result["reason"].endswith("ir/model.bin is missing")


def test_a_stick_that_is_not_there_is_a_failure(device: Device) -> None:
    assert "cannot be read: No such file" in device.refused("install", "--from-usb", device.folder / "nowhere")


# Mistakes


def test_a_mistake_of_the_caller_s_is_status_2(device: Device, tmp_path: Path) -> None:
    assert "no such folder; a bundle is a folder" in device.refused("install", tmp_path / "nowhere", status=2)
    assert "no such folder; a bundle is a folder" in device.refused("verify", tmp_path / "nowhere", status=2)
    assert "is required" in device.refused("install", status=2)
    assert "not allowed with" in device.refused("install", tmp_path, "--from-usb", tmp_path, status=2)
    assert "--allow-downgrade: only with PATH" in device.refused(
        "install", "--from-usb", tmp_path, "--allow-downgrade", status=2
    )
    device.model["store"] = ""
    assert "overflight.yaml: model.store: is empty" in device.refused("install", tmp_path, status=2)
    device.model["trusted_keys"] = ""
    assert "model.trusted_keys" in device.refused("list", status=2)


def test_what_is_not_installed_is_neither_shown_nor_activated(device: Device) -> None:
    for command in ("show", "activate"):
        assert device.refused(command, "town-9-0123456789ab").endswith("is not one bundle of it; there is no bundle")
    assert device.refused("rollback").endswith("there is no previous bundle to go back to")


def test_a_bundle_s_labels_do_not_write_to_the_terminal(device: Device, tmp_path: Path) -> None:
    nasty = "\x1b[2Jundamaged"
    metrics = {"\x1b[31m": {"a\nb": "\x1b[0m"}, "plain": 1}
    device.store.install(write_bundle(tmp_path / "bundle", FILES, labels=["damaged", nasty], metrics=metrics), TRUST, passes)
    status, out, _ = device.run("show")
    assert status == 0
    assert all(line.isprintable() for line in out.splitlines())
    assert "\\x1b[2Jundamaged" in out
