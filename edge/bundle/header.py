"""The head of a bundle: its manifest and who vouches for it. Of the files that it names nothing is known yet."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from edge.bundle.files import read_bounded
from edge.bundle.limits import MAX_MANIFEST_BYTES, MAX_SIGNATURE_BYTES
from edge.bundle.manifest import MANIFEST, SIGNATURE, Manifest, parse_manifest
from edge.bundle.signature import KeyId
from edge.bundle.trust import Trust
from edge.records import ModelName


@dataclass(frozen=True, slots=True)
class Header:
    """A manifest that is trusted.

    Attributes:
        content: The bytes of the manifest.
        signature: Those of its signature; None: it has none.
        signed_by: The trusted key that signed it; None: none did, and none needed to.
    """

    manifest: Manifest
    content: bytes
    signature: bytes | None
    signed_by: KeyId | None

    @property
    def model(self) -> ModelName:
        """Name, version and the hash of the manifest."""
        return ModelName(self.manifest.name, self.manifest.version, hashlib.sha256(self.content).hexdigest())


def read_header(folder: int, trust: Trust) -> Header:
    """Read the manifest of a bundle, after its signature.

    Args:
        folder: A descriptor of the bundle's folder.

    Raises:
        BundleError: It is missing, not trusted, or not what a manifest must be.
    """
    content = read_bounded(folder, MANIFEST, MAX_MANIFEST_BYTES)
    signature = read_bounded(folder, SIGNATURE, MAX_SIGNATURE_BYTES) if _is_there(folder, SIGNATURE) else None
    signed_by = trust.signer(content, signature)
    return Header(parse_manifest(content), content, signature, signed_by)


def _is_there(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError:
        # Reading it says why.
        return True
    return True
