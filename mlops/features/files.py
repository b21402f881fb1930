"""Files of values and of points: CSV, or JSONL with the same names as keys."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from mlops.times import moment
from shared.telemetry.features.definitions import DataType, UnfitFeatureError, Value

TIME_OF_VALUE: Final = "event_time"
TIME_OF_POINT: Final = "time"

MOST_LINES: Final = 1_000_000

_ENTITY: Final = "entity"
_TRUTH: Final = {"true": True, "false": False}


class FileError(UnfitFeatureError):
    """A file, or a line of it, that cannot be read."""

    def __init__(self, path: Path, line: int | None, reason: str) -> None:
        super().__init__(f"{path}{'' if line is None else f' line {line}'}: {reason}")


@dataclass(frozen=True)
class _Line:
    number: int
    entity: str
    time: datetime
    cells: Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """The lines of a file, and the columns beside entity and time."""

    path: Path
    columns: tuple[str, ...]
    lines: tuple[_Line, ...]

    def points(self) -> list[tuple[str, datetime]]:
        return [(line.entity, line.time) for line in self.lines]

    def values(
        self, column: str, data_type: DataType
    ) -> tuple[list[int], list[tuple[str, datetime, Value]]]:
        """The values of a column, and the line of each. Cells without one are left out.

        Raises `FileError` for a cell of CSV that is not of that type; JSON has types of its own.
        """
        lines, values = [], []
        for line in self.lines:
            cell = line.cells.get(column)
            if cell is None:
                continue
            if isinstance(cell, _Cell):
                try:
                    cell = _parsed(cell, data_type)
                except ValueError as error:
                    raise FileError(self.path, line.number, f"{column}: {error}") from None
            lines.append(line.number)
            values.append((line.entity, line.time, cell))
        return lines, values


def read(path: Path, time: str) -> Table:
    """A file whose lines have an entity and a time (`time` is its column). Raises `FileError`."""
    rows = {".csv": _csv, ".jsonl": _jsonl, ".ndjson": _jsonl}.get(path.suffix.lower())
    if rows is None:
        raise FileError(path, None, "expected a file that ends in .csv or .jsonl")
    columns: dict[str, None] = {}
    lines: list[_Line] = []
    try:
        for number, row in rows(path):
            if len(lines) >= MOST_LINES:
                raise FileError(path, number, f"expected at most {MOST_LINES} lines")
            lines.append(_line(path, number, row, time))
            columns |= dict.fromkeys(row)
    except OSError as error:
        raise FileError(path, None, str(error.strerror)) from None
    except UnicodeDecodeError:
        raise FileError(path, None, "is not UTF-8") from None
    except csv.Error as error:
        raise FileError(path, None, f"is not CSV: {error}") from None
    named = tuple(name for name in columns if name not in (_ENTITY, time))
    if time == TIME_OF_VALUE and not named:
        raise FileError(path, None, f"expected a column of a feature beside {_ENTITY} and {time}")
    return Table(path, named, tuple(lines))


class _Cell(str):
    """Text of a CSV, which stands for a value of any type."""

    __slots__ = ()


def _line(path: Path, number: int, row: Mapping[str, Any], time: str) -> _Line:
    for name in (_ENTITY, time):
        if row.get(name) is None:
            raise FileError(path, number, f"no {name}")
    try:
        at = moment(row[time])
    except ValueError as error:
        raise FileError(path, number, f"{time}: {error}") from None
    entity = row[_ENTITY]
    if not isinstance(entity, str):
        raise FileError(path, number, f"{_ENTITY}: expected a text")
    return _Line(number, str(entity), at, row)


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    # Excel begins a file with a byte order mark.
    with path.open(newline="", encoding="utf-8-sig") as file:
        table = csv.reader(file, strict=True)
        header = [name.strip() for name in next(table, [])]
        if len(set(header)) < len(header):
            raise FileError(path, 1, "a column is there twice")
        for row in table:
            if not row:
                continue
            if len(row) != len(header):
                reason = f"{len(row)} cells; expected {len(header)} as in the first line"
                raise FileError(path, table.line_num, reason)
            cells = {name: _Cell(c) if c else None for name, c in zip(header, row, strict=True)}
            yield table.line_num, cells


def _jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                raise FileError(path, number, "is not JSON") from None
            if not isinstance(row, dict):
                raise FileError(path, number, "is no JSON object")
            yield number, row


def _parsed(cell: str, data_type: DataType) -> Value:
    if data_type is DataType.TEXT:
        return str(cell)
    if data_type is DataType.BOOLEAN:
        if cell.strip().lower() not in _TRUTH:
            raise ValueError(f"{cell[:100]!r}; expected true or false")
        return _TRUTH[cell.strip().lower()]
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"{cell[:100]!r} is no number") from None
