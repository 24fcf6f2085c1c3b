"""The ``overflight`` command.

It exits with 0, with 2 for a mistake of the caller's, or with 1 for a failure; an error is one line on standard error, and
a traceback is shown only with ``--debug``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec

from edge import __version__
from edge.arguments import ArgumentParser, UsageError, add_command
from edge.c_library import keep_memory_small
from edge.commands_journal import add_journal_commands
from edge.commands_model import add_model_commands
from edge.config import DEFAULT_PATH, Config, ConfigError, describe, load
from edge.logs import LEVELS, set_up_logging

if TYPE_CHECKING:
    from edge.daemon import Counters, Daemon, Summary

_log = logging.getLogger(__name__)

_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
_ROOM_RETRY_S = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = _parser().parse_args(arguments)
    set_up_logging(LEVELS["debug" if options.debug else options.log_level])
    status = _carry_out(options)
    runtimes = sys.modules.get("edge.inference.bound")
    if runtimes is not None and runtimes.is_at_work():
        _end_at_once(status)
    return status


def _carry_out(options: argparse.Namespace) -> int:
    try:
        return int(options.run(options))
    except (ConfigError, UsageError) as error:
        return _failed(options, error, 2)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 1
    except Exception as error:  # noqa: BLE001 - shown in one line; with --debug it is raised
        return _failed(options, error, 1)


def _failed(options: argparse.Namespace, error: Exception, status: int) -> int:
    if options.debug:
        raise error
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ConfigError) and error.origin is None:
        text = f"{options.config or DEFAULT_PATH}: {text}"
    known = type(error).__module__.startswith("edge.")
    print(
        f"overflight: {text}" if known else f"overflight: {type(error).__name__}: {text} (--debug shows where)", file=sys.stderr
    )
    return status


def _run(options: argparse.Namespace) -> int:
    # A handler would run in the midst of the main thread's waiting and could wait for a lock that it holds itself: so a
    # thread waits for the signals, which are blocked in all others, those of the runtimes too.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    # Before the first thread asks for memory.
    keep_memory_small()
    config = load(options.config)
    if options.once and not Path(config.capture.source).is_dir():
        raise ConfigError(f"capture.source: {config.capture.source}: no such folder; only the daemon waits for one")
    daemon = _open_daemon(config, wait=not options.once)
    threading.Thread(target=_stop_on_signal, args=(daemon,), daemon=True).start()
    progress = _show_progress if options.once and sys.stderr.isatty() else None
    summary = daemon.run(once=options.once, deliver_s=options.deliver_timeout, progress=progress)
    status = _report_run(options, summary, shown_progress=progress is not None)
    if daemon.unfinished:
        _end_at_once(status)
    return status


def _end_at_once(status: int) -> NoReturn:
    """End the process, though a decoder is in the midst of a large image, or a runtime hangs.

    They cannot be stopped; at the interpreter's end they would crash, or be waited for.
    """
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)


def _report_run(options: argparse.Namespace, summary: Summary, *, shown_progress: bool) -> int:
    """Print what a run did; returns the exit status."""
    if shown_progress:
        print(file=sys.stderr)
    if options.json:
        print(json.dumps(asdict(summary)))
    elif options.once:
        print("\n".join(summary_lines(summary)))
    if options.once and summary.waiting:
        print(f"overflight: {summary.waiting} alerts wait in the journal for the broker", file=sys.stderr)
        return 1
    return 0


def _open_daemon(config: Config, *, wait: bool) -> Daemon:
    """Open the daemon; where there is no room for its journal, say so once and wait for room."""
    from edge.daemon import Daemon
    from edge.journal import JournalFullError

    said = False
    while True:
        try:
            return Daemon(config)
        except JournalFullError as error:
            if not wait:
                raise
            if not said:
                _log.error("%s: waiting for room", error)
                said = True
        if signal.sigtimedwait(_STOP_SIGNALS, _ROOM_RETRY_S) is not None:
            raise KeyboardInterrupt


def _stop_on_signal(daemon: Daemon) -> None:
    while True:
        signal.sigwait(_STOP_SIGNALS)
        daemon.stop()


def _show_progress(counters: Counters) -> None:
    print(f"\r{counters.frames} frames, {counters.alerts} alerts, {counters.rejected_count} rejected ", end="", file=sys.stderr)


def summary_lines(summary: Summary) -> list[str]:
    """A run's summary for people."""
    start = "" if summary.first_result_s is None else f", the first one {summary.first_result_s:.2f} s after the start"
    lines = [
        f"frames      {summary.frames} classified by {summary.engine}{start}",
        f"alerts      {summary.alerts} new; {summary.delivered} delivered, {summary.waiting} waiting",
        f"speed       {summary.frames_per_s:.0f} frames/s in {summary.work_s:.2f} s,"
        f" memory at most {summary.process_memory_peak_bytes / 1e6:.0f} MB",
    ]
    return lines + rejected_lines(summary)


def rejected_lines(summary: Summary) -> list[str]:
    """What was not as it should be with the frames of a run."""
    lines = []
    if summary.without_position:
        lines.append(f"position    unknown for {summary.without_position} frames")
    if summary.vanished:
        lines.append(f"vanished    {summary.vanished} files before they were read")
    if summary.rejected_count:
        lines.append(f"rejected    {summary.rejected_count}")
        lines += [f"            {name}: {reason}" for name, reason in summary.rejected.items()]
        if summary.rejected_count > len(summary.rejected):
            lines.append(f"            and {summary.rejected_count - len(summary.rejected)} more, in the journal")
    return lines


def _classify(options: argparse.Namespace) -> int:
    from edge.bundle import Bundle
    from edge.capture.times import CaptureTimes
    from edge.classify import classify_images, find_images, observation_line
    from edge.inference import Classifier
    from edge.messages import encode, observation_message
    from edge.model import devices_of, open_serving, trust_of
    from edge.position import Locator
    from edge.survey import Surveyor

    config = load(options.config)
    for path in options.paths:
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder")
    _check_position(options)
    sources = options.position or config.position.sources
    locator = Locator.from_config(msgspec.structs.replace(config.position, sources=sources))
    surveyor = Surveyor.from_config(config, locator)
    times = CaptureTimes(config.capture.name_time)
    if options.bundle is not None:
        bundle = Bundle.open(options.bundle, trust_of(config.model))
    else:
        bundle, reasons = open_serving(config.model)
        for reason in reasons:
            _log.warning("%s", reason)
    classifier = Classifier(bundle, devices_of(config.model))
    failed, separator = 0, ""
    if options.json:
        print('{"type":"FeatureCollection","features":[', end="")
    for item in classify_images(find_images(options.paths), classifier, surveyor, config.capture, times):
        if isinstance(item, tuple):
            failed += 1
            print(f"overflight: {item[0]!a}: {item[1]}", file=sys.stderr)
        elif options.json:
            print(separator + encode(observation_message(item)).decode(), end="")
            separator = ",\n"
        else:
            print(observation_line(item))
    if options.json:
        print("]}")
    return 1 if failed else 0


def _demo(options: argparse.Namespace) -> int:
    from edge.demo.demo import run_demo

    _check_position(options)
    return run_demo(load(options.config) if options.config else None, options.images, options.position, options.keep)


def _watch(options: argparse.Namespace) -> int:
    from edge.messages import encode
    from edge.watch import AlertFeed, alert_line

    config = load(options.config)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shown = 0
    try:
        with AlertFeed(config.uplink) as feed:
            print(f"following {config.uplink.url}; Ctrl-C ends", file=sys.stderr)
            for alert in feed.alerts(options.timeout):
                print(encode(alert).decode() if options.json else alert_line(alert), flush=True)
                shown += 1
                if shown == options.count:
                    return 0
    except KeyboardInterrupt:
        return 0
    return 0 if options.count is None else 1


def _config(options: argparse.Namespace) -> int:
    print(describe(Config() if options.default else load(options.config)), end="")
    return 0


def _status(options: argparse.Namespace) -> int:
    from edge.status import look, status_lines

    status = look(load(options.config))
    print(json.dumps(status.facts()) if options.json else "\n".join(status_lines(status)))
    return 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="overflight",
        description="Sees from the air where the ground is damaged, and tells the ground station.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"overflight {__version__}")
    parser.set_defaults(log_level="warning")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = partial(add_command, commands)
    run = command("run", _run, "classify what arrives and publish alerts", "overflight run -c overflight.yaml")
    run.set_defaults(log_level="info")
    run.add_argument("--once", action="store_true", help="work off what is there, deliver it, print a summary and exit")
    run.add_argument("--json", action="store_true", help="the summary as JSON")
    run.add_argument(
        "--deliver-timeout", type=_seconds, default=30.0, metavar="S", help="with --once: wait so long for a silent broker (30)"
    )

    classify = command("classify", _classify, "classify images or folders, no broker needed", "overflight classify photos/")
    classify.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="image or folder")
    classify.add_argument("--bundle", type=Path, metavar="PATH", help="by this bundle instead of the one that serves")
    classify.add_argument("--json", action="store_true", help="a GeoJSON FeatureCollection")
    _add_position(classify)

    demo = command("demo", _demo, "the whole system on this machine, nothing to configure", "overflight demo")
    demo.add_argument("--images", type=Path, metavar="FOLDER", help="fly over these images instead of a rendered town")
    demo.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the rendered flight and the journal there")
    _add_position(demo)

    watch = command("watch", _watch, "follow the alerts of a broker in the terminal", "overflight watch -c overflight.yaml")
    watch.add_argument("--json", action="store_true", help="one GeoJSON Feature a line")
    watch.add_argument("--count", type=_count, metavar="N", help="exit after N alerts")
    watch.add_argument(
        "--timeout", type=_seconds, metavar="S", help="exit when none came for so long; with --count: with status 1"
    )

    config = command("config", _config, "print the configuration as it is in force, every key explained", "overflight config")
    config.add_argument("--default", action="store_true", help="the defaults: a file to start from")

    status = command("status", _status, "say how the daemon of this machine is", "overflight status")
    status.add_argument("--json", action="store_true", help="as JSON")
    add_model_commands(commands)
    add_journal_commands(commands)
    return parser


def _add_position(command: ArgumentParser) -> None:
    command.add_argument(
        "--position",
        action="append",
        metavar="SOURCE",
        help="where the position comes from, as in position.sources; may be repeated",
    )


def _check_position(options: argparse.Namespace) -> None:
    from edge.position import check_sources

    try:
        check_sources(options.position or [])
    except ConfigError as error:
        raise UsageError(f"--position: {str(error).partition(': ')[2]}") from error


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"expected seconds, got {text!r}")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)
