"""A definition's file, checked: every mistake with its line and column, not only the first."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from shared.evaluation.custom import scorers
from shared.evaluation.custom.definition import CustomBenchmark, Start, Where
from shared.evaluation.custom.document import FILE_BYTES, Document, Mistake, Place, read
from shared.evaluation.custom.files import FixtureError, read_in, read_start


@dataclass(frozen=True)
class Checked:
    """What came of reading a file: a benchmark with its fixtures read in, unless mistakes."""

    document: Document
    mistakes: tuple[Mistake, ...]
    benchmark: CustomBenchmark | None


class DefinitionError(ValueError):
    """A file is no definition; the message is one line with its first mistake."""


def load(path: Path) -> CustomBenchmark:
    """The benchmark in a YAML file. Raises `DefinitionError` with the first mistake, and says how
    to see all of them.
    """
    checked = check(path)
    if checked.benchmark is None:
        first = checked.mistakes[0]
        more = len(checked.mistakes) - 1
        rest = f" (and {more} more: `mlops evaluate validate {path}` shows all)" if more else ""
        place = f"{path}:{first.place.line}:{first.place.column}"
        raise DefinitionError(f"{place}: {sentence(first)}{rest}")
    return checked.benchmark


def sentence(mistake: Mistake) -> str:
    """A mistake in one line: the way to it, and what is wrong."""
    way = "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" for step in mistake.where
    ).lstrip(".")
    return f"{way}: {mistake.said}" if way else mistake.said


def check(path: Path) -> Checked:
    """Everything that is wrong with a file, as far as it can be told without a browser."""
    if path.exists() and not path.is_file():
        raise DefinitionError(f"{path} is no file")
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise DefinitionError(f"{path} cannot be read: {error.strerror}") from None
    document = read(data)
    mistakes = list(document.mistakes)
    whole: CustomBenchmark | None = None
    if document.data is None or not isinstance(document.data, dict):
        if not mistakes:
            said = "a definition is a mapping with `name` and `tasks`"
            mistakes.append(Mistake(document.place_of(()), (), said))
    else:
        found, whole = _validated(document)
        mistakes += found
        mistakes += _of_fixtures(document, path.parent)
        mistakes += _of_scorers(document)
        if not mistakes and whole is not None:
            try:
                # Once more with the fixtures: values may be filled into them.
                whole = CustomBenchmark.model_validate(read_in(whole, path.parent).definition())
            except ValidationError as error:
                mistakes += [_mistake(document, one) for one in error.errors(include_url=False)]
            except ValueError as error:
                mistakes.append(Mistake(Place(1, 1), (), str(error)))
    unique = tuple(sorted(set(mistakes), key=lambda one: (one.place, str(one.where), one.said)))
    return Checked(document, unique, None if unique else whole)


def _validated(document: Document) -> tuple[list[Mistake], CustomBenchmark | None]:
    names = list(_of_names(document))
    try:
        return names, CustomBenchmark.model_validate(document.data)
    except ValidationError as error:
        found = [one for one in error.errors(include_url=False) if not _follows(one)]
        told = {name.place for name in names}
        others = [_mistake(document, one) for one in found]
        return [*names, *(one for one in others if one.place not in told)], None


def _follows(error: ErrorDetails) -> bool:
    """Whether it only says that a list is empty once its wrong items are left out."""
    return error["type"] == "too_short" and bool(error["input"])


def _mistake(document: Document, error: ErrorDetails) -> Mistake:
    where: Where = error["loc"]
    said = error["msg"].removeprefix("Value error, ")
    match error["type"]:
        case "extra_forbidden":
            said = f"unknown key {where[-1]!r}{_suggestion(where)}"
        case "missing":
            said = f"{where[-1]!r} is missing"
        case "string_type":
            said = "must be a text; put it in quotes if it is meant as one"
        case "tuple_type":
            said = "must be a list"
        case "model_type" | "dict_type":
            said = "must be a mapping of keys and values"
    return Mistake(document.place_of(where), where, said)


def _suggestion(where: Where) -> str:
    model = _model_at(CustomBenchmark, where[:-1])
    known = [field.alias or name for name, field in model.model_fields.items()]
    near = difflib.get_close_matches(str(where[-1]), known, n=1, cutoff=0.5)
    if near:
        return f": did you mean {near[0]!r}?"
    return f": it takes {', '.join(known)}"


def _model_at(model: type[BaseModel], where: Where) -> type[BaseModel]:
    for step in where:
        for name, field in model.model_fields.items():
            if step == (field.alias or name):
                model = next(_models_in(field.annotation), model)
                break
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


# What pydantic would only look at once all the rest is right is looked for in the data itself.


def _tasks(document: Document) -> Iterator[tuple[int, dict[str, Any]]]:
    tasks = document.data.get("tasks")
    for number, task in enumerate(tasks if isinstance(tasks, list) else ()):
        if isinstance(task, dict):
            yield number, task


def _of_names(document: Document) -> Iterator[Mistake]:
    from shared.evaluation.benchmarks import NAMES

    name = document.data.get("name")
    if isinstance(name, str) and name in NAMES:
        said = f"{name!r} is a benchmark that comes with this program: choose another name"
        yield Mistake(document.place_of(("name",)), ("name",), said)
    seen: dict[str, int] = {}
    for number, task in _tasks(document):
        own = task.get("name")
        if not isinstance(own, str):
            continue
        where: Where = ("tasks", number, "name")
        if own in seen:
            first = document.place_of(("tasks", seen[own], "name"))
            said = f"there are two tasks {own!r}, the first in line {first.line}"
            yield Mistake(document.place_of(where), where, said)
        seen.setdefault(own, number)


def _of_fixtures(document: Document, folder: Path) -> Iterator[Mistake]:
    starts: list[tuple[Where, Any]] = [
        (("tasks", number, "start"), task.get("start")) for number, task in _tasks(document)
    ]
    defaults = document.data.get("defaults")
    if isinstance(defaults, dict):
        starts.append((("defaults", "start"), defaults.get("start")))
    for where, given in starts:
        try:
            start = Start.model_validate(given)
        except ValidationError:
            continue  # told already
        try:
            read_start(start, folder)
        except FixtureError as error:
            at = (*where, "file" if start.file is not None else "folder")
            yield Mistake(document.place_of(at), at, str(error))


def _of_scorers(document: Document) -> Iterator[Mistake]:
    known: tuple[str, ...] | None = None
    for where, name in _scorers_in(document.data, ()):
        known = scorers.names() if known is None else known
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            there = f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(known)}"
            said = f"no scorer {name!r} is installed here; {there if known else 'there is none'}"
            yield Mistake(document.place_of(where), where, said)


def _scorers_in(value: Any, where: Where) -> Iterator[tuple[Where, str]]:
    """Its recursion ends: a document is at most `DEPTH` levels deep."""
    if isinstance(value, list):
        for number, one in enumerate(value):
            yield from _scorers_in(one, (*where, number))
    elif isinstance(value, dict):
        for key, one in value.items():
            here = (*where, key)
            if key == "scorer" and "success_criteria" in where:
                name = one.get("name") if isinstance(one, dict) else one
                if isinstance(name, str):
                    yield here, name
            else:
                yield from _scorers_in(one, here)
