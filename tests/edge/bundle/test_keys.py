"""Whose signature a device takes: keys come as files, are rotated and withdrawn, and in doubt nothing is trusted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.bundle import BundleError, Trust, TrustedKeys
from edge.bundle.keys import PACKAGED
from edge.bundle.limits import MAX_FOLDER_ENTRIES, MAX_KEY_BYTES, MAX_KEYS, MAX_WITHDRAWN_BYTES
from edge.bundle.trust import ANYONE
from tests.edge.bundle.bundles import KEY, OTHER_KEY, OTHER_PRIVATE, PRIVATE
from trainer.keys import generate_key, sign

MANIFEST = b"{}"
SIGNED, SIGNED_BY_OTHER = sign(MANIFEST, PRIVATE), sign(MANIFEST, OTHER_PRIVATE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one key."""
    (tmp_path / "field-team.pub").write_text(KEY.text)
    return tmp_path


def refusal(trust: Trust, signature: bytes | None = SIGNED) -> str:
    with pytest.raises(BundleError) as caught:
        trust.signer(MANIFEST, signature)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_a_key_in_the_folder_is_trusted(folder: Path) -> None:
    trust = Trust.load(folder)
    assert trust.signer(MANIFEST, SIGNED) == KEY.id
    assert trust.keys.warnings == ()
    assert refusal(trust, SIGNED_BY_OTHER) == f"manifest.sig: signed by key {OTHER_KEY.id}, which is not trusted"


def test_keys_are_rotated_by_laying_the_new_one_beside_the_old_one(folder: Path) -> None:
    (folder / "other.pub").write_text(OTHER_KEY.text)
    trust = Trust.load(folder)
    assert (trust.signer(MANIFEST, SIGNED), trust.signer(MANIFEST, SIGNED_BY_OTHER)) == (KEY.id, OTHER_KEY.id)


def test_a_key_that_keygen_made_is_trusted(folder: Path) -> None:
    _, public = generate_key(folder, "new-team")
    assert public in TrustedKeys.load(folder).keys


def test_a_missing_folder_holds_no_key(tmp_path: Path) -> None:
    keys = TrustedKeys.load(tmp_path / "absent")
    assert keys == TrustedKeys.packaged()
    assert refusal(Trust(keys)).endswith("which is not trusted")


def test_only_files_that_end_in_pub_are_keys(folder: Path) -> None:
    (folder / "other.key").write_text(OTHER_KEY.text)
    (folder / "README").write_text("the keys of the field team")
    keys = TrustedKeys.load(folder)
    assert OTHER_KEY not in keys.keys
    assert keys.warnings == ()


# Withdrawn keys


def test_a_withdrawn_key_is_not_trusted_though_its_file_lies_there(folder: Path) -> None:
    (folder / "other.pub").write_text(OTHER_KEY.text)
    (folder / "revoked").write_text(f"# lost with the laptop\n\n{KEY.id}  # field-team\n")
    trust = Trust.load(folder)
    assert refusal(trust) == f"manifest.sig: signed by key {KEY.id}, which is withdrawn"
    assert trust.signer(MANIFEST, SIGNED_BY_OTHER) == OTHER_KEY.id


def test_a_key_of_the_package_can_be_withdrawn(tmp_path: Path) -> None:
    packaged = TrustedKeys.packaged().keys
    (tmp_path / "revoked").write_text("".join(f"{key.id}\n" for key in packaged))
    assert TrustedKeys.load(tmp_path).keys == ()
    (tmp_path / "revoked").unlink()
    assert TrustedKeys.load(tmp_path).keys == packaged


def test_the_keys_of_the_package_are_keys() -> None:
    assert len(TrustedKeys.packaged().keys) == len(list(PACKAGED.glob("*.pub")))


def test_a_withdrawn_key_is_refused_where_unsigned_bundles_are_allowed(folder: Path) -> None:
    (folder / "revoked").write_text(KEY.id)
    assert "which is withdrawn" in refusal(Trust.load(folder, allow_unsigned=True))


@pytest.mark.parametrize(
    "content",
    [
        b"0123456789abcde",
        b"0123456789ABCDEF",
        b"0123456789abcdef0",
        b"0123456789abcdef 0123456789abcdef",
        b"field-team",
        b"\xff\xfe",
        b"0123456789abcdef\x00",
        b"0123456789abcdef\r\n\x1b[2Jx",
        b"#" * (MAX_WITHDRAWN_BYTES + 1),
    ],
)
def test_what_is_no_list_of_withdrawn_keys_withdraws_all_trust(folder: Path, content: bytes) -> None:
    (folder / "revoked").write_bytes(content)
    trust = Trust.load(folder, allow_unsigned=True)
    assert trust.keys.keys == ()
    for signature in (SIGNED, SIGNED_BY_OTHER, None):
        assert refusal(trust, signature).startswith(f"no key is trusted: {folder}: ")


def test_a_list_of_withdrawn_keys_may_end_its_lines_as_windows_does(folder: Path) -> None:
    (folder / "revoked").write_bytes(f"# lost\r\n{KEY.id}\r\n".encode())
    assert "which is withdrawn" in refusal(Trust.load(folder))


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/dev/null", path), lambda path: os.symlink("x", path)]
)
def test_a_list_of_withdrawn_keys_that_is_no_regular_file_withdraws_all_trust(folder: Path, make: object) -> None:
    make(folder / "revoked")  # type: ignore[operator]
    assert refusal(Trust.load(folder)).startswith(f"no key is trusted: {folder}: revoked ")


def test_a_file_in_place_of_the_folder_withdraws_all_trust(folder: Path) -> None:
    file = folder / "field-team.pub"
    assert refusal(Trust.load(file)) == f"no key is trusted: {file}: Not a directory"


# Broken keys


@pytest.mark.parametrize("content", [b"", b"ssh-ed25519 AAAA me", b"\xff", KEY.text.encode() * 2, b" " * (MAX_KEY_BYTES + 1)])
def test_a_broken_key_costs_only_itself_and_is_named(folder: Path, content: bytes) -> None:
    (folder / "broken.pub").write_bytes(content)
    keys = TrustedKeys.load(folder)
    assert KEY in keys.keys
    (warning,) = keys.warnings
    assert warning.startswith(f"{folder}/broken.pub: ")
    assert warning.isprintable()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("field-team.pub", path)])
def test_a_key_that_is_no_regular_file_is_not_read(folder: Path, make: object) -> None:
    make(folder / "odd\x1b.pub")  # type: ignore[operator]
    (warning,) = TrustedKeys.load(folder).warnings
    assert warning.isprintable()
    assert warning.startswith(f"{folder}/odd\\x1b.pub: is ")


def test_the_same_key_twice_is_one(folder: Path) -> None:
    (folder / "again.pub").write_text(KEY.text)
    assert [key.raw for key in TrustedKeys.load(folder).keys].count(KEY.raw) == 1


def test_more_keys_than_are_allowed_withdraw_all_trust(folder: Path) -> None:
    for number in range(MAX_KEYS):
        (folder / f"{number}.pub").write_text(KEY.text)
    assert refusal(Trust.load(folder)).endswith(f"holds {MAX_KEYS + 1} keys, at most {MAX_KEYS} are allowed")


def test_a_folder_with_more_files_than_are_looked_at_withdraws_all_trust(folder: Path) -> None:
    for number in range(MAX_FOLDER_ENTRIES):
        (folder / f"{number}.txt").touch()
    assert f"holds more than {MAX_FOLDER_ENTRIES} files" in refusal(Trust.load(folder))


# Trust


def test_an_unsigned_manifest_is_taken_only_where_that_is_allowed(folder: Path) -> None:
    assert refusal(Trust.load(folder), None).startswith("is not signed: ")
    assert Trust.load(folder, allow_unsigned=True).signer(MANIFEST, None) is None


def test_a_wrong_signature_is_refused_where_unsigned_bundles_are_allowed(folder: Path) -> None:
    trust = Trust.load(folder, allow_unsigned=True)
    assert "is not key" in refusal(trust, sign(b"another manifest", PRIVATE))
    assert "not trusted" in refusal(trust, SIGNED_BY_OTHER)
    assert refusal(trust, b"").startswith("manifest.sig: ")


def test_one_s_own_files_need_no_key_but_no_broken_signature_either() -> None:
    assert ANYONE.signer(MANIFEST, SIGNED) is None
    assert ANYONE.signer(MANIFEST, None) is None
    assert refusal(ANYONE, b"nonsense").startswith("manifest.sig: ")
    knowing = Trust(TrustedKeys((KEY,)), allow_unsigned=True, allow_unknown=True)
    assert knowing.signer(MANIFEST, SIGNED) == KEY.id
    assert "is not key" in refusal(knowing, sign(b"another manifest", PRIVATE))
