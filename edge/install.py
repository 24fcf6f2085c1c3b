"""Installs bundles as the configuration says, and leaves for whoever looks later what came of it.

A drone in the field has nobody to watch: a stick is put in and taken out, and what happened is read afterwards in
``last-install.json`` in the store, in the status and by ``overflight status``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from edge.bundle import Bundle, BundleError, Installed, Trust
from edge.bundle.usb import newest_on_stick
from edge.config import ModelConfig
from edge.inference import EngineError
from edge.inference.devices import check_serving
from edge.messages import InstallResult, rfc3339, utc_now
from edge.model import devices_of, open_serving, store_of, trust_of
from edge.text import one_line

_log = logging.getLogger(__name__)

_MAX_REASONS = 10


class Installer:
    """Installs into the store that the configuration names, from a bundle or from a stick."""

    def __init__(self, model: ModelConfig) -> None:
        """
        Raises:
            ConfigError: The configuration names no store.
        """
        self._model = model
        self._store = store_of(model)
        self._trust = trust_of(model)
        for warning in self._trust.keys.warnings:
            _log.warning("%s", warning)

    def from_path(self, path: Path, *, allow_downgrade: bool = False, activate: bool = True) -> InstallResult:
        """Install a bundle.

        Raises:
            BundleError, EngineError: It is not installed; the result that is left says so as well.
        """

        def install() -> tuple[Installed, None]:
            return self._store.install(path, self._trust, self._test, allow_downgrade=allow_downgrade, activate=activate), None

        return self._leave_result(path, install)

    def from_stick(self, mountpoint: Path, *, activate: bool = True) -> InstallResult:
        """Install the newest bundle of a stick that is whole, signed by a trusted key and newer than the active one.

        Raises:
            BundleError, EngineError: What lies there may be newer, and none of it can be installed; or there is no stick.
        """
        return self._leave_result(mountpoint, lambda: self._newest(mountpoint, activate=activate))

    def _newest(self, mountpoint: Path, *, activate: bool) -> tuple[Installed | None, str | None]:
        # Of a stick, which may be anybody's, nothing unsigned is taken, whatever is allowed in development.
        trust = Trust(self._trust.keys)
        active = open_serving(self._model)[0].model
        stick = newest_on_stick(mountpoint, trust, active, self._store.refusal)
        for reason in (*stick.refused, *stick.passed_over):
            _log.warning("passed over: %s", reason)
        errors: list[BundleError | EngineError] = []
        for folder in stick.newer:
            try:
                return self._store.install(folder, trust, self._test, activate=activate), None
            except (BundleError, EngineError) as error:
                _log.warning("%s", error)
                errors.append(error)
        if errors:
            raise errors[0]
        if stick.refused:
            raise BundleError(_joined(stick.refused))
        return None, _joined(stick.passed_over) or "no bundle lies there"

    def _test(self, bundle: Bundle) -> None:
        check_serving(bundle, devices_of(self._model, "latency"))

    def _leave_result(self, source: Path, install: Callable[[], tuple[Installed | None, str | None]]) -> InstallResult:
        result = InstallResult(at=rfc3339(utc_now()), source=str(source), outcome="failed")
        try:
            installed, reason = install()
        except Exception as error:
            # Also of a defect: nobody watches.
            self._leave(msgspec.structs.replace(result, reason=one_line(error)))
            raise
        if installed is None:
            result = msgspec.structs.replace(result, outcome="nothing newer", reason=reason)
        else:
            result = msgspec.structs.replace(result, outcome="installed", model=installed.path.name)
        self._leave(result)
        return result

    def _leave(self, result: InstallResult) -> None:
        try:
            self._store.leave_result(msgspec.json.encode(result) + b"\n")
        except BundleError as error:
            # What matters was done or said already.
            _log.warning("the result is not left: %s", error)


def _joined(reasons: Sequence[str]) -> str:
    more = len(reasons) - _MAX_REASONS
    return "; ".join(reasons[:_MAX_REASONS]) + (f"; and {more} more" if more > 0 else "")
