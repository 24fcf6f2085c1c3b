"""What a training goes on from after it was interrupted."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.text import one_line
from trainer.files import replace_file


@dataclass(slots=True)
class Progress:
    """How far a training is.

    Attributes:
        epoch: How many are done.
        seconds: Spent so far, over all interruptions.
        history: For each epoch what was measured.
        best_loss: Least on the validation part; `waited`: epochs since then.
    """

    epoch: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best_loss: float | None = None
    waited: int = 0


def save(path: Path, progress: Progress, arrays: dict[str, NDArray[Any]]) -> None:
    """Replace the checkpoint; at any moment there is a whole one.

    Raises:
        OSError: There is no room.
    """
    content = io.BytesIO()
    # A text as bytes: no array of objects, which would have to be unpickled.
    np.savez(content, progress=np.frombuffer(json.dumps(asdict(progress)).encode(), np.uint8), **arrays)  # type: ignore[arg-type]
    replace_file(path, content.getvalue())


def load(path: Path) -> tuple[Progress, dict[str, NDArray[Any]]] | None:
    """The checkpoint; None if there is none, or none that can be read, which is said on standard error."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return Progress(**json.loads(arrays.pop("progress").tobytes())), arrays
    except FileNotFoundError:
        return None
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        print(f"{path} cannot be read, so the training begins anew: {one_line(error)}", file=sys.stderr)
        return None
