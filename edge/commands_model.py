"""``overflight model``: the bundles of this device."""

from __future__ import annotations

import argparse
import json
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edge.arguments import Subcommands, UsageError, add_command
from edge.config import Config, load
from edge.text import printable

if TYPE_CHECKING:
    from edge.bundle import Bundle, Installed, Trust

_log = logging.getLogger(__name__)


def add_model_commands(commands: Subcommands) -> None:
    """Add ``model`` and what comes below it."""
    text = "the bundles of this device: install, test, change and look at them"
    example = "overflight model install /media/stick/overflight/terrain-damage-3"
    model = commands.add_parser("model", help=text, description=text, epilog=f"example: {example}", allow_abbrev=False)
    command = partial(add_command, model.add_subparsers(dest="model_command", required=True, metavar="COMMAND"))

    listed = command("list", _list, "list the installed bundles", "overflight model list")
    shown = command("show", _show, "say what a bundle is and what was measured with it", "overflight model show")
    shown.add_argument("name", nargs="?", metavar="NAME", help="folder or digest, as list prints it; default: what serves")
    verified = command(
        "verify",
        _verify,
        "check signature and files of a bundle, and run its self-test on the engine that would serve; changes nothing",
        "overflight model verify /media/stick/overflight/terrain-damage-3",
    )
    verified.add_argument("path", type=Path, metavar="PATH", help="folder of a bundle")

    installed = command("install", _install, "install a bundle once it proved to be whole, trusted and working", example)
    source = installed.add_mutually_exclusive_group(required=True)
    source.add_argument("path", nargs="?", type=Path, metavar="PATH", help="folder of a bundle")
    source.add_argument(
        "--from-usb", type=Path, metavar="MOUNTPOINT", help="the newest in overflight/ of a stick, if newer than the active one"
    )
    installed.add_argument("--allow-downgrade", action="store_true", help="also one that is older than the active one")
    installed.add_argument("--no-activate", action="store_true", help="leave the active bundle as it is")
    for each in (listed, shown, verified, installed):
        each.add_argument("--json", action="store_true", help="as JSON")

    activated = command("activate", _activate, "let an installed bundle serve", "overflight model activate 0a1b2c3d4e5f")
    activated.add_argument("name", metavar="NAME", help="folder or digest, as list prints it")
    command("rollback", _rollback, "let the previous bundle serve again", "overflight model rollback")


def _list(options: argparse.Namespace) -> int:
    from edge.model import store_of

    store = store_of(load(options.config).model)
    marks = {store.previous(): "previous", store.active(): "active"}
    bundles = store.list()
    if options.json:
        print(json.dumps([_entry(each, marks.get(each.path)) for each in bundles]))
        return 0
    for each in bundles:
        print(f"{each.path.name:40} {marks.get(each.path, '')}".rstrip())
    if store.active() is None:
        print("no installed bundle is active: the one that ships with the package serves")
    return 0


def _entry(installed: Installed, mark: str | None) -> dict[str, Any]:
    return {
        "directory": installed.path.name,
        "name": installed.name,
        "version": installed.version,
        "digest": installed.digest,
        "active": mark == "active",
        "previous": mark == "previous",
    }


def _show(options: argparse.Namespace) -> int:
    from edge.bundle import Bundle
    from edge.model import open_serving, store_of, trust_of

    config = load(options.config)
    if options.name is None:
        bundle, reasons = open_serving(config.model)
        for reason in reasons:
            _log.warning("%s", reason)
    else:
        bundle = Bundle.open(store_of(config.model).find(options.name).path, _said(trust_of(config.model)))
    if options.json:
        print(json.dumps(_facts(bundle) | {"manifest": msgspec.to_builtins(bundle.manifest)}))
    else:
        print("\n".join(printable(line) for line in _lines(bundle, config)))
    return 0


def _facts(bundle: Bundle) -> dict[str, Any]:
    model = bundle.model
    return {
        "path": str(bundle.path),
        "model": {"name": model.name, "version": model.version, "sha256": model.sha256},
        "signed_by": bundle.signed_by,
        "shipped": bundle.is_shipped,
    }


def _lines(bundle: Bundle, config: Config) -> list[str]:
    """What a bundle is, for people."""
    manifest = bundle.manifest
    size = manifest.input.ground_sample_distance_m
    lines = [
        f"model        {bundle.model.name} version {bundle.model.version}",
        f"sha256       {bundle.model.sha256}",
        f"folder       {bundle.path}",
        f"signed by    {_signer(bundle, config)}",
        f"labels       {', '.join(manifest.labels)}; alerts of {', '.join(manifest.alert_labels)} from {manifest.threshold:g}",
        f"input        {manifest.input.width} x {manifest.input.height} pixels"
        + ("" if size is None else f", {size:g} m of ground each"),
        f"files        {len(manifest.files)}, {manifest.total_bytes / 1e6:.1f} MB"
        + ("" if bundle.has_selftest else ", no self-test"),
    ]
    if manifest.calibration is not None:
        calibration = manifest.calibration
        lines.append(
            f"calibration  temperature {calibration.temperature:g}, expected calibration error"
            f" {calibration.expected_calibration_error:g}, fitted on {', '.join(calibration.fitted_on)}"
        )
    return lines + [f"measured     on {name}: {_figures(measured)}" for name, measured in manifest.metrics.items()]


def _signer(bundle: Bundle, config: Config) -> str:
    from edge.model import trust_of

    if bundle.signed_by is None:
        return "nobody: it came with the package" if bundle.is_shipped else "nobody: model.allow_unsigned lets it serve"
    names = {key.id: key.name for key in trust_of(config.model).keys.keys}
    return f"key {bundle.signed_by}, {names.get(bundle.signed_by, 'of the package')}"


def _figures(measured: Any) -> str:
    if not isinstance(measured, dict):
        return json.dumps(measured)
    return ", ".join(f"{name.replace('_', ' ')} {json.dumps(value)}" for name, value in measured.items())


def _verify(options: argparse.Namespace) -> int:
    from edge.bundle import Bundle
    from edge.inference.devices import check_serving
    from edge.model import devices_of, trust_of

    config = load(options.config)
    _check_path(options.path)
    bundle = Bundle.open(options.path, _said(trust_of(config.model)))
    engine, device = check_serving(bundle, devices_of(config.model, "latency"))
    if options.json:
        print(json.dumps(_facts(bundle) | {"engine": engine, "on": device}))
    else:
        print(
            f"{bundle.model.name} version {bundle.model.version}: signed by {_signer(bundle, config)};"
            f" {len(bundle.manifest.files)} files are whole; self-test passed by {engine} on {device}"
        )
    return 0


def _install(options: argparse.Namespace) -> int:
    from edge.install import Installer

    config = load(options.config)
    activate = not options.no_activate
    installer = Installer(config.model)
    if options.from_usb is None:
        _check_path(options.path)
        result = installer.from_path(options.path, allow_downgrade=options.allow_downgrade, activate=activate)
    elif options.allow_downgrade:
        raise UsageError("--allow-downgrade: only with PATH; of a stick only what is newer is taken")
    else:
        result = installer.from_stick(options.from_usb, activate=activate)
    if options.json:
        print(json.dumps(msgspec.to_builtins(result)))
    elif result.model is None:
        print(f"nothing newer: {result.reason}")
    else:
        print(
            f"installed {result.model}" + (", which serves now" if activate else f"; overflight model activate {result.model}")
        )
    return 0


def _activate(options: argparse.Namespace) -> int:
    from edge.model import store_of, trust_of

    model = load(options.config).model
    print(f"{store_of(model).activate(options.name, _said(trust_of(model))).path.name} serves now")
    return 0


def _rollback(options: argparse.Namespace) -> int:
    from edge.model import store_of, trust_of

    model = load(options.config).model
    print(f"{store_of(model).rollback(_said(trust_of(model))).path.name} serves again")
    return 0


def _said(trust: Trust) -> Trust:
    """The trust, after what is wrong with its keys was said."""
    for warning in trust.keys.warnings:
        _log.warning("%s", warning)
    return trust


def _check_path(path: Path) -> None:
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder; a bundle is a folder with a manifest.json")
