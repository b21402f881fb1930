"""What a feature is: its name and version, the type of its values, and where they come from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, get_args

from shared.telemetry.events import Event
from shared.telemetry.metrics import MONITORED


class FeatureError(ValueError):
    """The feature store cannot do this; the message is one line."""


class UnknownFeatureError(FeatureError):
    """There is no feature of that name, or no such version of it."""


class UnfitFeatureError(FeatureError):
    """A feature, a value or a question that the store does not take."""


class DataType(StrEnum):
    NUMBER = "number"
    "A double: finite, and exact for whole numbers up to 2**53."
    TEXT = "text"
    BOOLEAN = "boolean"


Value = float | str | bool
"A value of a feature, by its `DataType`."


class SourceKind(StrEnum):
    ROLLUP = "rollup"
    "A metric of the hourly rollups."
    EVENT = "event"
    "A field of an event: `llm_call.latency_ms`, `action.attributes.retries`."
    QUERY = "query"
    "Names, in words, the query or program that writes the values."


@dataclass(frozen=True)
class Source:
    """Where the values of a feature come from. Raises `UnfitFeatureError` for what is not there."""

    kind: SourceKind
    name: str

    def __post_init__(self) -> None:
        if self.kind is SourceKind.ROLLUP and self.name not in _METRICS:
            raise UnfitFeatureError(
                f"no metric {self.name[:100]!r} in the rollups; expected {', '.join(_METRICS)}"
            )
        if self.kind is SourceKind.EVENT:
            _require_field(self.name)

    @classmethod
    def parse(cls, text: str) -> Source:
        """`rollup:METRIC`, `event:KIND.FIELD`, or words that name a query."""
        kind, colon, name = text.partition(":")
        if colon and kind in list(SourceKind):
            return cls(SourceKind(kind), name.strip())
        return cls(SourceKind.QUERY, text.strip())

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True)
class Feature:
    """A version of a feature. `created_at` is None for what comes with the product."""

    name: str
    version: int
    data_type: DataType
    owner: str
    description: str
    unit: str
    source: Source
    created_at: datetime | None = None

    @property
    def key(self) -> str:
        return f"{self.name}@{self.version}"


_METRICS: Final = tuple(one.value for one in MONITORED)

_FIELDS: Final = {
    str(model.model_fields["kind"].default): frozenset(model.model_fields) - {"kind", "attributes"}
    for model in get_args(get_args(Event)[0])
}
"By kind of event."

_ATTRIBUTE: Final = re.compile(r"attributes\.[^\x00-\x1f]{1,200}")


def _require_field(name: str) -> None:
    kind, _, field = name.partition(".")
    if kind not in _FIELDS:
        raise UnfitFeatureError(
            f"no kind of event {kind[:100]!r}; expected KIND.FIELD of {', '.join(_FIELDS)}"
        )
    if field not in _FIELDS[kind] and _ATTRIBUTE.fullmatch(field) is None:
        raise UnfitFeatureError(
            f"no field {field[:100]!r} in events of the kind {kind}; expected attributes.NAME or "
            + ", ".join(sorted(_FIELDS[kind]))
        )
