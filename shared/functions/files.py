"""A function's definition from a file, with the place of every mistake and not only the first."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from shared.evaluation.custom.document import FILE_BYTES, Document, read
from shared.functions.definition import (
    FunctionDefinition,
    FunctionError,
    FunctionJudge,
    FunctionVariant,
    QualityRules,
)


class FileMistakesError(FunctionError):
    """A file is no definition. `lines` has a line for each mistake, with its place."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(lines[0] + (f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""))
        self.lines = tuple(lines)


def read_definition(path: Path) -> FunctionDefinition:
    """The definition in a `.json` file, or in YAML. Raises `FileMistakesError`."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise FileMistakesError([f"{path} cannot be read: {error.strerror}"]) from None
    document = _json(path, data) if path.suffix.lower() == ".json" else read(data)
    lines = {
        (*one.place, f"{path}:{one.place.line}:{one.place.column}: {one.said}")
        for one in document.mistakes
    }
    if not lines and not isinstance(document.data, dict):
        lines = {(1, 1, f"{path}:1:1: a function is a mapping with `name` and `variants`")}
    if not lines:
        try:
            return FunctionDefinition.model_validate(document.data)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False)
            lines = {_line(path, document, one) for one in found if not _follows(one)}
    raise FileMistakesError([said for *_, said in sorted(lines)])


def _json(path: Path, data: bytes) -> Document:
    if len(data) > FILE_BYTES:
        raise FileMistakesError([f"{path} has more than {FILE_BYTES} bytes"])
    try:
        return Document(json.loads(data))
    except UnicodeDecodeError:
        raise FileMistakesError([f"{path} is not UTF-8"]) from None
    except json.JSONDecodeError as error:
        said = f"{path}:{error.lineno}:{error.colno}: no valid JSON: {error.msg}"
        raise FileMistakesError([said]) from None
    except RecursionError:
        raise FileMistakesError([f"{path} nests too deep"]) from None


def _follows(error: ErrorDetails) -> bool:
    """Whether it only says that a list is empty once its wrong items are left out."""
    return error["type"] == "too_short" and bool(error["input"])


def _line(path: Path, document: Document, error: ErrorDetails) -> tuple[int, int, str]:
    """Where a mistake is, and what is wrong; a JSON file has no places, but the way to it."""
    where = error["loc"]
    way = ".".join(map(str, where))
    said = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        said = f"unknown key{_suggestion(where)}"
    elif error["type"] == "missing":
        said = "is missing"
    said = f"{way}: {said}" if way else said
    if not document.values:
        return 1, 1, f"{path}: {said}"
    place = document.place_of(where)
    return place.line, place.column, f"{path}:{place.line}:{place.column}: {said}"


def _suggestion(where: tuple[Any, ...]) -> str:
    """What the key may have been meant as, else what there is."""
    known = list(_model_at(where).model_fields)
    near = difflib.get_close_matches(str(where[-1]), known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(known)}"


def _model_at(where: tuple[Any, ...]) -> type[BaseModel]:
    match where:
        case ("variants", _, _):
            return FunctionVariant
        case ("quality", _):
            return QualityRules
        case ("judge", _):
            return FunctionJudge
        case _:
            return FunctionDefinition
