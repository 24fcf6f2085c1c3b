"""The signature of a bundle: an Ed25519 key (RFC 8032) vouches for the bytes of its manifest. Decides without touching a disk.

A device trusts public keys, each a text of one line. The manifest names every file with its hash, so one signature covers
the whole bundle.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal, NewType

import msgspec
from msgspec import Meta

from edge.bundle.limits import MAX_KEY_BYTES, MAX_SIGNATURE_BYTES
from edge.bundle.manifest import MANIFEST, SIGNATURE, BundleError
from edge.text import one_line

ALGORITHM: Literal["ed25519"] = "ed25519"

_KEY_KIND = "overflight-ed25519"
_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_ID_DIGITS = 16
_KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")

KEY_ID = rf"[0-9a-f]{{{_ID_DIGITS}}}"
"""What the id of a key looks like."""

KeyId = NewType("KeyId", str)
"""The first 16 hexadecimal digits of the SHA-256 of a public key's 32 bytes."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that signatures are verified with.

    Attributes:
        raw: Its 32 bytes.
        name: For people; nothing is decided upon it.
    """

    raw: bytes
    name: str

    def __post_init__(self) -> None:
        if len(self.raw) != _KEY_BYTES:
            raise BundleError(f"public key: has {len(self.raw)} bytes, expected {_KEY_BYTES}")
        if not _KEY_NAME.fullmatch(self.name):
            raise BundleError(f"public key: the name {self.name!a} is not 1 to 64 of A-Z a-z 0-9 . _ @ -")

    @property
    def id(self) -> KeyId:
        """What a signature names it by."""
        return KeyId(hashlib.sha256(self.raw).hexdigest()[:_ID_DIGITS])

    @property
    def text(self) -> str:
        """The line that `parse` reads."""
        return f"{_KEY_KIND} {base64.b64encode(self.raw).decode('ascii')} {self.name}\n"

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Read the content of a key's file: ``overflight-ed25519 <base64> <name>``.

        Raises:
            BundleError: It is no such line.
        """
        words = text.split() if len(text) <= MAX_KEY_BYTES else []
        if len(words) != 3 or words[0] != _KEY_KIND or len(text.strip().splitlines()) != 1:
            raise BundleError(f"public key: expected one line, {_KEY_KIND} <base64> <name>")
        try:
            raw = base64.b64decode(words[1], validate=True)
        except (binascii.Error, ValueError) as error:
            raise BundleError(f"public key: no base64: {one_line(error)}") from error
        return cls(raw, words[2])


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of ``manifest.sig``."""

    key: Annotated[str, Meta(pattern=rf"^{KEY_ID}\Z")]
    algorithm: Literal["ed25519"]
    signature: Annotated[bytes, Meta(min_length=_SIGNATURE_BYTES, max_length=_SIGNATURE_BYTES)]


def parse_signature(content: bytes) -> Signature:
    """Read a ``manifest.sig``.

    Raises:
        BundleError: It is too large, no JSON, or not what a signature must be.
    """
    if len(content) > MAX_SIGNATURE_BYTES:
        raise BundleError(f"{SIGNATURE} has {len(content)} bytes, at most {MAX_SIGNATURE_BYTES} are allowed")
    try:
        signature = msgspec.json.decode(content, type=Signature)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{SIGNATURE}: {one_line(error)}") from error
    # The last letter of base64 has bits that say nothing: a file in which they are flipped is an altered one all the same.
    if msgspec.json.encode(signature.signature) not in content:
        raise BundleError(f"{SIGNATURE}: the signature is not written as base64 writes it")
    return signature


def verify(manifest: bytes, signature: bytes, keys: Iterable[PublicKey]) -> KeyId:
    """Find the trusted key that signed a manifest.

    Args:
        manifest: The bytes of ``manifest.json``.
        signature: Those of ``manifest.sig``.
        keys: Which are trusted.

    Raises:
        BundleError: None of them did.
    """
    claimed = parse_signature(signature)
    named = [key for key in keys if key.id == claimed.key]
    if not named:
        raise BundleError(f"{SIGNATURE}: signed by key {claimed.key}, which is not trusted")
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise BundleError(f"{SIGNATURE}: cannot be verified, the package cryptography is missing") from error
    for key in named:
        try:
            Ed25519PublicKey.from_public_bytes(key.raw).verify(claimed.signature, manifest)
        except (InvalidSignature, ValueError):
            continue
        return key.id
    raise BundleError(f"{SIGNATURE}: is not key {claimed.key}'s signature of this {MANIFEST}")
