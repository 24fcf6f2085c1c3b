"""The keys that a device trusts: files in a folder, and those that came with the package.

A key is rotated by laying the new one beside the old one. One that got into wrong hands is withdrawn by its id in the file
``revoked``, and is then not trusted wherever else it lies.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from edge.bundle.files import open_folder, read_bounded
from edge.bundle.limits import MAX_FOLDER_ENTRIES, MAX_KEY_BYTES, MAX_KEYS, MAX_WITHDRAWN_BYTES
from edge.bundle.manifest import SIGNATURE, BundleError
from edge.bundle.signature import KEY_ID, KeyId, PublicKey, parse_signature, verify
from edge.text import one_line, printable

PACKAGED = Path(__file__).parent / "trusted"
WITHDRAWN = "revoked"
KEY_SUFFIX = ".pub"


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """Keys whose signature is taken.

    Attributes:
        keys: None of them is withdrawn.
        withdrawn: Those that must not be trusted any more.
        warnings: What was passed over, each one line.
        fault: Why nothing at all is trusted, in one line; None: that is not so.
    """

    keys: tuple[PublicKey, ...] = ()
    withdrawn: frozenset[KeyId] = field(default_factory=frozenset)
    warnings: tuple[str, ...] = ()
    fault: str | None = None

    @classmethod
    def load(cls, folder: Path) -> TrustedKeys:
        """The packaged keys and those of a folder, without the ones that the folder withdraws.

        A file that holds no key costs only itself. Where it cannot be told which keys are withdrawn nothing is trusted.
        """
        packaged, warnings = _packaged()
        try:
            with open_folder(folder) as opened:
                withdrawn = _read_withdrawn(opened)
                found, broken = _read_keys(opened)
        except FileNotFoundError:
            return cls(packaged, warnings=warnings)
        except (OSError, BundleError) as error:
            return cls(fault=printable(f"no key is trusted: {folder}: {one_line(error)}"))
        keys = {key.raw: key for key in (*packaged, *found) if key.id not in withdrawn}
        here = tuple(printable(f"{folder}/{each}") for each in broken)
        return cls(tuple(keys.values()), withdrawn, (*warnings, *here))

    @classmethod
    def packaged(cls) -> TrustedKeys:
        """Those that came with the package."""
        return cls(_packaged()[0])

    def signer(self, manifest: bytes, signature: bytes) -> KeyId:
        """Find the key that signed a manifest.

        Raises:
            BundleError: It is none of these, or it is withdrawn.
        """
        self.check()
        claimed = KeyId(parse_signature(signature).key)
        if claimed in self.withdrawn:
            raise BundleError(f"{SIGNATURE}: signed by key {claimed}, which is withdrawn")
        return verify(manifest, signature, self.keys)

    def check(self) -> None:
        """
        Raises:
            BundleError: Nothing at all is trusted.
        """
        if self.fault is not None:
            raise BundleError(self.fault)


def _packaged() -> tuple[tuple[PublicKey, ...], tuple[str, ...]]:
    try:
        with open_folder(PACKAGED) as opened:
            keys, broken = _read_keys(opened)
    except FileNotFoundError:
        return (), ()
    return keys, tuple(f"{PACKAGED}/{each}" for each in broken)


def _read_keys(folder: int) -> tuple[tuple[PublicKey, ...], tuple[str, ...]]:
    """The keys of an open folder, and what is wrong with files that hold none."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in islice(entries, MAX_FOLDER_ENTRIES + 1)]
    if len(names) > MAX_FOLDER_ENTRIES:
        raise BundleError(f"holds more than {MAX_FOLDER_ENTRIES} files")
    files = sorted(name for name in names if name.endswith(KEY_SUFFIX))
    if len(files) > MAX_KEYS:
        raise BundleError(f"holds {len(files)} keys, at most {MAX_KEYS} are allowed")
    keys, broken = [], []
    for name in files:
        try:
            keys.append(PublicKey.parse(_text(read_bounded(folder, name, MAX_KEY_BYTES))))
        except BundleError as error:
            reason = str(error).removeprefix(f"{name} ")
            broken.append(f"{name}: {reason}")
    return tuple(keys), tuple(broken)


def _read_withdrawn(folder: int) -> frozenset[KeyId]:
    """The ids that the file `WITHDRAWN` names, one a line; what follows a # is a remark."""
    try:
        os.stat(WITHDRAWN, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return frozenset()
    text = _text(read_bounded(folder, WITHDRAWN, MAX_WITHDRAWN_BYTES))
    return frozenset(_ids(line.partition("#")[0].strip() for line in text.split("\n")))


def _ids(lines: Iterable[str]) -> Iterable[KeyId]:
    for number, line in enumerate(lines, 1):
        if line and not re.fullmatch(KEY_ID, line):
            raise BundleError(
                f"{WITHDRAWN}: line {number}: expected the 16 hexadecimal digits of a key's id, got {line[:64]!a}"
            )
        if line:
            yield KeyId(line)


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BundleError(one_line(error)) from error
