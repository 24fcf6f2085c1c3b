"""The daemon's stages and how they are started and stopped.

    find ──▶ lanes, one for each core ──▶ record ──▶ uplink
             locate, decode, cut,         journal    publish,
             infer, triage                           acknowledge

The queues between the stages are bounded: a folder waits while the lanes are busy, the lanes while the journal is. Nothing
is held only in memory: a frame that is not in the journal when the process dies is found again.
"""

from __future__ import annotations

import gc
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge import __version__
from edge.c_library import give_memory_back
from edge.capture.directory import DirectorySource, FoundFile
from edge.capture.times import CaptureTimes
from edge.clock import Clock
from edge.config import Config
from edge.daemon.commands import Commands, kept_threshold
from edge.daemon.counters import Counters, Summary
from edge.daemon.ground_logs import GroundLogs
from edge.daemon.keeper import Keeper
from edge.daemon.lane import Found, Lane, Recorded
from edge.daemon.local_report import LocalReport
from edge.daemon.models import Models
from edge.daemon.pause import Pause
from edge.daemon.pictures import Pictures
from edge.daemon.recorder import Recorder
from edge.daemon.vitals import Vitals
from edge.health import Conditions, MachineWatch
from edge.inference.bound import is_at_work
from edge.inference.engine import BATCH, Mode
from edge.journal import Journal
from edge.machine import this_run
from edge.messages import Model, StatusMessage, rfc3339, utc_now
from edge.position import Locator
from edge.survey import Surveyor
from edge.text import printable
from edge.uplink import Uplink

if TYPE_CHECKING:
    from edge.metrics import MetricsServer

_log = logging.getLogger(__name__)

# Files that wait for a lane, and requests that wait for the journal.
_FOUND_MAX = 16 * BATCH
_RECORDED_MAX = 32
_LOOK_S = 0.2
_TIDY_S = 60.0
# A clock that is set must be noticed before a file of before is found.
_CLOCK_S = 1.0
# A stop takes two seconds at most; the uplink needs the rest to say goodbye.
_STOP_S = 0.8

Progress = Callable[[Counters], None]


class Daemon:
    """The stages of one device, from a folder to a broker.

    Attributes:
        unfinished: Whether, after `run`, a stage could not be ended in time. The process must then end at once.
    """

    def __init__(self, config: Config) -> None:
        """Open everything that the configuration names; nothing runs yet.

        Raises:
            ConfigError: A value of it cannot be used.
            BundleError: The bundle is missing or altered.
            JournalError: The journal cannot be opened, or another daemon has it.
            EngineError: No engine works.
        """
        self._config = config
        self._clock = Clock()
        self._conditions = Conditions(self._announce)
        self._locator = Locator.from_config(config.position, self._clock, self._tell_of_position)
        surveyor = Surveyor.from_config(config, self._locator)
        times = CaptureTimes(config.capture.name_time, self._clock.of_file)
        journal_path = Path(config.journal.path).absolute()
        self._stopping = threading.Event()
        self._running = False
        self.unfinished = False
        self._error: BaseException | None = None
        self._journal = Journal(journal_path, config.device, this_run())
        try:
            mode: Mode = "latency" if DirectorySource.live else "throughput"
            threshold = kept_threshold(self._journal)
            self._models = Models(config, journal_path.parent, mode, self._conditions, threshold)
            self._pause = Pause(self._conditions)
            self._pictures = Pictures(config.uplink.thumbnail_bytes)
            self._logs = GroundLogs(config.uplink.log_level, config.device)
            self._open_uplink()
        except BaseException:
            self._journal.close()
            raise
        self._source = DirectorySource(config.capture, self._journal.outcome_of, times)
        self._counters = Counters()
        self._found: Found = queue.Queue(_FOUND_MAX)
        self._recorded: Recorded = queue.Queue(_RECORDED_MAX)
        self._vitals = Vitals(
            config.device,
            machine=MachineWatch(journal_path.parent),
            counters=self._counters,
            journal=self._journal,
            uplink=self._uplink,
            queues=lambda: {"found": self._found.qsize(), "recorded": self._recorded.qsize()},
            locator=self._locator,
            sightings=self._models.service.sightings,
        )
        self._report = LocalReport(journal_path)
        self._keeper = Keeper(config.journal, self._journal, self._conditions)
        self._lanes = [
            Lane(
                source=self._source,
                service=self._models.service,
                surveyor=surveyor,
                pause=self._pause,
                pictures=self._pictures,
                found=self._found,
                recorded=self._recorded,
                stopping=self._stopping,
            )
            for _ in os.sched_getaffinity(0)
        ]
        self._recorder = Recorder(
            recorded=self._recorded,
            journal=self._journal,
            source=self._source,
            uplink=self._uplink,
            conditions=self._conditions,
            counters=self._counters,
            stopping=self._stopping,
            batch_s=config.journal.batch_s,
            sightings=self._models.service.sightings,
            pictures=self._pictures,
        )

    def _open_uplink(self) -> None:
        commands = Commands(
            self._config,
            self._journal,
            self._models.service,
            pause=self._pause,
            pictures=self._pictures,
            conditions=self._conditions,
        )
        self._uplink = commands.uplink = Uplink(
            self._config.uplink,
            self._config.device,
            self._journal,
            status=self.status,
            condition=lambda reason: self._conditions.set("uplink", reason),
            connected=self._conditions.announce,
            failed=self._fail,
            command=commands.carry_out,
            logs=self._logs if self._logs.is_wanted else None,
        )

    def run(self, *, once: bool = False, deliver_s: float = 30.0, progress: Progress | None = None) -> Summary:
        """Run until `stop` is called or, with `once`, until all that is there was worked off and delivered.

        Args:
            deliver_s: With `once`: how long the broker may go without accepting an alert.
            progress: Is called about five times a second.

        Raises:
            EngineError: No engine works any more.
        """
        if once:
            self._recorder.hurry()
        # What was loaded stays: the collector, which else goes through all of it again and again, took a tenth of the time.
        gc.freeze()
        find = self._thread("find", lambda: self._find(once=once))
        lanes = [self._thread("classify", lane.run) for lane in self._lanes]
        record = self._thread("record", self._recorder.run)
        health = self._thread("health", self._health)
        house = self._thread("house", self._keep_house)
        follow = self._thread("models", lambda: self._models.watch(self._stopping))
        self._running = True
        metrics = self._serve_metrics()
        self._uplink.start()
        self._locator.start()
        self._conditions.announce()
        for thread in (find, *lanes, record, health, house, follow):
            thread.start()
        try:
            self._wait([find, *lanes], progress)
            if once and not self._stopping.is_set():
                self._end_recording(record, None)
                self._deliver(deliver_s, progress)
        finally:
            self.stop()
            deadline = time.monotonic() + _STOP_S
            for thread in (find, *lanes, follow, house, health):
                thread.join(max(0.0, deadline - time.monotonic()))
            self._end_recording(record, deadline)
            self._running = False
            if metrics is not None:
                metrics.close()
            self._locator.close()
            self._uplink.stop()
            self._report.leave(msgspec.structs.replace(self.status(), state="offline", reasons=["stopped"]))
            self._logs.close()
            self._models.close()
            at_work = [thread for thread in (find, *lanes, record, house, health) if thread.is_alive()]
            if not at_work and not self._uplink.is_at_work:
                self._journal.close()
            self.unfinished = is_at_work() or any(thread.is_alive() for thread in (find, *lanes, record, house, follow))
        if self._error is not None:
            raise self._error
        engine = self._models.service.current.classifier.current
        return self._counters.summary(
            delivered=self._uplink.delivered,
            waiting=self._journal.alerts.waiting,
            engine="no engine" if engine is None else f"{engine.name} on {engine.device}",
        )

    @property
    def journal_id(self) -> str:
        """The id of the journal, which its alerts carry."""
        return self._journal.id

    def stop(self) -> None:
        """Stop soon, from any thread but no signal handler: frames in hand are finished, the rest is left for next time."""
        self._stopping.set()
        self._source.stop()

    def status(self) -> StatusMessage:
        """How the device is now."""
        reasons = self._conditions.reasons()
        serving = self._models.service.current
        model, engine = serving.bundle.model, serving.classifier.current
        return StatusMessage(
            device=self._config.device,
            state="degraded" if reasons else "online",
            reasons=reasons,
            version=__version__,
            at=rfc3339(utc_now()),
            bundle=Model(model.name, model.version, model.sha256),
            engine=None if engine is None else engine.name,
            on=None if engine is None else engine.device,
            last_install=self._models.last_install,
            threshold=serving.triage.threshold,
        )

    def _find(self, *, once: bool) -> None:
        for found in self._source.files(once=once):
            if self._counters.first_found is None:
                self._counters.first_found = time.monotonic()
            if not self._hand_on(found):
                return
        for _ in self._lanes:
            self._hand_on(None)

    def _hand_on(self, found: FoundFile | None) -> bool:
        """Wait for room before the lanes. False: the daemon stopped before there was."""
        while not self._stopping.is_set():
            try:
                self._found.put(found, timeout=_LOOK_S)
            except queue.Full:
                continue
            return True
        return False

    def _wait(self, threads: list[threading.Thread], progress: Progress | None) -> None:
        """Wait until everything was found and classified, or the daemon is to stop."""
        for thread in threads:
            while thread.is_alive() and not self._stopping.is_set():
                thread.join(_LOOK_S)
                if progress is not None:
                    progress(self._counters)

    def _end_recording(self, record: threading.Thread, deadline: float | None) -> None:
        """Let the recorder finish what the lanes gave it, in the time that is left."""
        while record.is_alive() and (deadline is None or time.monotonic() < deadline):
            try:
                self._recorded.put(None, timeout=_LOOK_S)
            except queue.Full:
                continue
            record.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
            return

    def _deliver(self, deliver_s: float, progress: Progress | None) -> None:
        """Wait until every alert is delivered, or the broker has taken none for too long."""
        self._uplink.hurry()
        waiting, changed = self._journal.alerts.waiting, time.monotonic()
        while self._journal.alerts.waiting and time.monotonic() - changed < deliver_s and not self._stopping.is_set():
            if self._journal.alerts.waiting != waiting:
                waiting, changed = self._journal.alerts.waiting, time.monotonic()
                self._counters.last_done = changed
            self._stopping.wait(0.01)
            if progress is not None:
                progress(self._counters)
        if not self._journal.alerts.waiting and self._counters.last_done is not None:
            self._counters.last_done = time.monotonic()

    def _health(self) -> None:
        while not self._stopping.wait(self._config.health.interval_s):
            message = self._vitals.measure()
            self._uplink.publish_health(message)
            self._report.refresh(self.status(), message)

    def _keep_house(self) -> None:
        self._keeper.say_what_was_lost()
        tidied_s = time.monotonic()
        while not self._stopping.wait(_CLOCK_S):
            self._clock.look()
            if time.monotonic() - tidied_s >= _TIDY_S:
                self._keeper.tidy()
                give_memory_back()
                tidied_s = time.monotonic()

    def _serve_metrics(self) -> MetricsServer | None:
        """
        Raises:
            ConfigError: The library is missing, or the port is taken.
        """
        port = self._config.health.prometheus_port
        if not port:
            return None
        from edge.metrics import Facts, serve_metrics

        def read() -> Facts:
            status = self.status()
            return Facts(self._vitals.look(), status.state, status.reasons)

        return serve_metrics(port, read)

    def _tell_of_position(self, source: str, reason: str | None) -> None:
        self._conditions.set(f"position {printable(source)}", reason)

    def _announce(self) -> None:
        """Tell the ground and leave for `overflight status` how the device is; nobody listens before it runs."""
        if self._running:
            self._uplink.announce()
            self._report.leave(self.status())

    def _thread(self, name: str, stage: Callable[[], None]) -> threading.Thread:
        """A stage's thread; an error in it, which is a defect or the end of the last engine, ends the daemon."""

        def guarded() -> None:
            try:
                stage()
            except Exception as error:  # noqa: BLE001 - it is raised again by run
                self._fail(error)

        return threading.Thread(target=guarded, name=name, daemon=True)

    def _fail(self, error: BaseException) -> None:
        _log.critical("%s: %s", threading.current_thread().name, error)
        if self._error is None:
            self._error = error
        self.stop()
