"""What is compared: every engine of every export, one row each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.text import one_line
from trainer.compare.engines import ENGINES
from trainer.datasets import SplitRule
from trainer.errors import TrainerError
from trainer.export.record import ExportRecord


class CompareError(TrainerError):
    """Nothing can be compared as asked; the message is the reason in one line."""


@dataclass(frozen=True, slots=True)
class Subject:
    """An export.

    Attributes:
        name: Of its folder.
        data: What it learned from, as the command line named it; empty if unknown.
        split: How that was split; None if unknown.
        fingerprints: Of that, by name of the data set.
    """

    name: str
    folder: Path
    record: ExportRecord
    data: tuple[str, ...]
    split: SplitRule | None
    fingerprints: dict[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """An engine of an export.

    Attributes:
        label: For people: title of the engine, after the name of the export where there are several.
        engine: Key of `trainer.compare.engines.ENGINES`.
        model: What the engine reads; None: the export does not have it.
        left_out: Then the reason.
    """

    label: str
    subject: Subject
    engine: str
    model: Path | None
    left_out: str = ""


def open_subjects(folders: Sequence[Path]) -> list[Subject]:
    """Open exports that are compared.

    Raises:
        ExportError: One is no export.
        CompareError: Two have one name, or their labels differ.
    """
    subjects = [_open(folder) for folder in folders]
    names = [subject.name for subject in subjects]
    for subject in subjects:
        if names.count(subject.name) > 1:
            raise CompareError(f"{subject.folder}: two exports are named {subject.name}, expected folders of different names")
        if set(subject.record.labels) != set(subjects[0].record.labels):
            expected = ", ".join(subjects[0].record.labels)
            raise CompareError(f"{subject.folder}: has the labels {', '.join(subject.record.labels)}, expected {expected}")
    return subjects


def rows_of(subjects: Sequence[Subject], engines: Sequence[str]) -> list[Row]:
    """A row for each engine of each export, in their order."""
    return [_row(subject, engine, named=len(subjects) > 1) for subject in subjects for engine in engines]


def base_of(rows: Sequence[Row], wanted: str | None) -> Row:
    """The row that all others are set in relation to.

    Args:
        wanted: ``NAME ENGINE``, the engine by its key or its title; without NAME: of the first export. None: the first row,
            which is Keras predict of the first export unless the export has none or other engines were chosen.

    Raises:
        CompareError: There is no such row, or the export does not have it.
    """
    there = [row for row in rows if row.model is not None]
    if not there:
        raise CompareError(f"none of {', '.join(row.label for row in rows)} is in the export")
    if wanted is None:
        return there[0]
    for row in there:
        for engine in (row.engine, ENGINES[row.engine].title):
            if wanted.casefold() in {f"{row.subject.name} {engine}".casefold(), engine.casefold()}:
                return row
    allowed = ", ".join(f'"{row.subject.name} {row.engine}"' for row in there)
    raise CompareError(f"--base {wanted}: expected one of {allowed}")


def _open(folder: Path) -> Subject:
    record = ExportRecord.open(folder)
    name, run = folder.resolve().name, record.run
    if not run:
        return Subject(name, folder, record, (), None, {})
    try:
        data = tuple(data["argument"] for data in run["data"])
        fingerprints = {data["name"]: data["fingerprint"] for data in run["data"]}
        return Subject(name, folder, record, data, SplitRule(**run["split"]), fingerprints)
    except (KeyError, TypeError) as error:
        raise CompareError(f"{folder}: the record of its run is incomplete: {one_line(error)}") from error


def _row(subject: Subject, engine: str, *, named: bool) -> Row:
    form = ENGINES[engine]
    label = f"{subject.name} {form.title}" if named else form.title
    if form.format in subject.record.left_out:
        return Row(label, subject, engine, None, f"left out: {subject.record.left_out[form.format]}")
    model = subject.folder / form.path
    if not model.exists():
        return Row(label, subject, engine, None, f"left out: the export has no {form.path}")
    return Row(label, subject, engine, model.resolve())
