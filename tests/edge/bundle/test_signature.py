"""Who vouches for a bundle: a trusted key's signature is taken, and each forgery is refused in one line."""

from __future__ import annotations

import base64
import hashlib
import json
import string
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bundle import BundleError
from edge.bundle.limits import MAX_KEY_BYTES, MAX_SIGNATURE_BYTES
from edge.bundle.signature import PublicKey, parse_signature, verify
from tests.edge.bundle.bundles import write_bundle

MANIFEST = b'{"schema": 1, "name": "terrain-damage"}'
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TRUSTED = PublicKey(PRIVATE.public_key().public_bytes_raw(), "field-team")
OTHER = PublicKey(Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw(), "other")


def signature(**changes: Any) -> bytes:
    """What the trusted key says of the manifest, with changes."""
    content = {
        "key": TRUSTED.id,
        "algorithm": "ed25519",
        "signature": base64.b64encode(PRIVATE.sign(MANIFEST)).decode(),
    }
    return json.dumps({name: value for name, value in (content | changes).items() if value is not None}).encode()


def refusal(manifest: bytes, content: bytes, *keys: PublicKey) -> str:
    with pytest.raises(BundleError) as caught:
        verify(manifest, content, keys)
    message = str(caught.value)
    assert message.isprintable(), repr(message)
    return message


def test_a_manifest_that_a_trusted_key_signed_is_taken() -> None:
    assert verify(MANIFEST, signature(), [OTHER, TRUSTED]) == TRUSTED.id


def test_a_key_is_known_by_the_hash_of_its_bytes() -> None:
    assert TRUSTED.id == hashlib.sha256(TRUSTED.raw).hexdigest()[:16]


def test_a_key_that_is_not_trusted_is_named() -> None:
    assert refusal(MANIFEST, signature(), OTHER) == f"manifest.sig: signed by key {TRUSTED.id}, which is not trusted"
    assert "not trusted" in refusal(MANIFEST, signature())


def test_one_altered_byte_of_the_manifest_is_found() -> None:
    for at in range(len(MANIFEST)):
        altered = MANIFEST[:at] + bytes([MANIFEST[at] ^ 1]) + MANIFEST[at + 1 :]
        assert "is not key" in refusal(altered, signature(), TRUSTED)


def test_a_signature_of_another_key_under_a_trusted_id_is_refused() -> None:
    forged = Ed25519PrivateKey.from_private_bytes(bytes(32)).sign(MANIFEST)
    content = signature(signature=base64.b64encode(forged).decode())
    assert "is not key" in refusal(MANIFEST, content, TRUSTED, OTHER)


@pytest.mark.parametrize(
    "changes",
    [
        {"key": None},
        {"key": "ABCDEF0123456789"},
        {"key": "0" * 17},
        {"algorithm": "none"},
        {"algorithm": None},
        {"signature": ""},
        {"signature": "not base64!"},
        {"signature": base64.b64encode(bytes(63)).decode()},
        {"signature": base64.b64encode(bytes(65)).decode()},
        {"signature": None},
        {"more": 1},
    ],
)
def test_a_signature_that_says_what_none_says_is_refused(changes: dict[str, Any]) -> None:
    assert refusal(MANIFEST, signature(**changes), TRUSTED).startswith("manifest.sig: ")


def test_bits_of_a_signature_that_say_nothing_may_not_be_flipped() -> None:
    # 64 bytes are 85 letters of base64 and a third of one more: 15 others stand for the same bytes.
    written = base64.b64encode(PRIVATE.sign(MANIFEST)).decode()
    same = [
        letter
        for letter in string.ascii_letters + string.digits + "+/"
        if base64.b64decode(f"{written[:85]}{letter}==") == base64.b64decode(written)
    ]
    assert len(same) == 16
    for letter in set(same) - {written[85]}:
        content = signature(signature=f"{written[:85]}{letter}==")
        assert "is not written as base64 writes it" in refusal(MANIFEST, content, TRUSTED)


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b'"signed"', b"\xff\xfe", b"[" * 1000])
def test_what_is_no_signature_at_all_is_refused(content: bytes) -> None:
    assert refusal(MANIFEST, content, TRUSTED).startswith("manifest.sig: ")


def test_a_signature_that_is_too_large_is_refused_unread() -> None:
    assert f"at most {MAX_SIGNATURE_BYTES}" in refusal(MANIFEST, signature() + b" " * MAX_SIGNATURE_BYTES, TRUSTED)


@given(content=st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_no_bytes_do_more_than_be_refused(content: bytes) -> None:
    with pytest.raises(BundleError):
        parse_signature(content)


def test_a_public_key_is_read_as_it_was_written() -> None:
    assert PublicKey.parse(TRUSTED.text) == TRUSTED
    kind, encoded, name = TRUSTED.text.split(" ")
    assert (kind, name) == ("overflight-ed25519", "field-team\n")
    assert base64.b64decode(encoded) == TRUSTED.raw


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh-ed25519 AAAA name",
        "overflight-ed25519 " + base64.b64encode(bytes(32)).decode(),
        "overflight-ed25519 " + base64.b64encode(bytes(31)).decode() + " short",
        "overflight-ed25519 " + base64.b64encode(bytes(33)).decode() + " long",
        "overflight-ed25519 ***** name",
        "overflight-ed25519 " + base64.b64encode(bytes(32)).decode() + " ../name",
        "overflight-ed25519 " + base64.b64encode(bytes(32)).decode() + " two words",
        "overflight-ed25519\n" + base64.b64encode(bytes(32)).decode() + "\nname",
        TRUSTED.text + " " * MAX_KEY_BYTES,
        TRUSTED.text + OTHER.text,
    ],
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(BundleError) as caught:
        PublicKey.parse(text)
    assert str(caught.value).startswith("public key: ")
    assert str(caught.value).isprintable()


def test_opening_an_unsigned_bundle_needs_no_cryptography(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", key=None)
    code = "import sys; sys.modules['cryptography'] = None\nfrom edge.bundle import *\nBundle.open(sys.argv[1], ANYONE)"
    assert subprocess.run([sys.executable, "-c", code, folder], check=False, capture_output=True).returncode == 0
