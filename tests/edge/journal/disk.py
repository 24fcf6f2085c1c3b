"""What a disk holds after a power cut, worked out from the calls that a program made.

The model is the strict one of POSIX: what was not synced may be there or not, each write for itself and each of its sectors for
itself, whatever the order; and a file's name is synced with its folder, not with the file. A sync that fails syncs nothing, and
what it was asked for may be missing for ever, because Linux takes such pages for clean
(Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020). Real file systems keep more than that.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

SECTOR_BYTES = 512


class Kind(IntEnum):
    """What a program did; the same names and numbers as in faults.c."""

    NOTE = 0
    OPEN = 1
    CREATE = 2
    WRITE = 3
    TRUNCATE = 4
    UNLINK = 5
    RENAME = 6
    MKDIR = 7
    SYNC = 8
    FAILED_SYNC = 9
    FAILED = 10


# What faults.c counts. An OPEN with O_TRUNC is there as the TRUNCATE that follows it.
COUNTED = frozenset(Kind) - {Kind.NOTE, Kind.OPEN}


@dataclass(frozen=True, slots=True)
class Call:
    """One line of a trace; offset is the new size for TRUNCATE."""

    kind: Kind
    descriptor: int
    offset: int
    payload: bytes

    @property
    def path(self) -> str:
        """What is opened, made or removed."""
        return self.payload.decode()


def read_trace(file: Path) -> list[Call]:
    """All calls of a program, in order."""
    header = struct.Struct("=iiqq")
    content, start, calls = file.read_bytes(), 0, []
    while start < len(content):
        kind, descriptor, offset, length = header.unpack_from(content, start)
        start += header.size
        calls.append(Call(Kind(kind), descriptor, offset, content[start : start + length]))
        start += length
    return calls


@dataclass(slots=True, eq=False)
class File:
    """A file, or a folder, by whatever name; `settled` is what no power cut can take from it any more."""

    is_folder: bool = False
    settled: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Change:
    """Something that was done and may be lost until it is synced; one that is doomed is not synced by any later sync."""

    synced: bool = False
    doomed: bool = False


@dataclass(slots=True, eq=False, kw_only=True)
class Write(Change):
    """Bytes that are written into a file."""

    offset: int
    data: bytes


@dataclass(slots=True, eq=False, kw_only=True)
class Resize(Change):
    """A file gets a size, in bytes."""

    size: int


@dataclass(slots=True, eq=False, kw_only=True)
class Naming(Change):
    """Names get another file, or, with None, cease; all of them at once."""

    names: dict[str, File | None]


Choice = Callable[[Change], bool]
"""Whether a change that was not synced is there after the power cut; asked for every sector of a write if `torn`."""


class Disk:
    """The state of a folder while the calls of a trace are done to it, one by one."""

    def __init__(self, folder: str) -> None:
        self._root = File(is_folder=True)
        self._names: dict[str, File] = {folder: self._root}
        self._namings: list[Naming] = []
        self._open: dict[int, tuple[str, File]] = {}

    def do(self, call: Call) -> None:
        """Take the next call into account."""
        match call.kind:
            case Kind.OPEN:
                self._open[call.descriptor] = (call.path, self._names[call.path])
            case Kind.CREATE:
                self._name({call.path: File()})
                self._open[call.descriptor] = (call.path, self._names[call.path])
            case Kind.MKDIR:
                self._name({call.path: File(is_folder=True)})
            case Kind.UNLINK:
                self._name({call.path: None})
            case Kind.RENAME:
                old, new = call.payload.decode().split("\0")
                self._name({old: None, new: self._names[old]})
            case Kind.WRITE:
                self._open[call.descriptor][1].pending.append(Write(offset=call.offset, data=call.payload))
            case Kind.TRUNCATE:
                self._open[call.descriptor][1].pending.append(Resize(size=call.offset))
            case Kind.SYNC:
                self._sync(*self._open[call.descriptor])
            case Kind.FAILED_SYNC:
                for change in self._open[call.descriptor][1].pending:
                    change.doomed = not change.synced

    def _name(self, names: dict[str, File | None]) -> None:
        self._namings.append(Naming(names=names))
        for path, file in names.items():
            if file is None:
                del self._names[path]
            else:
                self._names[path] = file

    def _sync(self, path: str, file: File) -> None:
        for change in file.pending:
            change.synced = not change.doomed
        while file.pending and file.pending[0].synced:
            _change(file.settled, file.pending.pop(0), lambda _: True, torn=False)
        if file.is_folder:
            for naming in self._namings:
                naming.synced |= any(name.rpartition("/")[0] == path for name in naming.names)

    def image(self, keep_name: Choice, keep_data: Choice, *, torn: bool) -> dict[str, bytes | None]:
        """The files after a power cut, by path; None for a folder. SQLite's -shm is left out: it is memory, not kept."""
        names: dict[str, File | None] = {}
        for naming in self._namings:
            if naming.synced or keep_name(naming):
                names |= naming.names
        made = {name for naming in self._namings for name in naming.names}
        image: dict[str, bytes | None] = {}
        for path, file in names.items():
            parent = path.rpartition("/")[0]
            is_in_a_lost_folder = parent in made and parent not in image
            if file is None or is_in_a_lost_folder or path.endswith("-shm"):
                continue
            content = bytearray(file.settled)
            for change in file.pending:
                _change(content, change, keep_data, torn=torn)
            image[path] = None if file.is_folder else bytes(content)
        return image


def _change(content: bytearray, change: Change, keep: Choice, *, torn: bool) -> None:
    """Do to a file's content what is kept of a change; what lies between the end and a write behind it becomes zeros."""
    match change:
        case Resize(size=size) if change.synced or keep(change):
            content[size:] = bytes(max(0, size - len(content)))
        case Write(offset=offset, data=data):
            for start, end in _pieces(offset, len(data)) if torn and not change.synced else [(0, len(data))]:
                if change.synced or keep(change):
                    content.extend(bytes(max(0, offset + start - len(content))))
                    content[offset + start : offset + end] = data[start:end]


def _pieces(offset: int, length: int) -> Iterator[tuple[int, int]]:
    """A write as the parts of it that lie in one sector each: from where to where in its data."""
    start = 0
    while start < length:
        end = min(length, start + SECTOR_BYTES - (offset + start) % SECTOR_BYTES)
        yield start, end
        start = end


def write_image(image: Mapping[str, bytes | None], old: str, new: Path) -> None:
    """Lay the files of an image of the folder `old` into the folder `new`, which holds nothing else afterwards."""
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    for path, content in image.items():
        place = new / Path(path).relative_to(old)
        if content is None:
            place.mkdir()
        else:
            place.write_bytes(content)
