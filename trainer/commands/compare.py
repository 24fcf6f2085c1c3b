"""``overflight-train compare``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.commands.arguments import SPLIT_OPTIONS, add_data, positive, positive_number, split_rule_beside

if TYPE_CHECKING:
    from trainer.compare.measure import Plan, Watch
    from trainer.compare.subjects import Row

SUMMARY = "measure a network in every runtime: time, memory, accuracy"
DESCRIPTION = (
    "Run exports in Keras, TensorFlow, LiteRT, OpenVINO (FP32, FP16, INT8) and ONNX Runtime on the same images, each in a "
    "process of its own and all in turns: latency of one image, images per second, memory, accuracy, and time against number "
    "of samples."
)
TENSORFLOW = False
EXAMPLE = "overflight-train compare exports/photos exports/seed-cnn --out comparison"

_ENGINES = ("keras", "savedmodel", "litert", "openvino-fp32", "openvino-fp16", "openvino-int8", "onnxruntime")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """As in `Command`."""
    parser.add_argument("exports", type=Path, nargs="+", metavar="EXPORT", help="folder that export wrote")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write tables and charts there; an old one is replaced")
    parser.add_argument(
        "--engines", type=_engines, default=_ENGINES, metavar="A,B", help=f"which to measure (default {','.join(_ENGINES)})"
    )
    parser.add_argument(
        "--base", metavar="NAME ENGINE", help='what ratios refer to, as in "seed-cnn openvino-fp32" (default: the first engine)'
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="of each engine (default: one for each core)")
    parser.add_argument(
        "--limit-s", type=positive_number, default=600.0, metavar="S", help="longest that one answer may take (default 600)"
    )
    group = parser.add_argument_group("how much is measured")
    group.add_argument("--runs", type=positive, default=5, metavar="N", help="rounds (default 5)")
    group.add_argument(
        "--images", type=positive, default=1024, metavar="N", help="that images per second are measured with (default 1024)"
    )
    group.add_argument(
        "--samples",
        type=_samples,
        default=_samples("268:7772:268"),
        metavar="FIRST:LAST:STEP",
        help="numbers of samples that time is measured against (default 268:7772:268)",
    )
    group.add_argument("--curve-runs", type=_whole, default=1, metavar="N", help="rounds of those (default 1; 0: none)")
    add_data(parser, required=False)
    # None: what the first export learned by.
    parser.set_defaults(**dict.fromkeys(SPLIT_OPTIONS))


def run(options: argparse.Namespace) -> int:
    """As in `Command`."""
    from trainer.compare.compare import compare, read_parts, unlike
    from trainer.compare.markdown import tables
    from trainer.compare.measure import Plan
    from trainer.compare.report import check_target, write_report
    from trainer.compare.subjects import CompareError, base_of, open_subjects, rows_of
    from trainer.datasets import SplitRule

    cores = len(os.sched_getaffinity(0))
    threads = options.threads or cores
    if threads > cores:
        raise CompareError(f"--threads {threads}: expected no more than the {cores} cores that this process may run on")
    if options.out is not None:
        check_target(options.out)
    subjects = open_subjects(options.exports)
    rows = rows_of(subjects, options.engines)
    base = base_of(rows, options.base)
    rule = split_rule_beside(options, subjects[0].split or SplitRule())
    parts = read_parts(subjects[0], options.data, rule)
    for warning in unlike(subjects, parts, rule):
        print(f"warning: {warning}", file=sys.stderr)
    plan = Plan(options.runs, options.curve_runs, options.samples, threads, options.limit_s, options.images)
    with _progress(rows, plan) as watch:
        comparison = compare(rows, base, parts, plan, watch=watch, command=options.command_line)
    print(tables(comparison), end="")
    if options.out is not None:
        write_report(comparison, options.out)
        print(f"\n{options.out}: written")
    return 0 if any(not one.failed for one in comparison.measured) else 1


@contextmanager
def _progress(rows: list[Row], plan: Plan) -> Iterator[Watch]:
    """A bar on a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield lambda what, row: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=plan.turns * sum(row.model is not None for row in rows))

        def watch(what: str, row: Row) -> None:
            bar.update(task, advance=1, description=f"{what}: {row.label}")

        yield watch


def _engines(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in _ENGINES:
            raise argparse.ArgumentTypeError(f"no engine {name!r}, expected some of {','.join(_ENGINES)}")
    return names


def _samples(text: str) -> tuple[int, ...]:
    """``FIRST:LAST:STEP``, all of them from 1; LAST is one of the numbers where the steps lead to it."""
    numbers = [positive(number) for number in text.split(":")]
    if len(numbers) != 3 or numbers[0] > numbers[1]:
        raise argparse.ArgumentTypeError(f"expected FIRST:LAST:STEP as in 268:7772:268, got {text!r}")
    first, last, step = numbers
    return tuple(range(first, last + 1, step))


def _whole(text: str) -> int:
    return 0 if text == "0" else positive(text)
