"""Writes a bundle: the files of an export, a self-test that all of them pass, a manifest that names them, a signature."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge.bundle import ANYONE, MANIFEST, SIGNATURE, Bundle, Calibration, FileEntry, InputSpec, Manifest
from edge.bundle.limits import MAX_FILES
from edge.inference.tensorflow import LITERT_MODEL, SAVED_MODEL
from trainer.export.record import EXPORT_RECORD, ExportRecord
from trainer.files import replaced_folder
from trainer.keys import sign
from trainer.pack.errors import PackError
from trainer.pack.selftest import check_selftest, write_selftest
from trainer.predict import IR_FILES, Precision
from trainer.quiet import kept_back
from trainer.start import TRAINABLE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_DAMAGED = "damaged"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a bundle says of itself that its export does not know.

    Attributes:
        threshold: Least probability of an alert label for an alert, 0..1.
        ground_sample_distance_m: Size on the ground of a pixel of the tiles it learned from; None: mixed or unknown.
        key: Signs it; None: it stays unsigned.
    """

    name: str
    version: int
    alert_labels: tuple[str, ...]
    threshold: float = 0.5
    ground_sample_distance_m: float | None = None
    key: Ed25519PrivateKey | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise PackError(f"--name {self.name}: expected lower-case letters, digits and -, as in terrain-damage")


@dataclass(frozen=True, slots=True)
class Packed:
    """A bundle that was written.

    Attributes:
        left_out: What a bundle may hold and this one does not, each with the reason.
        warnings: What its maker should know, each one line.
    """

    manifest: Manifest
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]


def choose_alert_labels(labels: Sequence[str], asked: Sequence[str]) -> tuple[str, ...]:
    """The labels to alert of: those that are asked for, else "damaged".

    Raises:
        PackError: One is no label of the network, or none is asked for and there is no "damaged".
    """
    for label in asked:
        if label not in labels:
            raise PackError(f"--alert {label}: no such label, expected some of {', '.join(labels)}")
    if asked:
        return tuple(dict.fromkeys(asked))
    if _DAMAGED not in labels:
        raise PackError(f"--alert is required: no label is called {_DAMAGED}, so say which of {', '.join(labels)} to alert of")
    return (_DAMAGED,)


def check_target(target: Path) -> None:
    """Refuse to replace anything but a bundle.

    Raises:
        PackError: The target is something else.
    """
    if target.exists() and not (target / MANIFEST).is_file():
        raise PackError(f"{target}: exists and is not a bundle; it is not replaced")


def pack(export: Path, target: Path, recipe: Recipe) -> Packed:
    """Write a bundle, or nothing.

    Before it takes the target's place it is opened as a device opens it, and each of its networks must answer its own
    self-test.

    Raises:
        ExportError: The export is none.
        PackError: The export is incomplete, a network in it differs from the others, or the target is no bundle.
        OSError: It cannot be written; an old bundle is still there.
    """
    check_target(target)
    record = ExportRecord.open(export)
    with replaced_folder(target) as folder:
        left_out = _copy(export, record, folder)
        warnings = list(write_selftest(folder, record.labels, (record.height, record.width)))
        manifest = _manifest(record, recipe, folder)
        content = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
        (folder / MANIFEST).write_bytes(content)
        if recipe.key is not None:
            (folder / SIGNATURE).write_bytes(sign(content, recipe.key))
        # LiteRT tells of its delegate.
        with kept_back(shown_on_failure=False):
            check_selftest(Bundle.open(folder, ANYONE))
    if recipe.key is None:
        warnings.append(
            "not signed: a device that trusts keys will refuse it; overflight-train keygen makes a key, --key signs with it"
        )
    return Packed(manifest, left_out, tuple(warnings))


def _copy(export: Path, record: ExportRecord, folder: Path) -> tuple[str, ...]:
    """Copy what a device or a later training needs; says what is not there."""
    left_out = []
    try:
        _copy_ir(export, folder, "fp16")
        if "int8" in record.formats:
            _copy_ir(export, folder, "int8")
        else:
            left_out.append(f"INT8: {record.left_out.get('int8', 'not in the export')}")
        if "litert" in record.formats:
            _copy_file(export, folder, LITERT_MODEL)
        else:
            left_out.append(f"LiteRT: {record.left_out.get('litert', 'not in the export')}")
        if "saved_model" in record.formats:
            shutil.copytree(export / SAVED_MODEL, folder / SAVED_MODEL)
        else:
            left_out.append(f"SavedModel: {record.left_out.get('saved_model', 'not in the export')}")
        if (export / TRAINABLE).is_file():
            _copy_file(export, folder, TRAINABLE)
        else:
            left_out.append(f"{TRAINABLE}: not in the export, so fit cannot learn on from this bundle")
    except FileNotFoundError as error:
        missing = Path(error.filename or "").name
        raise PackError(f"{export}: {EXPORT_RECORD} names {missing}, which is missing; export it again") from error
    return tuple(left_out)


def _copy_ir(export: Path, folder: Path, precision: Precision) -> None:
    graph = IR_FILES[precision]
    _copy_file(export, folder, graph)
    _copy_file(export, folder, str(Path(graph).with_suffix(".bin")))


def _copy_file(export: Path, folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(export / name, folder / name)


def _manifest(record: ExportRecord, recipe: Recipe, folder: Path) -> Manifest:
    calibration = None
    if record.calibration is not None:
        measured = record.calibration
        calibration = Calibration(measured.temperature, measured.expected_calibration_error, measured.fitted_on)
    files = dict(_entries(folder))
    if len(files) > MAX_FILES:
        raise PackError(f"{record.source}: needs {len(files)} files, a bundle may have {MAX_FILES}")
    return Manifest(
        schema=1,
        name=recipe.name,
        version=recipe.version,
        labels=record.labels,
        alert_labels=recipe.alert_labels,
        input=InputSpec(record.height, record.width, "BGR", recipe.ground_sample_distance_m),
        threshold=recipe.threshold,
        metrics=record.metrics,
        files=files,
        calibration=calibration,
    )


def _entries(folder: Path) -> Iterator[tuple[str, FileEntry]]:
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        yield file.relative_to(folder).as_posix(), FileEntry(hashlib.sha256(content).hexdigest(), len(content))
