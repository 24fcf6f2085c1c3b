"""Brings a public data set from a git repository or a folder, complete and as it is known, or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import TrainerError
from trainer.fetch.sets import NOTICE, Found, PublicSet
from trainer.files import replaced_folder

Progress = Callable[[str], None]
"""Told in a few words what is going on."""


class FetchError(TrainerError):
    """A data set cannot be brought; the message is the reason in one line."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A data set that is there now.

    Attributes:
        counts: Images by folder.
        is_known: Whether it is the version whose digest the trainer knows.
        was_there: Nothing was written.
    """

    counts: Mapping[str, int]
    is_known: bool
    was_there: bool


def fetch(
    wanted: PublicSet,
    target: Path,
    source: str | None = None,
    *,
    any_version: bool = False,
    progress: Progress = lambda _: None,
) -> Fetched:
    """Bring a data set.

    Args:
        target: Folder to write; a complete data set there is left alone, an older fetch is replaced, anything else refused.
        source: A folder or the URL of a git repository; None: where the data set is published.
        any_version: Take also what differs from the version that is known.

    Raises:
        FetchError: It cannot be brought, is not the known version, or the target is something else.
        OSError: It cannot be written; what was there is still there.
    """
    progress("looking at what is there")
    there = _there(wanted, target)
    if there is not None:
        return there
    with _opened(wanted, source or wanted.url, progress) as root:
        progress("checking")
        found = wanted.find(root, any_version)
        if not found:
            raise FetchError(
                f"{source or wanted.url}: is laid out neither as {wanted.name}:FOLDER is ({', '.join(wanted.counts)}) nor as "
                "the original repository"
            )
        counts, digest = _weigh(wanted, found)
        if digest != wanted.digest and not any_version:
            raise FetchError(f"{source or wanted.url}: {_difference(wanted, counts, digest)}; --any takes it all the same")
        progress("writing")
        with replaced_folder(target) as folder:
            (folder / NOTICE).write_text(wanted.notice)
            for path, content in found.items():
                file = folder / path
                file.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, bytes):
                    file.write_bytes(content)
                else:
                    shutil.copyfile(content, file)
    return Fetched(counts, digest == wanted.digest, was_there=False)


def _there(wanted: PublicSet, target: Path) -> Fetched | None:
    """What lies in the target already, if it is the known version.

    Raises:
        FetchError: Something else lies there.
    """
    if not target.exists():
        return None
    if target.is_dir():
        counts, digest = _weigh(wanted, wanted.find(target, True))
        if digest == wanted.digest:
            return Fetched(counts, is_known=True, was_there=True)
        if (target / NOTICE).is_file() or not any(target.iterdir()):
            return None
    raise FetchError(f"{target}: exists and is not a {wanted.name} that was fetched; it is not replaced")


@contextmanager
def _opened(wanted: PublicSet, source: str, progress: Progress) -> Iterator[Path]:
    """A folder with the data set in one of its layouts: the source itself, or a clone of it."""
    local = Path(source)
    if local.is_dir() and (wanted.find(local, True) or not _is_repository(local)):
        yield local
        return
    git = shutil.which("git")
    if git is None:
        raise FetchError("git is not installed, and --from names no folder with the data set")
    with tempfile.TemporaryDirectory(prefix="overflight-fetch-") as temporary:
        progress(f"cloning {source}")
        clone = Path(temporary) / "clone"
        # Links would be followed when their files are read; a question for a password would wait for ever.
        command = [git, "-c", "core.symlinks=false", "clone", "--quiet", "--depth", "1", "--", source, str(clone)]
        environment = os.environ | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
        if ended.returncode:
            said = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
            raise FetchError(f"{source}: cannot be cloned: {said[-1] if said else f'git ended with {ended.returncode}'}")
        yield clone


def _is_repository(folder: Path) -> bool:
    """Whether git can clone a folder: it is a working tree, or what a bare repository is."""
    return (folder / ".git").exists() or ((folder / "HEAD").is_file() and (folder / "objects").is_dir())


def _weigh(wanted: PublicSet, found: Found) -> tuple[dict[str, int], str]:
    """Number of images by folder, and the digest of all."""
    lines = []
    for path, content in found.items():
        data = content if isinstance(content, bytes) else content.read_bytes()
        lines.append(f"{hashlib.sha256(wanted.identity(data)).hexdigest()}  {path}\n")
    counts = Counter(path.rpartition("/")[0] for path in found)
    return dict(sorted(counts.items())), hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _difference(wanted: PublicSet, counts: Mapping[str, int], digest: str) -> str:
    folders = sorted({*wanted.counts, *counts})
    missing = sum(max(wanted.counts.get(folder, 0) - counts.get(folder, 0), 0) for folder in folders)
    extra = sum(max(counts.get(folder, 0) - wanted.counts.get(folder, 0), 0) for folder in folders)
    if not missing and not extra:
        return f"has {sum(counts.values())} images as expected, but not the known ones: their digest is {digest}"
    each = ", ".join(f"{folder} {counts.get(folder, 0)} of {wanted.counts.get(folder, 0)}" for folder in folders)
    return f"is not the known version: {missing} images are missing, {extra} are too many ({each})"
