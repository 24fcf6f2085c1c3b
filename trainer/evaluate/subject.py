"""What is evaluated: a run, the runs of a cross-validation, an export or a bundle, and what it is known to have learned."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from edge.bundle import ANYONE, MANIFEST, Bundle
from edge.text import one_line
from trainer.datasets import SplitRule
from trainer.evaluate.checks import EvaluateError
from trainer.export.record import EXPORT_RECORD, ExportRecord
from trainer.fit import FOLDS
from trainer.predict import IR_FILES, Precision
from trainer.run import RECORD, Run, RunError

Kind = Literal["run", "cross-validation", "export", "bundle"]


@dataclass(frozen=True, slots=True)
class Fold:
    """A network and the split that it learned by.

    Attributes:
        number: From 1; None where there is only one network.
        path: What `trainer.predict.open_predictor` opens.
        rule: None: unknown.
    """

    number: int | None
    path: Path
    rule: SplitRule | None


@dataclass(frozen=True, slots=True)
class Subject:
    """What is evaluated.

    Attributes:
        name: For people.
        labels: In the order of the networks' output.
        folds: One, or those of a cross-validation.
        data: What it learned from, as the command line named it; empty if unknown.
        fingerprints: Of that, by name of the data set.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    folds: tuple[Fold, ...]
    data: tuple[str, ...]
    fingerprints: dict[str, str]

    def learned_from(self, fingerprint: str) -> bool:
        """Whether it is known to have learned from a data set."""
        return fingerprint in self.fingerprints.values()


def open_subject(path: Path) -> Subject:
    """See what a folder is.

    Raises:
        EvaluateError: It is nothing that can be evaluated.
        RunError, ExportError, BundleError: It is damaged.
    """
    name = path.resolve().name
    if (path / MANIFEST).is_file():
        return Subject(name, "bundle", Bundle.open(path, ANYONE).manifest.labels, (Fold(None, path, None),), (), {})
    if (path / RECORD).is_file():
        run = Run.open(path)
        return Subject(name, "run", run.labels, (Fold(None, path, run.split),), run.data, run.fingerprints)
    if (path / FOLDS).is_file():
        return _cross_validation(path, name)
    if (path / EXPORT_RECORD).is_file():
        record = ExportRecord.open(path)
        if not record.run:
            return Subject(name, "export", record.labels, (Fold(None, path, None),), (), {})
        run = Run.of_record(path, record.run)
        return Subject(name, "export", record.labels, (Fold(None, path, run.split),), run.data, run.fingerprints)
    raise EvaluateError(
        f"{path}: expected a run folder (with {RECORD}), a cross-validation (with {FOLDS}), an export (with {EXPORT_RECORD}) "
        f"or a bundle (with {MANIFEST})"
    )


def used_precision(subject: Subject, wanted: Precision | None) -> Precision:
    """What `trainer.predict.open_predictor` computes with.

    Raises:
        EvaluateError: A run has no such precision.
    """
    folder = subject.folds[0].path
    if (folder / RECORD).is_file():
        if wanted not in {None, "fp32"}:
            raise EvaluateError(f"{subject.name}: a {subject.kind} is fp32, not {wanted}; export it first")
        return "fp32"
    if wanted is not None:
        return wanted
    there = (
        Bundle.open(folder, ANYONE).has(IR_FILES["int8"]) if subject.kind == "bundle" else (folder / IR_FILES["int8"]).is_file()
    )
    return "int8" if there else "fp16"


def _cross_validation(path: Path, name: str) -> Subject:
    try:
        count = len(json.loads((path / FOLDS).read_text())["folds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: {FOLDS} cannot be read: {one_line(error)}") from error
    if not count:
        raise RunError(f"{path}: {FOLDS} names no fold, expected two at least")
    # Runs, or their exports.
    subjects = [open_subject(path / f"fold-{number}") for number in range(1, count + 1)]
    if len({(subject.kind, subject.labels, subject.data) for subject in subjects}) > 1:
        raise RunError(f"{path}: its folds learned from different data, expected those of one cross-validation")
    folds = tuple(replace(subject.folds[0], number=number) for number, subject in enumerate(subjects, 1))
    first = subjects[0]
    return Subject(name, "cross-validation", first.labels, folds, first.data, first.fingerprints)
