"""Key pairs that bundles are signed with: the private half stays with who trains, devices trust the public one.

Ed25519 (Bernstein et al., 2012, doi 10.1007/s13389-012-0027-1; RFC 8032) by the package cryptography.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge.bundle.manifest import BundleError
from edge.bundle.signature import ALGORITHM, PublicKey, Signature
from edge.text import one_line
from trainer.errors import TrainerError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_PRIVATE_MODE, _PUBLIC_MODE = 0o600, 0o644


class KeyFileError(TrainerError):
    """A key cannot be made or used; the message is one line that names its file."""


def generate_key(folder: Path, name: str, password: bytes | None = None) -> tuple[Path, PublicKey]:
    """Make a key pair and write ``NAME.key`` (PEM, PKCS #8, mode 0600) and ``NAME.pub``.

    Args:
        password: Encrypts the private key; None: it is not encrypted.

    Returns:
        The path of the private key, and the public one.

    Raises:
        KeyFileError: One of the files is there already, or the name is none that a key may have.
        OSError: They cannot be written; then neither is there.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    try:
        public = PublicKey(key.public_key().public_bytes_raw(), name)
    except BundleError as error:
        raise KeyFileError(f"--name: {error}") from error
    encryption = BestAvailableEncryption(password) if password is not None else NoEncryption()
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    folder.mkdir(parents=True, exist_ok=True)
    private_file, public_file = folder / f"{name}.key", folder / f"{name}.pub"
    for file in (private_file, public_file):
        if os.path.lexists(file):
            raise KeyFileError(f"{file}: is there already, and no key is ever overwritten")
    _write_new(private_file, content, _PRIVATE_MODE)
    try:
        _write_new(public_file, public.text.encode(), _PUBLIC_MODE)
    except BaseException:
        private_file.unlink()
        raise
    return private_file, public


def read_password(file: Path) -> bytes:
    """The password that is the first line of a file.

    Raises:
        KeyFileError: It cannot be read, or the line is empty.
    """
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise KeyFileError(f"{file}: {one_line(error)}") from error
    if not lines or not lines[0]:
        raise KeyFileError(f"{file}: expected a password in its first line")
    return lines[0]


def load_private_key(file: Path, password: bytes | None = None) -> Ed25519PrivateKey:
    """Read a private key that `generate_key` wrote.

    Raises:
        KeyFileError: It is none, or the password does not fit.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(file.read_bytes(), password)
    except OSError as error:
        raise KeyFileError(f"{file}: {one_line(error)}") from error
    except TypeError as error:
        wanted = (
            "is not encrypted, leave the password out" if password is not None else "is encrypted, --password-file is needed"
        )
        raise KeyFileError(f"{file}: {wanted}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{file}: no private key in PEM, or not the password that it was encrypted with") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{file}: not an Ed25519 key; overflight-train keygen makes one")
    return key


def sign(manifest: bytes, key: Ed25519PrivateKey) -> bytes:
    """The content of ``manifest.sig`` for the bytes of a ``manifest.json``."""
    public = PublicKey(key.public_key().public_bytes_raw(), "signer")
    return msgspec.json.encode(Signature(public.id, ALGORITHM, key.sign(manifest))) + b"\n"


def _write_new(file: Path, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError as error:
        raise KeyFileError(f"{file}: is there already, and no key is ever overwritten") from error
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(descriptor)
    except BaseException:
        file.unlink()
        raise
