"""Prices of one's own: dated entries in YAML, which come before the embedded table.

    - provider: openai
      model: gpt-4.1-mini
      starts: 2026-01-01
      source: our contract of December 2025
      input: 0.30
      cached_input: 0.075
      output: 1.20

Dollars per million tokens, from the day `starts` (UTC) on. Of several entries for one model the
latest that has begun holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from shared.evaluation.custom.document import FILE_BYTES, Document, Mistake, read
from shared.redaction import redacted


class PriceTableError(ValueError):
    """A price table cannot be read; the message is one line for the user."""


Label = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]


def _shortest(rate: Decimal) -> Decimal:
    return Decimal(format(rate.normalize(), "f"))


Rate = Annotated[
    Decimal,
    Field(ge=0, max_digits=15, decimal_places=6, allow_inf_nan=False),
    # 0.4 and 0.400000 are one price, and an entry has one digest.
    AfterValidator(_shortest),
]
"Dollars per million tokens."


class PriceOverride(BaseModel):
    """One entry. A class of tokens without a rate costs what other input tokens do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: Label
    model: Label
    starts: date
    simulated: bool = False
    "No real money: what it comes to is shown as simulated."
    source: Annotated[
        str,
        Field(min_length=1, max_length=1_000, pattern=r"^[^\x00-\x1f]+$"),
        AfterValidator(redacted),
    ]
    "Where the price is written down, without secrets: it is shown with the price."
    input: Rate
    cached_input: Rate | None = None
    cache_write: Rate | None = None
    cache_write_1h: Rate | None = None
    "Of tokens that are kept for an hour; what is left out costs as other cache writes do."
    output: Rate

    @property
    def key(self) -> tuple[str, str, date]:
        """There is one entry for a model and a day."""
        return self.provider, self.model, self.starts


def read_overrides(path: Path) -> tuple[PriceOverride, ...]:
    """The entries of a YAML file, which is a list; `[]` is none.

    Raises PriceTableError with the line and column of the first mistake and how many more there
    are.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise PriceTableError(f"price table {path}: {error.strerror}") from None
    document = read(data)
    entries: list[tuple[int, PriceOverride]] = []
    mistakes = list(document.mistakes)
    if not mistakes:
        entries, mistakes = _entries(document)
        mistakes += _doubled(document, entries)
    if mistakes:
        raise PriceTableError(_first(path, mistakes))
    return tuple(entry for _, entry in entries)


def written(entries: Iterable[PriceOverride]) -> str:
    """The entries as YAML that `read_overrides` reads back."""
    plain = [
        entry.model_dump(mode="json", exclude_defaults=True)
        for entry in sorted(entries, key=lambda entry: entry.key)
    ]
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)


def _entries(document: Document) -> tuple[list[tuple[int, PriceOverride]], list[Mistake]]:
    if not isinstance(document.data, list):
        said = "expected a list of entries: `- provider: ...`"
        return [], [Mistake(document.place_of(()), (), said)]
    entries, mistakes = [], []
    for number, item in enumerate(document.data):
        try:
            entries.append((number, PriceOverride.model_validate(item)))
        except ValidationError as error:
            for one in error.errors(include_url=False):
                where = (number, *one["loc"])
                mistakes.append(Mistake(document.place_of(where), where, _said(one)))
    return entries, mistakes


def _said(error: ErrorDetails) -> str:
    match error["type"]:
        case "extra_forbidden":
            known = ", ".join(PriceOverride.model_fields)
            return f"unknown key {error['loc'][-1]!r}: it takes {known}"
        case "missing":
            return f"{error['loc'][-1]!r} is missing"
        case "string_type":
            return "must be a text; put it in quotes if it is meant as one"
        case "model_type":
            return "must be a mapping of keys and values"
        case _:
            return error["msg"]


def _doubled(document: Document, entries: list[tuple[int, PriceOverride]]) -> Iterator[Mistake]:
    first: dict[tuple[str, str, date], int] = {}
    for number, entry in entries:
        before = first.setdefault(entry.key, number)
        if before != number:
            line = document.place_of((before,)).line
            said = (
                f"{entry.provider}/{entry.model} has a price from {entry.starts} on already,"
                f" in line {line}"
            )
            yield Mistake(document.place_of((number,)), (number,), said)


def _first(path: Path, mistakes: list[Mistake]) -> str:
    first = min(mistakes, key=lambda one: one.place)
    way = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first.where)
    more = f" (and {len(mistakes) - 1} more mistakes)" if len(mistakes) > 1 else ""
    said = f"{way}: {first.said}" if way else first.said
    return f"price table {path}:{first.place.line}:{first.place.column}: {said}{more}"
