"""Installing: what comes into the store was proved first, and what fails leaves all as it was."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.bundle import SHIPPED, Bundle, Installed, SelfTestError, Store, Trust, TrustedKeys
from edge.bundle.limits import KEPT_BUNDLES
from edge.bundle.lock import locked
from tests.edge.bundle.bundles import (
    FILES,
    KEY,
    OTHER_KEY,
    OTHER_PRIVATE,
    TRUST,
    fails,
    passes,
    refused,
    rewrite,
    serving,
    versions,
    write_bundle,
)


def test_an_installed_bundle_is_active_and_holds_what_its_manifest_names_and_nothing_else(
    store: Store, make: Callable[..., Path]
) -> None:
    source = make(3)
    (source / "ir" / "notes.txt").write_text("left there by a person")
    (source / "autorun.inf").symlink_to("/etc/passwd")
    installed = store.install(source, TRUST, passes)

    assert installed == Installed(store.root / "bundles" / installed.path.name, "town", 3, installed.digest)
    assert store.active() == installed.path
    assert os.readlink(store.root / "active") == f"bundles/{installed.path.name}"
    files = {file.relative_to(installed.path).as_posix() for file in installed.path.rglob("*") if not file.is_dir()}
    assert files == {"manifest.json", "manifest.sig", *FILES}
    assert all((installed.path / name).read_bytes() == (source / name).read_bytes() for name in files)
    bundle = store.open_active(TRUST)[0]
    assert bundle is not None
    assert bundle.signed_by == KEY.id
    assert bundle.model.sha256.startswith(installed.digest)
    assert sorted(os.listdir(store.root)) == ["active", "bundles"]


def test_what_root_installs_others_can_read(store: Store, make: Callable[..., Path]) -> None:
    mask = os.umask(0o077)
    try:
        installed = store.install(make(), TRUST, passes)
    finally:
        os.umask(mask)
    for path in (installed.path, *installed.path.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)


def test_the_self_test_gets_the_copy_before_it_is_visible(store: Store, make: Callable[..., Path]) -> None:
    source, seen = make(), []

    def selftest(bundle: Bundle) -> None:
        seen.append(bundle.path)
        assert store.list() == ()
        shutil.rmtree(source)

    store.install(source, TRUST, selftest)
    assert seen == [store.root / "incoming-bundle"]
    assert serving(store) == (1, ())


def test_a_bundle_can_be_installed_without_being_activated(store: Store, make: Callable[..., Path]) -> None:
    store.install(make(1), TRUST, passes)
    installed = store.install(make(2), TRUST, passes, activate=False)
    assert serving(store) == (1, ())
    assert store.activate(installed.path.name) == installed
    assert serving(store) == (2, ())


def test_a_bundle_that_is_there_already_is_only_activated(store: Store, make: Callable[..., Path]) -> None:
    first = make(1)
    store.install(first, TRUST, passes)
    store.install(make(2), TRUST, passes)
    store.install(first, TRUST, fails, allow_downgrade=True)
    assert serving(store) == (1, ())
    assert versions(store) == [1, 2]
    assert store.refusal("0" * 64) is None


def test_a_damaged_copy_is_replaced(store: Store, make: Callable[..., Path]) -> None:
    source = make()
    installed = store.install(source, TRUST, passes)
    (installed.path / "ir" / "model.bin").write_bytes(b"\0" * 256)
    assert store.open_active(TRUST)[0] is None
    store.install(source, TRUST, passes)
    assert serving(store) == (1, ())
    assert sorted(os.listdir(store.root)) == ["active", "bundles"]


def test_a_bundle_that_another_key_signed_anew_replaces_the_old_copy(store: Store, make: Callable[..., Path]) -> None:
    source = make()
    store.install(source, TRUST, passes)
    rewrite(source, (source / "manifest.json").read_bytes(), OTHER_PRIVATE)
    rotated = Trust(TrustedKeys((OTHER_KEY,), frozenset({KEY.id})))
    assert "which is withdrawn" in store.open_active(rotated)[1][0]
    store.install(source, rotated, passes)
    assert serving(store, rotated) == (1, ())
    assert versions(store) == [1]


def test_install_refuses_older_version(store: Store, make: Callable[..., Path]) -> None:
    store.install(make(3), TRUST, passes)
    older = make(2)
    for activate in (True, False):
        reason = refused(lambda activate=activate: store.install(older, TRUST, passes, activate=activate))  # type: ignore[misc]
        assert reason == f"bundle {older}: version 2 is older than the active version 3 (--allow-downgrade takes it)"
    assert serving(store) == (3, ())
    assert versions(store) == [3]
    store.install(older, TRUST, passes, allow_downgrade=True)
    assert serving(store) == (2, ())


def test_install_refuses_older_version_though_the_active_copy_is_damaged(store: Store, make: Callable[..., Path]) -> None:
    active = store.install(make(3), TRUST, passes)
    shutil.rmtree(active.path)
    assert "is older than the active version 3" in refused(lambda: store.install(make(2), TRUST, passes))


def test_install_refuses_older_version_than_the_shipped_one_where_nothing_is_active(
    store: Store, make: Callable[..., Path]
) -> None:
    shipped = Bundle.shipped().model
    older = make(shipped.version - 1, shipped.name)
    assert f"is older than the active version {shipped.version}" in refused(lambda: store.install(older, TRUST, passes))
    store.install(make(shipped.version, shipped.name), TRUST, passes)
    assert serving(store) == (shipped.version, ())


def test_a_bundle_of_another_name_is_no_downgrade(store: Store, make: Callable[..., Path]) -> None:
    store.install(make(3), TRUST, passes)
    store.install(make(1, "village"), TRUST, passes)
    store.install(make(2), TRUST, passes)
    assert serving(store) == (2, ())
    assert [(each.name, each.version) for each in store.list()] == [("town", 2), ("town", 3), ("village", 1)]


def test_a_name_that_ends_in_digits_is_not_taken_for_a_version(store: Store, make: Callable[..., Path]) -> None:
    store.install(make(7, "town-2024-12"), TRUST, passes)
    (installed,) = store.list()
    assert (installed.name, installed.version) == ("town-2024-12", 7)


def test_a_bundle_that_fails_its_self_test_is_remembered_and_not_tried_again(store: Store, make: Callable[..., Path]) -> None:
    store.install(make(1), TRUST, passes)
    bad = make(2)
    digest = Bundle.open(bad, TRUST).model.sha256
    with pytest.raises(SelfTestError, match="self-test: town sees ruins"):
        store.install(bad, TRUST, fails)
    assert store.refusal(digest) == "self-test: town sees ruins everywhere"
    reason = refused(lambda: store.install(bad, TRUST, passes))
    assert reason.startswith(f"bundle {bad}: failed before: self-test: town sees ruins everywhere (")
    assert (serving(store), versions(store)) == ((1, ()), [1])

    (store.root / "refused" / digest).unlink()
    store.install(bad, TRUST, passes)
    assert serving(store) == (2, ())


def test_a_self_test_that_cannot_be_run_is_not_held_against_the_bundle(store: Store, make: Callable[..., Path]) -> None:
    def breaks(bundle: Bundle) -> None:
        raise RuntimeError("no engine on this machine")

    source = make()
    with pytest.raises(RuntimeError, match="no engine"):
        store.install(source, TRUST, breaks)
    assert sorted(os.listdir(store.root)) == ["bundles"]
    store.install(source, TRUST, passes)


def test_a_bundle_without_a_self_test_opens_but_is_not_installed(store: Store, tmp_path: Path) -> None:
    files = {name: content for name, content in FILES.items() if "selftest" not in name}
    source = write_bundle(tmp_path / "untestable", files)
    assert not Bundle.open(source, TRUST).has_selftest
    assert "has no selftest/expected.json: what cannot be tested is not installed" in refused(
        lambda: store.install(source, TRUST, passes)
    )


def test_install_refuses_what_does_not_fit_on_the_disk(
    store: Store, make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.bundle.copy.SPARE_BYTES", 1 << 60)
    source = make()
    reason = refused(lambda: store.install(source, TRUST, passes))
    assert reason.startswith(f"bundle {source}: needs 1152921504606.")
    assert reason.endswith(" MB left")
    assert versions(store) == []


def test_a_disk_that_is_full_in_the_midst_of_copying_is_said_and_leaves_nothing(
    store: Store, make: Callable[..., Path]
) -> None:
    store.install(make(1), TRUST, passes)
    source = make(2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        reason = refused(lambda: store.install(source, TRUST, passes))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert reason == f"bundle {source}: store {store.root}: cannot be changed: File too large"
    assert sorted(os.listdir(store.root)) == ["active", "bundles"]
    assert serving(store) == (1, ())


def test_the_last_three_are_kept_and_those_that_are_linked_always(store: Store, make: Callable[..., Path]) -> None:
    for version in range(1, 7):
        store.install(make(version), TRUST, passes)
        assert len(store.list()) == min(version, KEPT_BUNDLES)
    assert versions(store) == [4, 5, 6]
    # The previous one is now an old one.
    store.activate(store.find(store.list()[0].digest).path.name)
    store.install(make(7), TRUST, passes)
    store.install(make(8), TRUST, passes, activate=False)
    assert versions(store) == [4, 7, 8]
    assert serving(store) == (7, ())
    assert store.rollback().version == 4


def test_what_is_no_bundle_of_the_store_is_left_alone(store: Store, make: Callable[..., Path]) -> None:
    store.install(make(1), TRUST, passes)
    (store.root / "bundles" / "notes").mkdir()
    for version in range(2, 6):
        store.install(make(version), TRUST, passes)
    assert (store.root / "bundles" / "notes").is_dir()
    assert versions(store) == [3, 4, 5]


def test_what_a_killed_install_left_is_cleared_by_the_next_one(store: Store, make: Callable[..., Path]) -> None:
    store.root.mkdir()
    shutil.copytree(make(9), store.root / "incoming-bundle")
    (store.root / "incoming-active").symlink_to("/etc")
    (store.root / "incoming-refusal").write_text("half")
    store.install(make(1), TRUST, passes)
    assert sorted(os.listdir(store.root)) == ["active", "bundles"]
    assert Path("/etc/passwd").exists()


def test_two_installs_exclude_each_other(tmp_path: Path, store: Store, make: Callable[..., Path]) -> None:
    store.install(make(1), TRUST, passes)
    impatient = Store(store.root, lock_s=0.05)
    with locked(store.root, 0):
        reason = refused(lambda: impatient.install(make(2), TRUST, passes))
        assert reason.endswith(f"{store.root}: another process is at work there")
        for change in (impatient.rollback, lambda: impatient.activate("town"), lambda: impatient.refuse("0" * 64, "x")):
            assert "another process is at work there" in refused(change)
        assert serving(impatient) == (1, ())


def test_installs_at_once_come_one_after_the_other(store: Store, make: Callable[..., Path]) -> None:
    busy, most = [], []

    def selftest(bundle: Bundle) -> None:
        busy.append(bundle)
        most.append(len(busy))
        threading.Event().wait(0.05)
        busy.pop()

    threads = [
        threading.Thread(target=store.install, args=(make(1, name), TRUST, selftest)) for name in ("town", "village", "farm")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]
    assert len(store.list()) == 3
    assert serving(store) == (1, ())


def test_the_shipped_folder_is_never_changed(store: Store) -> None:
    before = {path: path.lstat().st_mtime_ns for path in SHIPPED.rglob("*")}
    store.install(SHIPPED, Trust(TrustedKeys.packaged(), allow_unsigned=True), lambda bundle: None)
    assert {path: path.lstat().st_mtime_ns for path in SHIPPED.rglob("*")} == before
    assert serving(store, Trust(TrustedKeys.packaged(), allow_unsigned=True))[0] == Bundle.shipped().model.version


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that other users can come to, other than those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_what_root_installs_belongs_to_the_user_of_the_store(
    open_to_all: Path, make: Callable[..., Path], *, umask: int
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    nobody = 65534
    state = open_to_all
    os.chown(state, nobody, nobody)
    before = os.umask(umask)
    try:
        store = Store(state / "models")
        first, second = store.install(make(1), TRUST, passes), store.install(make(2), TRUST, passes)
        store.refuse("0" * 64, "blind in the rain")
        store.leave_result(b"{}")
    finally:
        os.umask(before)
    assert {path.lstat().st_uid for path in store.root.rglob("*")} == {nobody}
    # The daemon of that user can read all of it, and go back.
    process = os.fork()
    if process == 0:
        status = 1
        try:
            os.setgid(nobody)
            os.setuid(nobody)
            assert store.last_result() == b"{}"
            store.withdraw(second.path, "blind in the dark")
            store.trials.begin("1" * 64)
            assert store.active() == first.path
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
