"""What a model is: a folder with a manifest and the files that it names, the keys that vouch for it, the store it lies in."""

from edge.bundle.bundle import SHIPPED, Bundle
from edge.bundle.installed import Installed
from edge.bundle.keys import TrustedKeys
from edge.bundle.manifest import MANIFEST, SIGNATURE, BundleError, Calibration, FileEntry, InputSpec, Manifest
from edge.bundle.selftest import SelfTestError
from edge.bundle.signature import KeyId, PublicKey, verify
from edge.bundle.store import SelfTest, Store
from edge.bundle.trials import Trials
from edge.bundle.trust import ANYONE, Trust

__all__ = [
    "ANYONE",
    "MANIFEST",
    "SHIPPED",
    "SIGNATURE",
    "Bundle",
    "BundleError",
    "Calibration",
    "FileEntry",
    "InputSpec",
    "Installed",
    "KeyId",
    "Manifest",
    "PublicKey",
    "SelfTest",
    "SelfTestError",
    "Store",
    "Trials",
    "Trust",
    "TrustedKeys",
    "verify",
]
