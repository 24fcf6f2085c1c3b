"""Sorts frames by how useful a label would be: a person's time is what is scarce.

First what an operator contradicted, for there the model is known to be wrong. Then what it was least sure of (margin
sampling: Settles, 2009, "Active Learning Literature Survey", section 3.1). Then what looks like little else: a network can be
sure of what it has never seen (Hendrycks and Gimpel, 2017, arXiv:1610.02136), which its margin would show to nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer.harvest.observed import Observed

Reason = Literal["contradicted", "confirmed", "uncertain", "odd", "ordinary"]

# A lead that a model with honest probabilities loses once in four times, with two labels.
_UNCERTAIN_MARGIN = 0.5
# However much is uncertain, so much of the room is kept for what is odd.
_ODD_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Candidate:
    """A frame that could be labelled.

    Attributes:
        true_label: What an operator said; None: nobody did.
        oddness: As `trainer.harvest.frames.oddness` gives it.
    """

    observed: Observed
    file: Path
    true_label: str | None
    oddness: float = 0.0


@dataclass(frozen=True, slots=True)
class Queued:
    """A frame in the queue.

    Attributes:
        rank: From 1, the most useful.
    """

    rank: int
    reason: Reason
    candidate: Candidate


def each_once(candidates: Sequence[Candidate], digests: Sequence[bytes]) -> tuple[list[int], list[str]]:
    """Of frames with the same pixels the one that is most useful.

    Returns:
        The indices of those to keep, and the names of the others.
    """
    order = sorted(range(len(candidates)), key=lambda at: _usefulness(candidates[at]))
    seen: set[bytes] = set()
    kept, dropped = [], []
    for at in order:
        if digests[at] in seen:
            dropped.append(candidates[at].observed.name)
        else:
            seen.add(digests[at])
            kept.append(at)
    return sorted(kept), sorted(dropped)


def sort_by_usefulness(candidates: Sequence[Candidate], limit: int) -> list[Queued]:
    """The most useful frames, at most `limit`, in their order."""
    groups: dict[Reason, list[Candidate]] = {
        reason: [] for reason in ("contradicted", "confirmed", "uncertain", "odd", "ordinary")
    }
    for candidate in sorted(candidates, key=_usefulness):
        groups[_reason(candidate)].append(candidate)
    groups["odd"].sort(key=lambda candidate: -candidate.oddness)
    room = max(limit - len(groups["contradicted"]) - len(groups["confirmed"]), 0)
    for_odd = min(len(groups["odd"]), int(room * _ODD_SHARE))
    groups["uncertain"] = groups["uncertain"][: room - for_odd]
    chosen = [(reason, candidate) for reason, group in groups.items() for candidate in group][:limit]
    return [Queued(rank, reason, candidate) for rank, (reason, candidate) in enumerate(chosen, 1)]


def with_oddness(candidates: Sequence[Candidate], values: NDArray[np.float64]) -> list[Candidate]:
    """The same candidates with their oddness."""
    return [
        Candidate(candidate.observed, candidate.file, candidate.true_label, float(value))
        for candidate, value in zip(candidates, values, strict=True)
    ]


def _reason(candidate: Candidate) -> Reason:
    if candidate.true_label is not None:
        return "confirmed" if candidate.true_label == candidate.observed.label else "contradicted"
    if candidate.observed.margin < _UNCERTAIN_MARGIN:
        return "uncertain"
    return "odd" if candidate.oddness > 0 else "ordinary"


def _usefulness(candidate: Candidate) -> tuple[bool, float, str]:
    """Sorts what an operator spoke of first, then by margin; the name makes the order the same every time."""
    return candidate.true_label is None, candidate.observed.margin, candidate.observed.name
