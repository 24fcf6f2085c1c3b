"""Results as Parquet, with a type for each column, in groups of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from edge.export.errors import ExportError
from edge.export.results import Result
from edge.text import one_line

if TYPE_CHECKING:
    from pyarrow import Schema

# Held in memory at once: some 10 MB.
_ROWS_IN_GROUP = 10_000


def check_parquet() -> None:
    """See whether Parquet can be written.

    Raises:
        ExportError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ExportError(f"--format parquet: needs pyarrow (pip install 'overflight[parquet]'): {one_line(error)}") from error


def write_parquet(results: Iterable[Result], file: BinaryIO) -> None:
    """Write all results; no row is allowed as well."""
    from pyarrow import RecordBatch
    from pyarrow.parquet import ParquetWriter

    schema = _schema()
    with ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(results):
            columns = {name: [_value(getattr(result, name)) for result in group] for name in schema.names}
            writer.write_batch(RecordBatch.from_pydict(columns, schema=schema))


def _groups(results: Iterable[Result]) -> Iterator[list[Result]]:
    rest = iter(results)
    while group := list(islice(rest, _ROWS_IN_GROUP)):
        yield group


def _value(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.json.encode(value).decode()
    # A map's entries.
    return list(value.items()) if isinstance(value, dict) else value


def _schema() -> Schema:
    import pyarrow as pa

    types = {
        "size_bytes": pa.int64(),
        "created_at": pa.timestamp("ms", tz="UTC"),
        "recorded_at": pa.timestamp("ms", tz="UTC"),
        "confidence": pa.float64(),
        "probabilities": pa.map_(pa.string(), pa.float64()),
        "inference_ms": pa.float64(),
        "total_ms": pa.float64(),
        "latitude": pa.float64(),
        "longitude": pa.float64(),
        "altitude_m": pa.float64(),
        "alert_sequence": pa.int64(),
        "alert_delivered": pa.bool_(),
        "alert_revision": pa.int32(),
        "alert_count": pa.int32(),
        "run": pa.int64(),
        "physical_cores": pa.int32(),
        "logical_cores": pa.int32(),
        "memory_bytes": pa.int64(),
        "in_container": pa.bool_(),
    }
    return pa.schema([(name, types.get(name, pa.string())) for name in Result.__struct_fields__])
