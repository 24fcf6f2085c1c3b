"""Compares exports: reads what they are measured on, measures, and puts the figures together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.compare.comparison import Comparison, Images
from trainer.compare.figures import figures
from trainer.compare.machine import Machine
from trainer.compare.measure import Plan, Watch, measure
from trainer.compare.subjects import CompareError, Row, Subject
from trainer.datasets import Part, SplitRule, read_all, split_all
from trainer.datasets.tiles import Dataset


def read_parts(subject: Subject, arguments: Sequence[str], rule: SplitRule) -> list[Part]:
    """The data that is measured on, split.

    Args:
        subject: Whose labels the data must have, and whose data and split are taken where none are given.
        arguments: Data sets as the command line names them; empty: those that the subject learned from.
        rule: How they are split.

    Raises:
        CompareError: No data is given, and it is not known what the subject learned from.
        DatasetError: The data cannot be read or split.
    """
    named = tuple(arguments) or subject.data
    if not named:
        raise CompareError(f"{subject.folder}: it is not known what it learned from; give --data")
    datasets: list[Dataset] = read_all(named, subject.record.labels)
    return split_all(datasets, rule)


def unlike(subjects: Sequence[Subject], parts: Sequence[Part], rule: SplitRule) -> list[str]:
    """Which subjects may have learned from what they are measured on, one sentence each."""
    warnings = []
    for subject in subjects:
        learned = subject.fingerprints
        for part in parts:
            name = part.dataset.name
            changed = name in learned and learned[name] != part.dataset.fingerprint()
            if changed or (name in learned and subject.split != rule):
                warnings.append(
                    f"{subject.name}: {name} is not, or not split as, what it learned from: its accuracy may flatter it"
                )
    return warnings


def compare(rows: Sequence[Row], base: Row, parts: Sequence[Part], plan: Plan, *, watch: Watch, command: str) -> Comparison:
    """Measure all rows on what is held out.

    Args:
        base: One of the rows, that the others are set in relation to.
        watch: Is told of every turn.
        command: For the record.
    """
    names = parts[0].dataset.labels
    pixels = np.ascontiguousarray(np.concatenate([part.held_out.images for part in parts])[..., ::-1])
    labels = np.concatenate([_renumbered(part, names) for part in parts])
    machine = Machine.this()
    measured = measure(rows, pixels, names, plan, watch)
    related = next(one for one in measured if one.row is base)
    images = tuple(Images(part.dataset.name, len(part.held_out), part.how) for part in parts)
    return Comparison(
        command,
        machine,
        plan,
        images,
        pixels.shape[1:3],
        base.label,
        tuple(measured),
        tuple(figures(measured, related, labels, plan.throughput_samples)),
    )


def _renumbered(part: Part, names: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    order = np.array([names.index(label) for label in part.dataset.labels], np.int32)
    return order[part.held_out.labels]
