"""What a model is: a folder with a manifest, and the files that the manifest names."""

from edge.bundle.bundle import SHIPPED, Bundle
from edge.bundle.manifest import BundleError, FileEntry, InputSpec, Manifest

__all__ = ["SHIPPED", "Bundle", "BundleError", "FileEntry", "InputSpec", "Manifest"]
