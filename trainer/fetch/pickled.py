"""Reads tiles that a repository keeps as pickled NumPy arrays, without running what a pickle could run.

A pickle is a program. This reader knows only the few names that an array of numbers needs and refuses a file that asks for
any other (the Python documentation, "Restricting Globals").
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from edge.text import one_line
from trainer.errors import TrainerError

_MAX_BYTES = 256 << 20
_TILE = (128, 128, 1)

# NumPy 2 renamed its inner module; files of either kind are about.
_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_ALLOWED = {(module, name) for module in _ARRAY_MODULES for name in ("_reconstruct", "scalar")} | {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class PickledError(TrainerError):
    """A file holds no tiles; the message is one line that names it."""


def read_pickled_tiles(images: Path, labels: Path) -> list[tuple[NDArray[np.uint8], int]]:
    """Tiles with their labels.

    Args:
        images: Holds an array (n, 128, 128, 1) uint8.
        labels: Holds n numbers, 0: damaged, 1: undamaged.

    Returns:
        Of each tile its pixels, (128, 128) grey, and its label.

    Raises:
        PickledError: They hold something else.
    """
    tiles = _load(images)
    if not isinstance(tiles, np.ndarray) or tiles.dtype != np.uint8 or tiles.shape[1:] != _TILE:
        raise PickledError(f"{images}: expected an array of (n, 128, 128, 1) uint8")
    given = _load(labels)
    if not isinstance(given, list | np.ndarray) or len(given) != len(tiles):
        raise PickledError(f"{labels}: expected a label for each of the {len(tiles)} tiles")
    if any(label not in {0, 1} for label in given):
        raise PickledError(f"{labels}: expected labels 0 and 1")
    return [(np.ascontiguousarray(tile[..., 0]), int(label)) for tile, label in zip(tiles, given, strict=True)]


class _Reader(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"asks for {module_name}.{global_name}, which no array needs")
        return super().find_class(module_name, global_name)

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("refers to something outside")


def _load(file: Path) -> Any:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise PickledError(f"{file}: has more than {_MAX_BYTES >> 20} MiB")
        return _Reader(io.BytesIO(file.read_bytes())).load()
    except OSError as error:
        raise PickledError(f"{file}: {one_line(error)}") from error
    except (
        pickle.UnpicklingError,
        ValueError,
        TypeError,
        EOFError,
        AttributeError,
        LookupError,
        ImportError,
        MemoryError,
    ) as error:
        raise PickledError(f"{file}: no pickled array: {one_line(error)}") from error
