"""What a model is: a folder with a manifest, and the files that the manifest names."""

from edge.bundle.bundle import SHIPPED, Bundle
from edge.bundle.manifest import MANIFEST, BundleError, Calibration, FileEntry, InputSpec, Manifest
from edge.bundle.signature import KeyId, PublicKey, verify

__all__ = [
    "MANIFEST",
    "SHIPPED",
    "Bundle",
    "BundleError",
    "Calibration",
    "FileEntry",
    "InputSpec",
    "KeyId",
    "Manifest",
    "PublicKey",
    "verify",
]
