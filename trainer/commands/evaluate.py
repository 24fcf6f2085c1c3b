"""``overflight-train evaluate``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.commands.arguments import (
    SPLIT_OPTIONS,
    add_data,
    asked_split,
    positive_number,
    share,
    split_rule_beside,
    tell_what_was_left_out,
)

if TYPE_CHECKING:
    from trainer.datasets import SplitRule
    from trainer.evaluate.measure import Progress
    from trainer.evaluate.subject import Subject

SUMMARY = "measure a network and report it"
DESCRIPTION = (
    "Measure a run, a cross-validation, an export or a bundle on tiles that it did not learn from. Data and split are those "
    "that it learned from and by, as far as it knows them and nothing else is asked for. --out writes a report to read."
)
TENSORFLOW = True
EXAMPLE = "overflight-train evaluate runs/photos --out reports/photos"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """As in `Command`."""
    parser.add_argument("subject", type=Path, metavar="SUBJECT", help="run folder, cross-validation, export or bundle")
    add_data(parser, required=False)
    # None: what the subject learned by.
    parser.set_defaults(**dict.fromkeys(SPLIT_OPTIONS))
    parser.add_argument(
        "--errors-block-m",
        type=positive_number,
        metavar="METRES",
        help="side of the blocks to count errors in (default: of the split)",
    )
    parser.add_argument("--all", action="store_true", help="measure on all tiles of the data, also what is not held out")
    parser.add_argument("--precision", choices=("fp32", "fp16", "int8"), help="of an export or a bundle (default: the fastest)")
    parser.add_argument(
        "--alert", metavar="LABEL", help='label to alert of (default "damaged" if there is one, else the first)'
    )
    parser.add_argument(
        "--recall", type=share, default=0.98, metavar="R", help="share to find of the tiles of that label (default 0.98)"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder to write metrics, predictions and report.html to")
    parser.add_argument("--no-pictures", action="store_true", help="no tile in the report, for data not to be published")
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")


def run(options: argparse.Namespace) -> int:
    """As in `Command`."""
    from trainer.datasets import read_all
    from trainer.evaluate.checks import EvaluateError
    from trainer.evaluate.evaluate import alert_label, evaluate
    from trainer.evaluate.measure import measure
    from trainer.evaluate.report import REPORT, check_target, metrics, write_report
    from trainer.evaluate.subject import open_subject, used_precision
    from trainer.evaluate.summary import summary, table

    if options.out is not None:
        check_target(options.out)
    subject = open_subject(options.subject)
    alert = alert_label(subject.labels, options.alert)
    precision = used_precision(subject, options.precision)
    rule = _rule(options, subject)
    arguments = options.data or subject.data
    if not arguments:
        raise EvaluateError(f"{options.subject}: does not say what it learned from, so --data is required")
    datasets = read_all(arguments, subject.labels)
    for dataset in datasets:
        tell_what_was_left_out(dataset)
    with _progress() as progress:
        measured = measure(subject, datasets, None if options.all else rule, options.precision, progress)
    evaluation = evaluate(
        subject,
        measured,
        datasets,
        rule=None if options.all else rule,
        block_m=options.errors_block_m or rule.block_m,
        alert=alert,
        recall=options.recall,
        precision=precision,
    )
    if options.out is not None:
        write_report(options.out, evaluation, measured, pictures=not options.no_pictures, command=options.command_line)
    if options.json:
        print(json.dumps(metrics(evaluation), indent=2))
    elif options.out is None:
        print(table(evaluation))
    else:
        print(f"{options.out / REPORT}: {summary(evaluation)}")
    return 0


def _rule(options: argparse.Namespace, subject: Subject) -> SplitRule:
    """The split that is asked for, where nothing is the one that the subject learned by.

    Raises:
        EvaluateError: A cross-validation is asked for another split than its folds', or for none.
        DatasetError: There are not so many folds.
    """
    from trainer.datasets import SplitRule
    from trainer.evaluate.checks import EvaluateError

    asked = asked_split(options)
    if asked and subject.kind == "cross-validation":
        raise EvaluateError(f"--{asked[0].replace('_', '-')}: {options.subject} is measured by its own folds; leave it out")
    if options.all and subject.kind == "cross-validation":
        raise EvaluateError(
            f"--all: each fold of {options.subject} would be asked about all tiles; name one fold-… folder instead"
        )
    return split_rule_beside(options, subject.folds[0].rule or SplitRule())


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on a terminal, nothing in a pipe."""
    from trainer.evaluate.measure import no_progress

    if not sys.stderr.isatty():
        yield no_progress
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("measuring")
        yield lambda what, done, of: bar.update(task, description=what, completed=done, total=of)
