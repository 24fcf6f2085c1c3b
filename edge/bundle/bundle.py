"""Opens a bundle: its signature is checked first, every file is read after its size, and used only after its hash."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edge.bundle.files import open_folder, read_checked
from edge.bundle.header import Header, read_header
from edge.bundle.keys import TrustedKeys
from edge.bundle.manifest import MANIFEST, BundleError
from edge.bundle.trust import Trust
from edge.text import one_line, printable

SHIPPED = Path(__file__).parent / "terrain-damage"
EXPECTED = "selftest/expected.json"


class Bundle:
    """A model package whose files were found to be those that its manifest names.

    Attributes:
        path: The folder.
        model: Name, version and the manifest's hash.
        signed_by: The trusted key that signed it; None: none did, and none needed to.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path = path
        self.manifest = header.manifest
        self.model = header.model
        self.signed_by = header.signed_by

    @classmethod
    def open(cls, path: Path | str, trust: Trust) -> Bundle:
        """Open a bundle and check all of its files.

        Args:
            trust: Whose bundles are taken.

        Raises:
            BundleError: It is missing, incomplete, altered, not trusted or not a bundle.
        """
        with open_bundle(Path(path)) as folder:
            header = read_header(folder, trust)
            for name, entry in header.manifest.files.items():
                read_checked(folder, name, entry, lambda piece: None)
        return cls(Path(path), header)

    @classmethod
    def shipped(cls) -> Bundle:
        """Open the bundle that came with the package, and is trusted as the package is.

        Raises:
            BundleError: It is incomplete or altered.
        """
        return cls.open(SHIPPED, Trust(TrustedKeys.packaged(), allow_unsigned=True))

    @property
    def is_shipped(self) -> bool:
        """Whether it is the bundle that came with the package."""
        return self.path == SHIPPED

    @property
    def has_selftest(self) -> bool:
        """Whether it says how it can be tested."""
        return self.has(EXPECTED)

    def read(self, name: str) -> bytes:
        """The bytes of a file that the manifest names, checked again: what was verified is what is used.

        Raises:
            BundleError: The manifest does not name it, or it is not the file that the manifest names.
        """
        if not self.has(name):
            raise BundleError(printable(f"bundle {self.path}: the manifest names no {name}"))
        content: list[bytes] = []
        with open_bundle(self.path) as folder:
            read_checked(folder, name, self.manifest.files[name], content.append)
        return b"".join(content)

    def has(self, name: str) -> bool:
        """Whether the manifest names a file."""
        return name in self.manifest.files


@contextmanager
def open_bundle(path: Path) -> Iterator[int]:
    """Open the folder of a bundle; bundle errors in the block come out naming the bundle.

    Raises:
        BundleError: There is no such folder.
    """
    with ExitStack() as opened:
        try:
            folder = opened.enter_context(open_folder(path))
        except FileNotFoundError:
            raise BundleError(printable(f"bundle {path}: {MANIFEST} is missing")) from None
        except OSError as error:
            raise BundleError(printable(f"bundle {path}: {MANIFEST} cannot be read: {one_line(error)}")) from error
        try:
            yield folder
        except BundleError as error:
            raise type(error)(printable(f"bundle {path}: {error}")) from error
