"""What lies on a USB stick: bundles in its folder ``overflight/``, which anybody may have written."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from edge.bundle.files import open_folder, open_subfolder
from edge.bundle.header import read_header
from edge.bundle.limits import MAX_FOLDER_ENTRIES
from edge.bundle.manifest import MANIFEST, BundleError
from edge.bundle.trust import Trust
from edge.records import ModelName
from edge.text import one_line, printable

STICK_FOLDER = "overflight"


@dataclass(frozen=True, slots=True)
class Stick:
    """What lies on a stick.

    Attributes:
        newer: Folders of bundles that are trusted and newer than the active one, the newest first. Only their manifests
            were looked at.
        refused: Why bundles are not taken that may be newer, in one line each: not trusted, damaged, or failed before.
        passed_over: Why the others are none, in one line each.
    """

    newer: tuple[Path, ...]
    refused: tuple[str, ...]
    passed_over: tuple[str, ...]


class _NotNewerError(BundleError):
    pass


def newest_on_stick(
    mountpoint: Path, trust: Trust, active: ModelName | None, refusal: Callable[[str], str | None] = lambda digest: None
) -> Stick:
    """Look for bundles that are newer than the active one.

    Args:
        active: What serves; only bundles of the same name can be newer. None: any bundle is.
        refusal: Why the bundle with this manifest's SHA-256 is not to be tried again; None: it may be.

    Raises:
        BundleError: There is no stick, or it cannot be read.
    """
    root = mountpoint / STICK_FOLDER
    found: list[tuple[int, str]] = []
    refused: list[str] = []
    passed_over: list[str] = []
    with ExitStack() as opened:
        try:
            stick = opened.enter_context(open_folder(mountpoint))
            try:
                folder = opened.enter_context(open_subfolder(stick, STICK_FOLDER))
            except FileNotFoundError:
                return Stick((), (), (printable(f"{mountpoint}: has no folder {STICK_FOLDER}"),))
            names, left = _candidates(folder)
        except OSError as error:
            raise BundleError(printable(f"{mountpoint}: cannot be read: {one_line(error)}")) from error
        for name in names:
            try:
                found.append((_version(folder, name, trust, active, refusal), name))
            except _NotNewerError as error:
                passed_over.append(printable(f"{root / name}: {error}"))
            except (BundleError, OSError) as error:
                refused.append(printable(f"{root / name}: {one_line(error)}"))
    if left:
        passed_over.append(printable(f"{root}: has more than {MAX_FOLDER_ENTRIES} entries; the others were not looked at"))
    found.sort(key=lambda each: (-each[0], each[1]))
    return Stick(tuple(root / name for _, name in found), tuple(refused), tuple(passed_over))


def _candidates(folder: int) -> tuple[list[str], bool]:
    """What may be a bundle: everything but plain files; and whether there is more than may be looked at."""
    with os.scandir(folder) as entries:
        seen = list(islice(entries, MAX_FOLDER_ENTRIES + 1))
        names = [entry.name for entry in seen[:MAX_FOLDER_ENTRIES] if not entry.is_file(follow_symlinks=False)]
    return sorted(names), len(seen) > MAX_FOLDER_ENTRIES


def _version(folder: int, name: str, trust: Trust, active: ModelName | None, refusal: Callable[[str], str | None]) -> int:
    """The version of a bundle that is newer.

    Raises:
        _NotNewerError: It is no bundle, or not newer.
        BundleError: It is not trusted, or failed before.
        OSError: It is no folder, or a link.
    """
    with open_subfolder(folder, name) as opened:
        if MANIFEST not in os.listdir(opened):
            raise _NotNewerError(f"has no {MANIFEST}")
        model = read_header(opened, trust).model
    if active is not None and model.name != active.name:
        raise _NotNewerError(f"is {model.name}, and {active.name} is active; it can be installed by its path")
    if active is not None and model.version <= active.version:
        raise _NotNewerError(f"version {model.version} is not newer than the active version {active.version}")
    reason = refusal(model.sha256)
    if reason is not None:
        raise BundleError(f"version {model.version} failed before: {reason}")
    return model.version
