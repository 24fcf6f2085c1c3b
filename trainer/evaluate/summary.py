"""What was measured, in plain words for a reader who is no statistician, and as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.evaluate.evaluate import Evaluation, Section
from trainer.evaluate.places import LEAST_TILES
from trainer.evaluate.plots import distance_name

_GOOD_ERROR = 0.02


def summary(evaluation: Evaluation) -> str:
    """One paragraph."""
    section = evaluation.overall
    measured = section.figures
    balanced = measured.balanced_accuracy
    sentences = [f"{evaluation.subject} was asked about {measured.tiles:,} tiles."]
    sentences += [
        f"Of 100 tiles that are {label.label} it recognizes {100 * label.recall.value:.1f}."
        for label in measured.by_label
        if label.recall is not None
    ]
    sentences.append(
        f"Each label counted alike, it is right in {balanced.value:.1%} of cases; with other tiles of the same kind anything "
        f"from {balanced.least:.1%} to {balanced.most:.1%} would be no surprise."
    )
    if section.floor is not None:
        floor = section.floor.balanced_accuracy.value
        verdict = (
            "so it sees more than colour" if balanced.least > floor else "so it is not clear that it sees more than colour"
        )
        sentences.append(f"A trivial model that looks only at colours gets {floor:.1%}, {verdict}.")
    far = next((distance for distance in reversed(section.distances) if distance.tiles >= LEAST_TILES), None)
    if far is not None:
        share = far.balanced_accuracy or far.accuracy
        sentences.append(f"On the ground farthest from what it learned ({distance_name(far)}) it gets {share.value:.1%}.")
    if section.alert is not None and section.alert.false_alarms_per_1000 is not None:
        alert = section.alert
        sentences.append(
            f"To find {alert.wanted_recall:.0%} of what is {evaluation.alert}, it must alert from a probability of "
            f"{alert.threshold:.3f}; then {alert.false_alarms_per_1000:.0f} of 1,000 other tiles raise a false alarm."
        )
    if section.calibration is not None:
        sentences.append(_trust(section.calibration.fitted.before, section.calibration.fitted.after))
    return " ".join(sentences)


def table(evaluation: Evaluation) -> str:
    """Lines for a terminal."""
    return "\n".join(_lines(evaluation))


def _trust(before: float, after: float) -> str:
    if before <= _GOOD_ERROR:
        return f"Its probabilities can be taken at their word: on average they are off by {before:.1%}."
    return (
        f"Its probabilities are off by {before:.1%} on average, and by {after:.1%} once corrected by a single number "
        "(the temperature)."
    )


def _lines(evaluation: Evaluation) -> Iterator[str]:
    width = max(14, *(len(section.name) + 2 for section in evaluation.sections))
    yield f"{'measured on':{width}}{'tiles':>8}{'accuracy':>11}{'balanced':>11}{'95 % interval':>18}{'floor':>9}"
    for section in evaluation.sections:
        yield _headline(section, width)
    for section in evaluation.sections:
        yield ""
        yield from _details(section, evaluation)
    if evaluation.folds:
        yield ""
        for fold in evaluation.folds:
            yield f"fold {fold.fold}, {fold.name}: {fold.tiles} tiles, balanced accuracy {fold.balanced_accuracy:.2%}"
        for spread in evaluation.spreads:
            yield (
                f"{spread.name}: balanced accuracy over the folds {spread.mean:.2%} on average, {spread.least:.2%} to "
                f"{spread.most:.2%}, standard deviation {100 * spread.standard_deviation:.2f} points"
            )
    for warning in evaluation.warnings:
        yield f"beware: {warning}"


def _headline(section: Section, width: int) -> str:
    measured = section.figures
    balanced = measured.balanced_accuracy
    interval = f"{balanced.least:.2%}–{balanced.most:.2%}"
    floor = "" if section.floor is None else f"{section.floor.balanced_accuracy.value:.2%}"
    shares = f"{measured.accuracy.value:11.2%}{balanced.value:11.2%}"
    return f"{section.name:{width}}{measured.tiles:8}{shares}{interval:>18}{floor:>9}".rstrip()


def _details(section: Section, evaluation: Evaluation) -> Iterator[str]:
    yield f"{section.name} ({section.how})"
    width = max(12, *(len(label) + 2 for label in evaluation.labels))
    yield f"  {'label':{width}}{'tiles':>8}{'precision':>11}{'recall':>11}{'F1':>9}   decided as {', '.join(evaluation.labels)}"
    for label, row in zip(section.figures.by_label, section.figures.confusion, strict=True):
        recall = None if label.recall is None else label.recall.value
        shares = f"{percent(label.precision):>11}{percent(recall):>11}{percent(label.f1):>9}"
        yield f"  {label.label:{width}}{label.tiles:8}{shares}   {', '.join(map(str, row))}"
    area = "–" if section.figures.roc_auc is None else f"{section.figures.roc_auc:.4f}"
    yield f"  ROC-AUC {area}, log loss {section.figures.log_loss:.4f}, Brier score {section.figures.brier:.4f}"
    if section.calibration is not None:
        fitted = section.calibration.fitted
        yield (
            f"  expected calibration error {fitted.before:.2%}, after temperature {fitted.after:.2%} "
            f"(temperature {fitted.temperature:.3f})"
        )
    if section.alert is not None:
        alert = section.alert
        alarms = "–" if alert.false_alarms_per_1000 is None else f"{alert.false_alarms_per_1000:.1f}"
        yield (
            f"  {evaluation.alert} from {alert.threshold:.6f}: recall {alert.recall.value:.2%} ({alert.recall.least:.2%}–"
            f"{alert.recall.most:.2%}), precision {alert.precision:.2%}, {alarms} false alarms per 1000"
        )
    for distance in section.distances:
        balanced = None if distance.balanced_accuracy is None else distance.balanced_accuracy.value
        yield (
            f"  {distance_name(distance)} from the nearest training tile: {distance.tiles} tiles, accuracy "
            f"{distance.accuracy.value:.2%}, balanced {percent(balanced)}"
        )


def percent(value: float | None) -> str:
    """As in "97.25%"; a dash for none."""
    return "–" if value is None else f"{value:.2%}"
