"""Kills processes in the midst of changing a store, and looks each time whether what serves is what should.

A program of its own, because it forks: ``python -m tests.edge.bundle.killed MODE FOLDER COUNT``. Prints what it saw as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edge.bundle import Bundle, BundleError, Installed, SelfTestError, Store
from tests.edge.bundle.bundles import TRUST, write_bundle

# What a change of the store asks the system for. Between two of them nothing on the disk changes.
_STEPS = frozenset(
    {"open", "os.rename", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "os.utime", "os.chmod", "os.listdir"}
)


def main(mode: str, folder: Path, count: int) -> None:
    """Kill `count` times at random moments, or, at every step, as often as there are steps."""
    killer = Killer(folder)
    seen = killer.at_random(count) if mode == "random" else killer.at_every_step()
    print(json.dumps(seen))


@dataclass(frozen=True)
class Change:
    """A change of a store.

    Attributes:
        target: Which bundle is to be active afterwards.
    """

    target: Callable[[Store], Path | None]
    make: Callable[[Store], object]


def install(source: Path) -> Change:
    """Install and activate a bundle."""

    def make(store: Store) -> None:
        store.install(source, TRUST, lambda bundle: bundle.read("ir/model.bin"), allow_downgrade=True)

    return Change(lambda store: Installed.place(store.root / "bundles", Bundle.open(source, TRUST).model).path, make)


def install_bad(source: Path) -> Change:
    """Install a bundle that fails its self-test."""

    def fails(bundle: Bundle) -> None:
        raise SelfTestError("blind")

    return Change(Store.active, lambda store: store.install(source, TRUST, fails))


def activate(index: int) -> Change:
    """Activate one of the bundles that are installed."""

    def place(store: Store) -> Path:
        return store.list()[index % len(store.list())].path

    return Change(place, lambda store: store.activate(place(store).name, TRUST))


def withdraw(folder: Path) -> Change:
    """Let a bundle that fails in flight serve no more."""

    def other(store: Store) -> Path | None:
        return store.previous() if store.active() == folder else store.active()

    return Change(other, lambda store: store.withdraw(folder, "blind"))


ROLLBACK = Change(Store.previous, lambda store: store.rollback(TRUST))


class Killer:
    """A store, changes that can be made to it, and the processes that make them."""

    def __init__(self, folder: Path) -> None:
        self._store = Store(folder / "store")
        self._log = folder / "log"
        self._installs = [install(write_bundle(folder / f"town-{version}", version=version)) for version in range(1, 7)]
        self._bad = install_bad(write_bundle(folder / "bad", version=9))
        self._seen: Counter[str] = Counter()
        for change in self._installs[:2]:
            change.make(self._store)

    def at_random(self, count: int) -> dict[str, int]:
        """Let a process change the store without end, and kill it at some moment; again and again."""
        chance = random.Random(4)
        for seed in range(count):
            process = self._fork(partial(self._change_for_ever, random.Random(seed)))
            time.sleep(chance.uniform(0.0, 0.02))
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            self._look()
        self._go_on()
        return self._seen

    def at_every_step(self) -> dict[str, int]:
        """Kill each change before its first step, its second, and so on until it comes to its end."""
        for change in (*self._installs[2:5], self._installs[0], ROLLBACK, activate(0), activate(1), self._bad, ROLLBACK):
            self._kill_at_every_step(change)
        self._installs[5].make(self._store)
        self._kill_at_every_step(withdraw(self._store.active() or Path()), may_be_refused=True)
        self._installs.pop()
        self._go_on()
        return self._seen

    def _kill_at_every_step(self, change: Change, *, may_be_refused: bool = False) -> None:
        ended, step = -signal.SIGKILL, 0
        while ended != 0:
            step += 1
            process = self._fork(partial(self._killed_at, step, change))
            ended = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            assert ended in (0, -signal.SIGKILL), ended
            self._look(may_be_refused=may_be_refused)

    def _fork(self, work: Callable[[], None]) -> int:
        process = os.fork()
        if process == 0:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - the end of a process
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        return process

    def _killed_at(self, step: int, change: Change) -> None:
        left = step

        def count(event: str, arguments: object) -> None:
            nonlocal left
            if event in _STEPS:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        self._announce(change)
        sys.addaudithook(count)
        self._make(change)

    def _change_for_ever(self, chance: random.Random) -> None:
        while True:
            change = chance.choice([*self._installs, ROLLBACK, activate(chance.randrange(3)), self._bad])
            self._announce(change)
            self._make(change)

    def _make(self, change: Change) -> None:
        try:
            change.make(self._store)
        except BundleError as error:
            # Nothing to go back to, or known to fail: those leave all as it was.
            assert any(known in str(error) for known in ("no previous", "blind")), error

    def _announce(self, change: Change) -> None:
        """Leave which bundle is active now, and which one is to be; written at once, or not at all."""
        descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, f"{self._store.active()} {change.target(self._store)}\n".encode())
        os.close(descriptor)

    def _look(self, *, may_be_refused: bool = False) -> None:
        """See that what serves is whole, and the bundle that was active before the change or is after it."""
        self._seen["killed"] += 1
        self._seen["half done"] += any(name.startswith("incoming-") for name in os.listdir(self._store.root))
        bundle, reasons = self._store.open_active(TRUST)
        assert bundle is not None, reasons
        assert reasons == () or may_be_refused, reasons
        assert bundle.read("ir/model.bin")
        for each in self._store.list():
            assert Bundle.open(each.path, TRUST).model.version == each.version
        if self._log.exists():
            before, after = self._log.read_text().splitlines()[-1].split()
            assert str(bundle.path) in (before, after), f"{bundle.path} serves, neither {before} nor {after}"
            if before != after:
                self._seen["before" if str(bundle.path) == before else "after"] += 1

    def _go_on(self) -> None:
        """After all that the store works, and is clean."""
        for change in (*self._installs[1:], *self._installs[1:]):
            change.make(self._store)
        self._store.rollback(TRUST)
        bundle, reasons = self._store.open_active(TRUST)
        assert bundle is not None
        assert (bundle.model.version, reasons, len(self._store.list())) == (len(self._installs) - 1, (), 3)
        assert not any(name.startswith("incoming-") for name in os.listdir(self._store.root))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
