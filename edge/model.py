"""What the configuration says of the model: whose bundles are trusted, where they lie, and which of them serves."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge.bundle import Bundle, Store, Trust
from edge.bundle.limits import LOCK_S
from edge.config import ConfigError, ModelConfig
from edge.inference import Devices
from edge.inference.engine import Mode
from edge.messages import InstallResult


def trust_of(model: ModelConfig) -> Trust:
    """Whose bundles are taken, read anew: keys come and go."""
    return Trust.load(Path(model.trusted_keys), allow_unsigned=model.allow_unsigned)


def store_of(model: ModelConfig, lock_s: float = LOCK_S) -> Store:
    """Where bundles are installed.

    Args:
        lock_s: How long a change of it waits for one that another process makes.

    Raises:
        ConfigError: Nowhere.
    """
    if not model.store:
        raise ConfigError("model.store: is empty, expected the folder that bundles are installed into")
    return Store(Path(model.store), lock_s)


def devices_of(model: ModelConfig, mode: Mode = "throughput", cache: Path | None = None) -> Devices:
    """What may run it.

    Args:
        cache: Folder for compiled models, where the configuration names no other.
    """
    return Devices(
        order=None if model.devices == "auto" else model.devices,
        mode=mode,
        cache=Path(model.cache) if model.cache else cache,
        answer_s=model.answer_s,
        retry_s=model.retry_s,
        myriad_python=Path(model.myriad_python) if model.myriad_python else None,
    )


def last_install(store: Store) -> InstallResult | None:
    """What the last install came to; None: there was none, or what it left cannot be read."""
    try:
        return msgspec.json.decode(store.last_result() or b"", type=InstallResult)
    except msgspec.DecodeError:
        return None


def open_serving(model: ModelConfig) -> tuple[Bundle, tuple[str, ...]]:
    """Open the bundle that serves: the active one of the store, or the one before it, or the one of the package.

    Returns:
        The bundle, and in one line each why a better one was not taken.

    Raises:
        BundleError: Not even the one of the package can be opened.
    """
    if not model.store:
        return Bundle.shipped(), ()
    trust = trust_of(model)
    bundle, reasons = store_of(model).open_active(trust)
    return bundle or Bundle.shipped(), (*trust.keys.warnings, *reasons)
