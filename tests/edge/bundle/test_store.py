"""The store: what is there, which bundle serves, how that is changed and changed back, and what is never tried again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.bundle import Bundle, Store, Trust, TrustedKeys
from edge.bundle.limits import MAX_REASON_LETTERS, MAX_REFUSALS
from tests.edge.bundle.bundles import (
    KEY,
    OTHER_KEY,
    OTHER_PRIVATE,
    TRUST,
    manifest_of,
    passes,
    refused,
    rewrite,
    serving,
    versions,
)

BOTH = Trust(TrustedKeys((KEY, OTHER_KEY)))


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """All that lies below a folder, with its time of change and size."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in sorted(folder.rglob("*"))
    }


# What is there


def test_a_store_that_is_not_there_is_empty(tmp_path: Path) -> None:
    store = Store(tmp_path / "absent")
    assert (store.active(), store.previous(), store.list()) == (None, None, ())
    assert store.open_active(TRUST) == (None, ())
    assert store.refusal("0" * 64) is None
    assert not store.root.exists()


def test_a_file_in_place_of_the_store_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file")
    bundle, reasons = store.open_active(TRUST)
    assert bundle is None
    assert all(reason.endswith("cannot be read: Not a directory") for reason in reasons)
    assert len(reasons) == 2
    assert store.active() is None


def test_readers_write_nothing(store: Store, make: Callable[..., Path]) -> None:
    store.install(make(1), TRUST, passes)
    store.install(make(2), TRUST, passes)
    before = listing(store.root)
    assert serving(store) == (2, ())
    assert (store.active() is not None, store.previous() is not None, versions(store)) == (True, True, [1, 2])
    assert store.refusal("0" * 64) is None
    assert store.find("town-1-" + store.list()[0].digest).version == 1
    assert listing(store.root) == before


# Activate and roll back


def test_rollback_and_back_again(store: Store, make: Callable[..., Path]) -> None:
    store.install(make(1), TRUST, passes)
    store.install(make(2), TRUST, passes)
    assert store.rollback().version == 1
    assert serving(store) == (1, ())
    assert store.rollback().version == 2
    assert serving(store) == (2, ())


def test_rollback_without_a_previous_bundle_is_refused(store: Store, make: Callable[..., Path]) -> None:
    assert refused(store.rollback) == f"store {store.root}: there is no previous bundle to go back to"
    store.install(make(1), TRUST, passes)
    assert "there is no previous bundle" in refused(store.rollback)
    assert serving(store) == (1, ())


def test_rollback_refuses_a_damaged_bundle(store: Store, make: Callable[..., Path]) -> None:
    previous = store.install(make(1), TRUST, passes)
    store.install(make(2), TRUST, passes)
    (previous.path / "ir" / "model.bin").unlink()
    assert refused(store.rollback) == f"bundle {previous.path}: ir/model.bin is missing"
    assert serving(store) == (2, ())


def test_rollback_from_a_damaged_bundle_leaves_no_way_back_to_it(store: Store, make: Callable[..., Path]) -> None:
    store.install(make(1), TRUST, passes)
    damaged = store.install(make(2), TRUST, passes)
    (damaged.path / "ir" / "model.bin").unlink()
    store.rollback()
    assert serving(store) == (1, ())
    assert store.previous() is None


def test_a_damaged_bundle_does_not_become_the_previous_one(store: Store, make: Callable[..., Path]) -> None:
    store.install(make(1), TRUST, passes)
    damaged = store.install(make(2), TRUST, passes)
    (damaged.path / "ir" / "model.bin").unlink()
    store.install(make(3), TRUST, passes)
    assert store.rollback().version == 1


def test_a_bundle_is_activated_by_the_start_of_its_digest(store: Store, make: Callable[..., Path]) -> None:
    first = store.install(make(1), TRUST, passes)
    store.install(make(2), TRUST, passes)
    whole = Bundle.open(first.path, TRUST).model.sha256
    for which in (first.digest, whole, first.digest[:6]):
        assert store.activate(which) == first
        store.rollback()


@pytest.mark.parametrize("which", ["town-9-0123456789ab", "", "t", "../../etc", "0" * 64, "\x1b[2J"])
def test_what_is_not_installed_is_not_activated(store: Store, make: Callable[..., Path], which: str) -> None:
    installed = store.install(make(1), TRUST, passes)
    reason = refused(lambda: store.activate(which))
    assert reason.endswith(f"is not one bundle of it; there is {installed.path.name}")
    assert serving(store) == (1, ())


def test_activate_refuses_a_bundle_of_a_withdrawn_key(store: Store, make: Callable[..., Path]) -> None:
    store.install(make(1, key=OTHER_PRIVATE), BOTH, passes)
    store.install(make(2), BOTH, passes)
    withdrawn = Trust(TrustedKeys((KEY,), frozenset({OTHER_KEY.id})))
    assert "which is withdrawn" in refused(lambda: store.activate(store.list()[0].digest, withdrawn))
    assert "which is withdrawn" in refused(lambda: store.rollback(withdrawn))
    assert serving(store, withdrawn) == (2, ())


def test_activate_refuses_what_failed(store: Store, make: Callable[..., Path]) -> None:
    first = store.install(make(1), TRUST, passes)
    store.install(make(2), TRUST, passes)
    store.refuse(Bundle.open(first.path, TRUST).model.sha256, "blind in the rain")
    for change in (store.rollback, lambda: store.activate(first.digest)):
        assert "failed before: blind in the rain" in refused(change)
    assert serving(store) == (2, ())


# Which one is opened


def damage_file(store: Store) -> None:
    (store.active() or Path()).joinpath("ir/model.bin").write_bytes(b"\0" * 256)


def damage_link(store: Store) -> None:
    shutil.rmtree(store.active() or "")


def lead_out(store: Store) -> None:
    (store.root / "active").unlink()
    (store.root / "active").symlink_to(store.root.parent / "made" / "town-2-1")


def climb_out(store: Store) -> None:
    (store.root / "active").unlink()
    (store.root / "active").symlink_to("bundles/../../made/town-2-1")


def no_link(store: Store) -> None:
    (store.root / "active").unlink()
    (store.root / "active").mkdir()


def swap_manifest(store: Store) -> None:
    rewrite(store.active() or Path(), manifest_of(version=99), OTHER_PRIVATE)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_file, "ir/model.bin is altered"),
        (damage_link, "manifest.json is missing"),
        (lead_out, "which is no bundle of the store"),
        (climb_out, "which is no bundle of the store"),
        (no_link, "active is no link"),
        (swap_manifest, f"signed by key {OTHER_KEY.id}, which is not trusted"),
    ],
)
def test_the_previous_bundle_is_opened_where_the_active_one_cannot_be(
    store: Store, make: Callable[..., Path], damage: Callable[[Store], None], said: str
) -> None:
    store.install(make(1), TRUST, passes)
    store.install(make(2), TRUST, passes)
    damage(store)
    version, (reason,) = serving(store)
    assert version == 1
    assert reason.startswith("active: ")
    assert said in reason
    assert reason.isprintable()


def test_a_bundle_of_a_withdrawn_key_is_not_opened(store: Store, make: Callable[..., Path]) -> None:
    store.install(make(1), BOTH, passes)
    store.install(make(2, key=OTHER_PRIVATE), BOTH, passes)
    version, (reason,) = serving(store, Trust(TrustedKeys((KEY,), frozenset({OTHER_KEY.id}))))
    assert version == 1
    assert reason.endswith(f"signed by key {OTHER_KEY.id}, which is withdrawn")


def test_where_neither_can_be_opened_both_reasons_are_said(store: Store, make: Callable[..., Path]) -> None:
    store.install(make(1), TRUST, passes)
    store.install(make(2), TRUST, passes)
    bundle, reasons = store.open_active(Trust(TrustedKeys(fault="no key is trusted")))
    assert bundle is None
    assert [reason.partition(": ")[0] for reason in reasons] == ["active", "previous"]
    assert all(reason.endswith("no key is trusted") for reason in reasons)


def test_an_unsigned_bundle_needs_the_switch_to_be_installed_and_to_be_opened(store: Store, make: Callable[..., Path]) -> None:
    source = make(key=None)
    development = Trust(TrustedKeys((KEY,)), allow_unsigned=True)
    assert "is not signed" in refused(lambda: store.install(source, TRUST, passes))
    store.install(source, development, passes)
    bundle, _ = store.open_active(development)
    assert bundle is not None
    assert bundle.signed_by is None
    bundle, (reason,) = store.open_active(TRUST)
    assert bundle is None
    assert "is not signed" in reason


# Refused bundles


def test_a_bundle_that_fails_in_flight_gives_way_to_the_previous_one(store: Store, make: Callable[..., Path]) -> None:
    store.install(make(1), TRUST, passes)
    bad = make(2)
    installed = store.install(bad, TRUST, passes)
    store.withdraw(installed.path, "says the same of every frame")
    assert serving(store) == (1, ())
    assert store.previous() is None
    assert "failed before: says the same of every frame" in refused(lambda: store.install(bad, TRUST, passes))


def test_the_only_bundle_that_fails_in_flight_leaves_none(store: Store, make: Callable[..., Path]) -> None:
    installed = store.install(make(1), TRUST, passes)
    store.withdraw(installed.path, "no engine runs it")
    assert (store.active(), store.open_active(TRUST)) == (None, (None, ()))


def test_a_previous_bundle_that_fails_is_no_way_back(store: Store, make: Callable[..., Path]) -> None:
    installed = store.install(make(1), TRUST, passes)
    store.install(make(2), TRUST, passes)
    store.withdraw(installed.path, "no engine runs it")
    assert serving(store) == (2, ())
    assert store.previous() is None


def test_a_damaged_copy_that_gives_way_is_not_held_against_the_bundle(store: Store, make: Callable[..., Path]) -> None:
    store.install(make(1), TRUST, passes)
    source = make(2)
    installed = store.install(source, TRUST, passes)
    (installed.path / "ir" / "model.bin").unlink()
    store.withdraw(installed.path, "ir/model.bin is missing")
    assert serving(store) == (1, ())
    store.install(source, TRUST, passes)
    assert serving(store) == (2, ())


def test_a_refused_bundle_is_not_opened_though_a_link_leads_to_it(store: Store, make: Callable[..., Path]) -> None:
    # As where the power fails between the refusal and the change of the links.
    store.install(make(1), TRUST, passes)
    installed = store.install(make(2), TRUST, passes)
    store.refuse(Bundle.open(installed.path, TRUST).model.sha256, "NaN")
    version, (reason,) = serving(store)
    assert version == 1
    assert reason.startswith("active: failed before: NaN (")


def test_a_reason_is_kept_as_one_line_that_is_not_too_long(store: Store) -> None:
    store.refuse("a" * 64, "first\nsecond \x1b[2J" + "x" * 10_000)
    reason = store.refusal("a" * 64) or ""
    assert reason.startswith("first second \\x1b[2Jxxx")
    assert len(reason) == MAX_REASON_LETTERS
    assert reason.isprintable()


def test_an_empty_refusal_is_one_all_the_same(store: Store) -> None:
    # As a power cut may leave it on some file systems.
    store.refuse("a" * 64, "reason")
    (store.root / "refused" / ("a" * 64)).write_bytes(b"")
    assert store.refusal("a" * 64) == "no reason was left"


@pytest.mark.parametrize("digest", ["", "a" * 63, "A" * 64, "../active", "a" * 65])
def test_what_is_no_digest_cannot_be_refused(store: Store, digest: str) -> None:
    assert "expected 64 hexadecimal digits" in refused(lambda: store.refuse(digest, "reason"))


def test_the_oldest_refusals_are_forgotten(store: Store) -> None:
    for number in range(MAX_REFUSALS + 5):
        store.refuse(f"{number:064x}", "reason")
        os.utime(store.root / "refused" / f"{number:064x}", (number, number))
    assert len(os.listdir(store.root / "refused")) == MAX_REFUSALS
    assert store.refusal(f"{4:064x}") is None
    assert store.refusal(f"{5:064x}") == "reason"
