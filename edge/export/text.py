"""Results as CSV and as GeoJSON, row by row."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterable
from datetime import datetime
from typing import Any, BinaryIO

import msgspec

from edge.export.results import Result
from edge.messages import rfc3339

_PLACE = ("latitude", "longitude", "altitude_m")
# What a spreadsheet takes for the beginning of a formula (https://owasp.org/www-community/attacks/CSV_Injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_FIELDS = Result.__struct_fields__


def write_csv(results: Iterable[Result], file: BinaryIO) -> None:
    """A table with a header, as RFC 4180 has it but for its line ends, in UTF-8; what is not known is empty.

    A text that a spreadsheet would take for a formula, such as a file name, has an apostrophe before it, which spreadsheets
    take for "this is text". Numbers are as they are.
    """
    writer = csv.writer(codecs.getwriter("utf-8")(file), lineterminator="\n")
    writer.writerow(_FIELDS)
    for result in results:
        writer.writerow([_cell(getattr(result, name)) for name in _FIELDS])


def write_geojson(results: Iterable[Result], file: BinaryIO) -> None:
    """A FeatureCollection (RFC 7946), one Feature a line; without a position its geometry is null."""
    file.write(b'{"type":"FeatureCollection","features":[')
    separator = b"\n"
    for result in results:
        file.write(separator + msgspec.json.encode(_feature(result)))
        separator = b",\n"
    file.write(b"\n]}\n")


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | msgspec.Struct):
        return msgspec.json.encode(value).decode()
    return value


def _feature(result: Result) -> dict[str, Any]:
    properties = {name: getattr(result, name) for name in _FIELDS if name not in _PLACE}
    for name in ("created_at", "recorded_at"):
        if properties[name] is not None:
            properties[name] = rfc3339(properties[name])
    geometry = None
    if result.latitude is not None:
        coordinates = [result.longitude, result.latitude, *([] if result.altitude_m is None else [result.altitude_m])]
        geometry = {"type": "Point", "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": properties}
