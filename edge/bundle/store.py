"""The bundles of a device: what is installed, which one is active, and which one was before it.

    bundles/terrain-damage-3-0123456789ab/   name, version and the start of the manifest's SHA-256
    active, previous                         links into bundles/, replaced atomically
    refused/<SHA-256 of a manifest>          why a bundle that failed is not tried again
    trials/<SHA-256 of a manifest>           whether a bundle has proved itself in service
    incoming-*                               half of something; cleared by whoever writes next

Whoever writes holds the lock of the folder; readers need none. A bundle becomes visible under its name only after it was
copied, verified, on the disk and tested; whatever ends a process at whatever moment leaves the bundle active that was active
before or after.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge.bundle.bundle import EXPECTED, SHIPPED, Bundle, open_bundle
from edge.bundle.copy import check_room, copy_bundle
from edge.bundle.durable import give_to_owner, make_folder, remove, replace_file, replace_link, sync_folder
from edge.bundle.header import Header, read_header
from edge.bundle.installed import Installed
from edge.bundle.limits import KEPT_BUNDLES, LOCK_S, MAX_RESULT_BYTES
from edge.bundle.lock import locked
from edge.bundle.manifest import BundleError
from edge.bundle.refusals import Refusals
from edge.bundle.selftest import SelfTestError
from edge.bundle.trials import Trials
from edge.bundle.trust import ANYONE, Trust
from edge.records import ModelName
from edge.text import one_line

_BUNDLES, _REFUSED, _TRIALS = "bundles", "refused", "trials"
_ACTIVE, _PREVIOUS = "active", "previous"
_INCOMING = "incoming-"
LAST_INSTALL = "last-install.json"

SelfTest = Callable[[Bundle], object]
"""Tests a bundle before it may serve. Raises `SelfTestError` when it does not do what it must."""


class Store:
    """The bundles below a folder. A folder that is not there is an empty store; the first install makes it.

    Attributes:
        trials: How its bundles did in service.
    """

    def __init__(self, root: Path, lock_s: float = LOCK_S) -> None:
        """
        Args:
            lock_s: How long a change waits for one that another process makes.
        """
        self.root = root
        self._lock_s = lock_s
        self._bundles = root / _BUNDLES
        self._refusals = Refusals(root / _REFUSED)
        self.trials = Trials(root / _TRIALS)

    # What is there

    def active(self) -> Path | None:
        """The folder of the active bundle, whether or not that opens; None: the link is not there, or leads nowhere."""
        return self._path(_ACTIVE)

    def previous(self) -> Path | None:
        """The folder of the bundle that was active before, as in `active`."""
        return self._path(_PREVIOUS)

    def list(self) -> tuple[Installed, ...]:
        """The bundles that are installed, by name and version."""
        try:
            found = [Installed.parse(path) for path in self._bundles.iterdir()]
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise BundleError(f"store {self.root}: cannot be read: {one_line(error)}") from error
        return tuple(sorted((each for each in found if each), key=lambda each: (each.name, each.version, each.digest)))

    def find(self, which: str) -> Installed:
        """The one bundle that the name of its folder or the start of its digest names.

        Raises:
            BundleError: There is none, or more than one.
        """
        there = self.list()
        found = [each for each in there if which == each.path.name] or [
            each for each in there if len(which) >= 4 and (each.digest.startswith(which) or which.startswith(each.digest))
        ]
        if len(found) != 1:
            names = ", ".join(each.path.name for each in there) or "no bundle"
            raise BundleError(f"store {self.root}: {which[:100]!a} is not one bundle of it; there is {names}")
        return found[0]

    def refusal(self, digest: str) -> str | None:
        """Why the bundle with this manifest (its whole SHA-256) is not tried again; None: it may be."""
        return self._refusals.reason(digest)

    def open_active(self, trust: Trust) -> tuple[Bundle | None, tuple[str, ...]]:
        """Open the active bundle; where that cannot be, the previous one; None: neither can, or nothing is installed.

        Returns:
            The bundle, and in one line each why a better one was not taken.
        """
        reasons: list[str] = []
        tried: set[Installed] = set()
        for link in (_ACTIVE, _PREVIOUS):
            try:
                place = self._follow(link)
                if place is None or place in tried:
                    continue
                tried.add(place)
                return self._open(place, trust), tuple(reasons)
            except BundleError as error:
                reasons.append(f"{link}: {error}")
        return None, tuple(reasons)

    # What changes it

    def install(
        self, source: Path, trust: Trust, selftest: SelfTest, *, allow_downgrade: bool = False, activate: bool = True
    ) -> Installed:
        """Copy a bundle into the store once it proved to be whole, trusted and working.

        Args:
            source: Its folder.
            allow_downgrade: Take one that is older than the active one.
            activate: Let it be the active one.

        Raises:
            SelfTestError: It failed its self-test, and is not tried again.
            BundleError: It is not installed, for another reason; all is as it was before.
        """
        with open_bundle(source) as folder:
            header = read_header(folder, trust)
            self._admit(header)
            with self._changing():
                if not allow_downgrade:
                    self._check_version(header.model)
                place = Installed.place(self._bundles, header.model)
                if not self._has(place, header.model, trust):
                    self._take_in(folder, header, place, trust, selftest)
                if activate:
                    self._activate(place)
                self._prune(place)
        return place

    def activate(self, which: str, trust: Trust = ANYONE) -> Installed:
        """Let an installed bundle be the active one.

        Args:
            which: Name of its folder, or the start of its digest.

        Raises:
            BundleError: There is no such bundle, or it cannot be opened, or it was refused.
        """
        with self._changing():
            place = self.find(which)
            self._open(place, trust)
            self._activate(place)
            self._prune(place)
        return place

    def rollback(self, trust: Trust = ANYONE) -> Installed:
        """Let the previous bundle be the active one, and the other way round.

        Raises:
            BundleError: There is none, or it cannot be opened, or it was refused.
        """
        with self._changing():
            active, previous = self._seen(_ACTIVE), self._seen(_PREVIOUS)
            if previous is None or previous == active:
                raise BundleError(f"store {self.root}: there is no previous bundle to go back to")
            self._open(previous, trust)
            self._link(_ACTIVE, previous)
            if active is not None and self._is_usable(active):
                self._link(_PREVIOUS, active)
            else:
                self._unlink(_PREVIOUS)
        return previous

    def refuse(self, digest: str, reason: str) -> None:
        """Remember why the bundle with this manifest (its whole SHA-256) is not to be tried again.

        Raises:
            BundleError: It cannot be written.
        """
        with self._changing():
            self._refuse(digest, reason)

    def withdraw(self, folder: Path, reason: str, *, refuse: bool = True) -> None:
        """Let a bundle of the store not serve any more: the previous one is active again, or none.

        Args:
            refuse: It is not tried again, unless it is the copy in the store that is damaged: a new copy may work.

        Raises:
            BundleError: It cannot be written.
        """
        with self._changing():
            with suppress(BundleError):
                digest = Bundle.open(folder, ANYONE).model.sha256
                if refuse:
                    self._refuse(digest, reason)
                self.trials.forget(digest)
            active, previous = self._seen(_ACTIVE), self._seen(_PREVIOUS)
            if active is not None and active.path.name == folder.name:
                active = previous if previous is not None and previous != active and self._is_usable(previous) else None
                if active is None:
                    self._unlink(_ACTIVE)
                else:
                    self._link(_ACTIVE, active)
            if previous is not None and (previous == active or previous.path.name == folder.name):
                self._unlink(_PREVIOUS)

    def leave_result(self, content: bytes) -> None:
        """Leave what the last install came to, in `LAST_INSTALL` beside the bundles.

        Raises:
            BundleError: It cannot be written.
        """
        with self._changing():
            replace_file(self.root / LAST_INSTALL, content, self._incoming("result"))

    def last_result(self) -> bytes | None:
        """What `leave_result` left last; None: nothing that can be read."""
        try:
            with (self.root / LAST_INSTALL).open("rb") as file:
                return file.read(MAX_RESULT_BYTES)
        except OSError:
            return None

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock, and leave nothing half done behind."""
        try:
            make_folder(self._bundles)
            with locked(self.root, self._lock_s):
                self._clear()
                try:
                    yield
                finally:
                    with suppress(OSError):
                        self._clear()
                        give_to_owner(self.root)
        except OSError as error:
            raise BundleError(f"store {self.root}: cannot be changed: {one_line(error)}") from error

    def _admit(self, header: Header) -> None:
        """See, before anything is written, whether a bundle may come in."""
        if EXPECTED not in header.manifest.files:
            raise BundleError(f"has no {EXPECTED}: what cannot be tested is not installed")
        self._check_refusal(header.model.sha256)

    def _check_refusal(self, digest: str) -> None:
        reason = self._refusals.reason(digest)
        if reason is not None:
            raise BundleError(f"failed before: {reason} (to have it tried again, remove {self._refusals.folder / digest})")

    def _check_version(self, model: ModelName) -> None:
        """A bundle may not be older than the one of its name that serves: the active one, or the shipped one."""
        active: Installed | ModelName | None = self._seen(_ACTIVE)
        if active is None:
            # What replaces a shipped bundle that is damaged need not be newer.
            with suppress(BundleError), open_bundle(SHIPPED) as folder:
                active = read_header(folder, ANYONE).model
        if active is not None and model.name == active.name and model.version < active.version:
            raise BundleError(
                f"version {model.version} is older than the active version {active.version} (--allow-downgrade takes it)"
            )

    def _take_in(self, folder: int, header: Header, place: Installed, trust: Trust, selftest: SelfTest) -> None:
        check_room(header, self.root)
        incoming = self._incoming("bundle")
        copy_bundle(folder, header, incoming)
        try:
            selftest(Bundle.open(incoming, trust))
        except SelfTestError as error:
            self._refuse(header.model.sha256, str(error))
            raise
        if os.path.lexists(place.path):
            # A damaged copy of the same bundle.
            os.rename(place.path, self._incoming("old"))
        os.rename(incoming, place.path)
        sync_folder(self._bundles)
        sync_folder(self.root)

    def _activate(self, place: Installed) -> None:
        # The one that was used last is kept longest.
        os.utime(place.path)
        active = self._seen(_ACTIVE)
        if active == place:
            return
        if active is not None and self._is_usable(active):
            self._link(_PREVIOUS, active)
        self._link(_ACTIVE, place)

    def _prune(self, used: Installed) -> None:
        """Keep as many bundles as may be, never without those that are linked."""
        linked = {used, self._seen(_ACTIVE), self._seen(_PREVIOUS)}
        others = [each for each in self.list() if each not in linked]
        others.sort(key=lambda each: each.path.stat().st_mtime_ns, reverse=True)
        for number, place in enumerate(others[max(0, KEPT_BUNDLES - len(linked - {None})) :]):
            os.rename(place.path, self._incoming(f"old-{number}"))

    def _refuse(self, digest: str, reason: str) -> None:
        self._refusals.add(digest, reason, self._incoming("refusal"))

    def _has(self, place: Installed, model: ModelName, trust: Trust) -> bool:
        """Whether a bundle is installed already, whole, and signed by a key that is still trusted."""
        try:
            return Bundle.open(place.path, trust).model == model
        except BundleError:
            return False

    def _open(self, place: Installed, trust: Trust) -> Bundle:
        bundle = Bundle.open(place.path, trust)
        self._check_refusal(bundle.model.sha256)
        return bundle

    def _is_usable(self, place: Installed) -> bool:
        """Whether a bundle is worth going back to."""
        try:
            self._open(place, ANYONE)
        except BundleError:
            return False
        return True

    # Links and half-done things

    def _follow(self, link: str) -> Installed | None:
        """Where a link leads; None: it is not there.

        Raises:
            BundleError: It leads out of the store, or cannot be read.
        """
        try:
            target = os.readlink(self.root / link)
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = "is no link" if error.errno == errno.EINVAL else f"cannot be read: {one_line(error)}"
            raise BundleError(f"store {self.root}: {link} {reason}") from error
        folder, _, directory = target.partition("/")
        place = Installed.parse(self._bundles / directory) if folder == _BUNDLES and "/" not in directory else None
        if place is None:
            raise BundleError(f"store {self.root}: {link} leads to {target[:200]!a}, which is no bundle of the store")
        return place

    def _seen(self, link: str) -> Installed | None:
        with suppress(BundleError):
            return self._follow(link)
        return None

    def _path(self, link: str) -> Path | None:
        place = self._seen(link)
        return None if place is None else place.path

    def _link(self, link: str, place: Installed) -> None:
        replace_link(self.root / link, f"{_BUNDLES}/{place.path.name}", self._incoming(link))

    def _unlink(self, link: str) -> None:
        (self.root / link).unlink(missing_ok=True)
        sync_folder(self.root)

    def _incoming(self, name: str) -> Path:
        return self.root / f"{_INCOMING}{name}"

    def _clear(self) -> None:
        for path in self.root.iterdir():
            if path.name.startswith(_INCOMING):
                remove(path)
