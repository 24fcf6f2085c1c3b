"""Writes the results of a journal to a file or to standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Literal

from edge.export.errors import ExportError
from edge.export.parquet import check_parquet, write_parquet
from edge.export.results import Result, results
from edge.export.text import write_csv, write_geojson
from edge.journal import reader

Format = Literal["csv", "geojson", "parquet"]

_WRITERS: dict[Format, Callable[[Iterable[Result], BinaryIO], None]] = {
    "csv": write_csv,
    "geojson": write_geojson,
    "parquet": write_parquet,
}


def export(
    journal: Path, form: Format, output: Path | None = None, since: datetime | None = None, *, alerts_only: bool = False
) -> None:
    """Write every result of a journal, also while a daemon writes into it.

    Args:
        output: A file, which is there when it is complete; None: standard output.
        since: Only frames that were recorded then or later.

    Raises:
        JournalError: There is no journal, or it cannot be read.
        ExportError: The file cannot be written, or what writes it is not installed.
    """
    if form == "parquet":
        check_parquet()
    write = _WRITERS[form]
    with (
        nullcontext(sys.stdout.buffer) if output is None else _complete(output) as file,
        # Within: only at its end it is sure that what was read fits together.
        reader(journal) as database,
        closing(results(database, since, alerts_only=alerts_only)) as rows,
    ):
        write(rows, file)
        file.flush()


@contextmanager
def _complete(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its name when the block has ended well; until then an old one of that name is as it was.

    Raises:
        ExportError: It cannot be written.
    """
    target = path.resolve()
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if target.exists() and not target.is_file():
            # A pipe or a device: there is nothing to be replaced.
            with target.open("wb") as file:
                yield file
            return
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ExportError(f"{path}: cannot be written: {error.strerror or error}") from error
