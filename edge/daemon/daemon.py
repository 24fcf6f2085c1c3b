"""The daemon's stages and how they are started and stopped.

    find ──▶ lanes, one for each core ──▶ record ──▶ uplink
             decode, locate, infer        triage,    publish,
                                          journal    acknowledge

The queues between the stages are bounded: a folder waits while the lanes are busy, the lanes while the journal is. Nothing
is held only in memory: a frame that is not in the journal when the process dies is found again.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import msgspec

from edge import __version__
from edge.capture.directory import DirectorySource, FoundFile
from edge.config import Config
from edge.daemon.counters import Counters, Summary
from edge.daemon.lane import Found, Lane, Recorded
from edge.daemon.models import Models
from edge.daemon.recorder import Recorder
from edge.health import Conditions, MachineWatch
from edge.inference.bound import is_at_work
from edge.inference.engine import BATCH, Mode
from edge.journal import Journal
from edge.messages import HealthMessage, Model, StatusMessage, rfc3339, utc_now
from edge.position import Locator
from edge.uplink import Uplink

_log = logging.getLogger(__name__)

# Files that wait for a lane, and requests that wait for the journal.
_FOUND_MAX = 16 * BATCH
_RECORDED_MAX = 32
_LOOK_S = 0.2
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
        locator = Locator.from_config(config.position.sources)
        journal_path = Path(config.journal.path).absolute()
        self._status_path = status_path(journal_path)
        self._stopping = threading.Event()
        self._running = False
        self.unfinished = False
        self._error: BaseException | None = None
        self._journal = Journal(journal_path, config.device)
        try:
            self._conditions = Conditions(self._announce)
            self._uplink = Uplink(config.uplink, config.device, self._journal, self.status, self._condition("uplink"))
            mode: Mode = "latency" if DirectorySource.live else "throughput"
            self._models = Models(config, journal_path.parent, mode, self._conditions)
        except BaseException:
            self._journal.close()
            raise
        self._source = DirectorySource(config.capture, self._journal.outcome_of)
        self._machine = MachineWatch(journal_path.parent)
        self._counters = Counters()
        self._found: Found = queue.Queue(_FOUND_MAX)
        self._recorded: Recorded = queue.Queue(_RECORDED_MAX)
        self._lanes = [
            Lane(
                source=self._source,
                service=self._models.service,
                locator=locator,
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
        )

    def run(self, *, once: bool = False, deliver_s: float = 30.0, progress: Progress | None = None) -> Summary:
        """Run until `stop` is called or, with `once`, until all that is there was worked off and delivered.

        Args:
            deliver_s: With `once`: how long the broker may go without accepting an alert.
            progress: Is called about five times a second.

        Raises:
            EngineError: No engine works any more.
        """
        find = self._thread("find", lambda: self._find(once=once))
        lanes = [self._thread("classify", lane.run) for lane in self._lanes]
        record = self._thread("record", self._recorder.run)
        health = self._thread("health", self._health)
        follow = self._thread("models", lambda: self._models.watch(self._stopping))
        self._running = True
        self._save_status(self.status())
        self._uplink.start(self._fail)
        for thread in (find, *lanes, record, health, follow):
            thread.start()
        try:
            self._wait([find, *lanes], progress)
            if once and not self._stopping.is_set():
                self._end_recording(record, None)
                self._deliver(deliver_s, progress)
        finally:
            self.stop()
            deadline = time.monotonic() + _STOP_S
            for thread in (find, *lanes, follow):
                thread.join(max(0.0, deadline - time.monotonic()))
            self._end_recording(record, deadline)
            self._uplink.stop()
            self._save_status(msgspec.structs.replace(self.status(), state="offline", reasons=["stopped"]))
            self._models.close()
            if not any(thread.is_alive() for thread in (find, *lanes, record)):
                self._journal.close()
            self.unfinished = is_at_work() or any(thread.is_alive() for thread in (find, *lanes, record, follow))
        if self._error is not None:
            raise self._error
        engine = self._models.service.current.classifier.current
        return self._counters.summary(
            delivered=self._uplink.delivered,
            waiting=self._journal.waiting,
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
        waiting, changed = self._journal.waiting, time.monotonic()
        while self._journal.waiting and time.monotonic() - changed < deliver_s and not self._stopping.is_set():
            if self._journal.waiting != waiting:
                waiting, changed = self._journal.waiting, time.monotonic()
                self._counters.last_done = changed
            self._stopping.wait(0.01)
            if progress is not None:
                progress(self._counters)
        if not self._journal.waiting and self._counters.last_done is not None:
            self._counters.last_done = time.monotonic()

    def _health(self) -> None:
        frames, looked = 0, time.monotonic()
        while not self._stopping.wait(self._config.health.interval_s):
            now, counters = time.monotonic(), self._counters
            rate = (counters.frames - frames) / (now - looked)
            frames, looked = counters.frames, now
            message = HealthMessage(
                device=self._config.device,
                at=rfc3339(utc_now()),
                **asdict(self._machine.look()),
                frames=counters.frames,
                rejected=counters.rejected_count,
                alerts=counters.alerts,
                alerts_waiting=self._journal.waiting,
                frames_per_s=round(rate, 2),
                queues={"found": self._found.qsize(), "recorded": self._recorded.qsize()},
                fix=counters.last_fix,
            )
            self._uplink.publish_health(message)

    def _condition(self, room: str) -> Callable[[str | None], None]:
        return lambda reason: self._conditions.set(room, reason)

    def _announce(self) -> None:
        """Tell the ground and leave for `overflight status` how the device is; nobody listens before it runs."""
        if self._running:
            self._uplink.announce()
            self._save_status(self.status())

    def _save_status(self, status: StatusMessage) -> None:
        temporary = self._status_path.with_suffix(".new")
        try:
            temporary.write_bytes(msgspec.json.encode(status))
            os.replace(temporary, self._status_path)
        except OSError as error:
            # On a full disk the old one stays; the journal is what counts.
            _log.warning("%s: cannot be written: %s", self._status_path, error.strerror)

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


def status_path(journal: Path) -> Path:
    """Where the daemon of a journal leaves its status."""
    return journal.with_name(journal.name + ".status.json")
