"""Whose bundles are taken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.bundle.keys import TrustedKeys
from edge.bundle.manifest import SIGNATURE, BundleError
from edge.bundle.signature import KeyId, parse_signature


@dataclass(frozen=True, slots=True)
class Trust:
    """What is asked of a bundle before anything that it says is believed.

    Attributes:
        keys: Whose signature is taken.
        allow_unsigned: Take a bundle without a signature, too: for development. One with a wrong signature never is.
        allow_unknown: Take the signature of a key that is not known for what it says, unverified: for files of one's own.
    """

    keys: TrustedKeys
    allow_unsigned: bool = False
    allow_unknown: bool = False

    @classmethod
    def load(cls, folder: Path, *, allow_unsigned: bool = False) -> Trust:
        """That in the keys of a folder and of the package, as they are now."""
        return cls(TrustedKeys.load(folder), allow_unsigned)

    def signer(self, manifest: bytes, signature: bytes | None) -> KeyId | None:
        """The key that vouches for a manifest; None: none does, and none needs to.

        Args:
            signature: The bytes of ``manifest.sig``; None: there is no such file.

        Raises:
            BundleError: It is not trusted.
        """
        self.keys.check()
        if signature is None:
            if not self.allow_unsigned:
                raise BundleError(f"is not signed: {SIGNATURE} is missing (only model.allow_unsigned would let it in)")
            return None
        if self.allow_unknown and not self._knows(parse_signature(signature).key):
            return None
        return self.keys.signer(manifest, signature)

    def _knows(self, key: str) -> bool:
        return key in self.keys.withdrawn or any(key == known.id for known in self.keys.keys)


ANYONE = Trust(TrustedKeys(), allow_unsigned=True, allow_unknown=True)
"""For files of one's own on a workstation, whoever signed them. Never for what a device is to run."""
