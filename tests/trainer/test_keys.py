"""Key pairs: what keygen writes is what pack signs with and a device trusts, and none is ever lost or overwritten."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from edge.bundle.signature import PublicKey, verify
from trainer.cli import main
from trainer.keys import KeyFileError, generate_key, load_private_key, sign


def keygen(*arguments: object) -> int:
    return main(["keygen", *map(str, arguments)])


def test_keygen_writes_a_pair_that_signs_and_verifies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert keygen("--out", tmp_path / "keys", "--name", "field-team") == 0
    private, public = tmp_path / "keys" / "field-team.key", tmp_path / "keys" / "field-team.pub"
    trusted = PublicKey.parse(public.read_text())
    assert trusted.name == "field-team"
    assert f"key {trusted.id}" in capsys.readouterr().out
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert private.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert verify(b"manifest", sign(b"manifest", load_private_key(private)), [trusted]) == trusted.id


def test_two_pairs_are_different(tmp_path: Path) -> None:
    assert generate_key(tmp_path, "one")[1].raw != generate_key(tmp_path, "two")[1].raw


@pytest.mark.parametrize("existing", ["overflight.key", "overflight.pub"])
def test_keygen_overwrites_no_key(tmp_path: Path, capsys: pytest.CaptureFixture[str], existing: str) -> None:
    (tmp_path / existing).write_text("precious")
    assert keygen("--out", tmp_path) == 2
    assert f"{tmp_path / existing}: is there already" in capsys.readouterr().err
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {existing: "precious"}


@pytest.mark.parametrize("name", ["", "../escaped", "two words", "-rf", "a/b", "ö", "x" * 65])
def test_keygen_refuses_a_name_that_a_key_cannot_have(tmp_path: Path, name: str) -> None:
    assert keygen("--out", tmp_path / "keys", f"--name={name}") == 2
    assert list(tmp_path.iterdir()) == []


def test_an_encrypted_key_needs_its_password(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("correct horse\nsecond line\n")
    assert keygen("--out", tmp_path, "--password-file", tmp_path / "password") == 0
    file = tmp_path / "overflight.key"
    assert file.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert load_private_key(file, b"correct horse").sign(b"x")
    with pytest.raises(KeyFileError, match="--password-file is needed"):
        load_private_key(file)
    with pytest.raises(KeyFileError, match="not the password"):
        load_private_key(file, b"wrong")


def test_a_password_for_a_key_that_has_none_is_refused(tmp_path: Path) -> None:
    file, _ = generate_key(tmp_path, "plain")
    with pytest.raises(KeyFileError, match="is not encrypted"):
        load_private_key(file, b"any")


@pytest.mark.parametrize("content", [None, "", "\nsecond"])
def test_an_empty_password_is_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "password").write_text(content)
    assert keygen("--out", tmp_path / "keys", "--password-file", tmp_path / "password") == 2
    assert not (tmp_path / "keys").exists()


def test_what_is_no_ed25519_key_signs_nothing(tmp_path: Path) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    (tmp_path / "rsa.key").write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "text.key").write_text("no key")
    for name, reason in (("rsa", "not an Ed25519 key"), ("text", "no private key"), ("absent", "No such file")):
        with pytest.raises(KeyFileError, match=reason):
            load_private_key(tmp_path / f"{name}.key")
