"""Lets the scenario run into every crash there is, and looks after each whether the journal has what it acknowledged.

A program of its own, because it forks and because faults.c must be loaded before it:
``LD_PRELOAD=faults.so python -m tests.edge.journal.crashes MODE FOLDER SHARE``. Prints what it saw as JSON.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from tests.edge.journal.disk import COUNTED, Call, Choice, Disk, Kind, read_trace, write_image
from tests.edge.journal.scenario import Player, check

# Of a call that fails: how often the next ones fail, too. The last is a disk that is full for a while.
FAILURES_IN_A_ROW = (1, 2, 25)


def main(mode: str, folder: Path, share: int) -> None:
    """Run one kind of crash; `share`: only each n-th of what there is, 1 for all."""
    crashes = Crashes(folder.resolve(), share)
    kinds: dict[str, Callable[[], None]] = {
        "kill": crashes.kill_at_every_call,
        "power": crashes.cut_the_power_everywhere,
        "errors": crashes.fail_every_call,
        "power on the first start": crashes.cut_the_power_on_the_first_start,
        "power without syncs": crashes.cut_the_power_without_syncs,
        "power after an error": crashes.cut_the_power_after_failed_syncs,
        "trace": crashes.rebuild_the_files,
    }
    kinds[mode]()
    print(json.dumps(crashes.seen))


class Crashes:
    """A folder, processes that play the scenario in it, and what was seen of their ends."""

    def __init__(self, folder: Path, share: int) -> None:
        self.seen: Counter[str] = Counter()
        self._share = share
        self._state = folder / "state"
        self._image = folder / "image"
        self._trace = folder / "trace"
        self._journal = Path("journal.db")
        self._library = ctypes.CDLL(os.environ["LD_PRELOAD"])
        # Nothing here need be synced in truth; this process itself meets no fault.
        self._library.faults_begin(os.fsencode(folder), None, 0, 0, 0, 0)

    def kill_at_every_call(self) -> None:
        """Kill the process before each call, and in the midst of a share of the writes."""
        calls = self._count()
        for torn in (False, True):
            for call in range(1, len(calls) + 1):
                if torn and (calls[call - 1] != Kind.WRITE or call % self._share):
                    continue
                ended, notes = self._play(call, torn=torn)
                assert ended == -signal.SIGKILL, ended
                self.seen["torn" if torn else "killed"] += 1
                self._check(self._state, notes, f"killed at call {call}, {torn=}", power_cut=False)

    def fail_every_call(self) -> None:
        """Let each call fail, for want of room or by a broken disk, alone and with those that follow it."""
        calls = self._count()
        for error in (errno.ENOSPC, errno.EIO):
            for count in FAILURES_IN_A_ROW:
                for call in range(1 + count % self._share, len(calls) + 1, self._share):
                    torn = error == errno.ENOSPC and call % 2 == 0
                    ended, notes = self._play(call, count=count, error=error, torn=torn)
                    what = f"{errno.errorcode[error]} at call {call} and {count - 1} after it, {torn=}"
                    assert ended == 0, f"{what}: ended with {ended}"
                    self.seen["failed"] += 1
                    self.seen["refused"] += any(note.startswith("refused") for note in notes)
                    self._check(self._state, notes, what, power_cut=False)

    def cut_the_power_everywhere(self) -> None:
        """Cut the power around each sync, and at a share of the other moments."""
        trace = self._trace_without_faults()
        self._cut_the_power(trace, [moment for moment in range(len(trace)) if self._is_taken(trace, moment)])

    def cut_the_power_on_the_first_start(self) -> None:
        """Cut the power after each of the first calls of a journal that has made its folder itself."""
        self._journal = Path("new", "journal.db")
        trace = self._trace_without_faults()
        self._cut_the_power(trace, range(0, len(trace) // 4, self._share))

    def cut_the_power_without_syncs(self) -> None:
        """Cut the power where, once the journal is open, no sync has any effect, which cannot end well."""
        trace = self._trace_without_faults()
        opened = next(index for index, call in enumerate(trace) if call.kind == Kind.NOTE)
        trace = [call for index, call in enumerate(trace) if index < opened or call.kind != Kind.SYNC]
        self._cut_the_power(trace, range(opened, len(trace)))

    def cut_the_power_after_failed_syncs(self) -> None:
        """Let each sync fail and cut the power after the next acknowledgements and at a share of the moments that follow."""
        syncs = [number for number, kind in enumerate(self._count(), 1) if kind == Kind.SYNC]
        for call in syncs:
            ended, _ = self._play(call, error=errno.EIO)
            assert ended == 0, ended
            trace = read_trace(self._trace)
            failed = next(index for index, each in enumerate(trace) if each.kind == Kind.FAILED_SYNC)
            after = range(failed, len(trace))
            acknowledged = [index for index in after if trace[index].payload.startswith(b"done")]
            some = random.Random(call).sample(after, -(-len(after) // self._share))
            self._cut_the_power(trace, {*acknowledged[:2], *some}, f"EIO at call {call}, ")

    def rebuild_the_files(self) -> None:
        """See that the trace is whole: with all that was written, the files are those that are there."""
        disk = Disk(str(self._state))
        for call in self._trace_without_faults():
            self.seen[call.kind.name] += 1
            disk.do(call)
        image = disk.image(lambda _: True, lambda _: True, torn=False)
        files = {str(file): file.read_bytes() for file in self._state.rglob("*") if file.is_file()}
        assert {path: content for path, content in image.items() if content is not None} == files

    def _cut_the_power(self, trace: Sequence[Call], moments: Collection[int], before: str = "") -> None:
        disk = Disk(str(self._state))
        notes: list[str] = []
        done: set[bytes] = set()
        for index, call in enumerate(trace):
            if call.kind == Kind.NOTE:
                notes.append(call.payload.decode())
            else:
                disk.do(call)
            if index not in moments:
                continue
            for name, image in _images(disk, random.Random(index)):
                # Most moments have little that is not synced, and so the same image many times.
                digest = hashlib.sha256(repr((len(notes), image)).encode()).digest()
                if digest in done:
                    continue
                done.add(digest)
                write_image(image, str(self._state), self._image)
                self.seen[name] += 1
                self._check(self._image, notes, f"{before}power cut after call {index} of the trace, {name}", power_cut=True)

    def _is_taken(self, trace: Sequence[Call], moment: int) -> bool:
        return moment % self._share == 0 or Kind.SYNC in {call.kind for call in trace[moment : moment + 2]}

    def _count(self) -> list[Kind]:
        """What is called when nothing fails."""
        return [call.kind for call in self._trace_without_faults() if call.kind in COUNTED]

    def _trace_without_faults(self) -> list[Call]:
        ended, _ = self._play()
        assert ended == 0, ended
        return read_trace(self._trace)

    def _play(self, call: int = 0, *, count: int = 1, error: int = 0, torn: bool = False) -> tuple[int, list[str]]:
        """Play the scenario in a folder of its own and a process of its own: how that ended, and its notes."""
        shutil.rmtree(self._state, ignore_errors=True)
        self._trace.unlink(missing_ok=True)
        self._state.mkdir()
        process = os.fork()
        if process == 0:
            try:
                self._library.faults_begin(os.fsencode(self._state), os.fsencode(self._trace), call, count, error, torn)
                Player(self._state / self._journal, lambda text: self._library.faults_note(text.encode())).play()
            except BaseException:  # noqa: BLE001 - the end of a process
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        return ended, [each.payload.decode() for each in read_trace(self._trace) if each.kind == Kind.NOTE]

    def _check(self, folder: Path, notes: Sequence[str], what: str, *, power_cut: bool) -> None:
        try:
            check(folder / self._journal, notes, power_cut=power_cut)
        except Exception as error:
            raise AssertionError(f"{what}: {error!r}; last: {notes[-1:]}") from error


def _images(disk: Disk, chance: random.Random) -> Iterator[tuple[str, dict[str, bytes | None]]]:
    """What a power cut may leave: nothing that was not synced, all of it, and what chance wills."""
    for names in (0, 1):
        for data in (0, 1):
            what = f"{'with' if names else 'without'} names, {'with' if data else 'without'} data"
            yield what, disk.image(_choose(chance, names), _choose(chance, data), torn=False)
    for torn in (False, True):
        for odds in (0.2, 0.5, 0.9):
            some = _choose(chance, odds)
            yield "torn" if torn else "some", disk.image(some, some, torn=torn)


def _choose(chance: random.Random, odds: float) -> Choice:
    return lambda _: chance.random() < odds


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
