"""Results that others have published, with their source, date and settings."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared.evaluation.intervals import Interval, wilson

SHIPPED = Path(__file__).with_name("published.yaml")


class PublishedError(ValueError):
    """A file of published results that cannot be read; the message is one line."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Settings(_Frozen):
    """How a published result was made, as far as it decides what it may be compared with."""

    tasks: int = Field(ge=1)
    seeds: int = Field(ge=1)
    "Per task."
    max_steps: int = Field(ge=1)
    pages: str
    "What else is not as it is here."


class Result(_Frozen):
    model: str
    date: date
    software: str
    rate: float = Field(ge=0, le=1)
    "Rounded as it was published."
    episodes: int = Field(ge=1)

    @property
    def interval(self) -> Interval | None:
        """Wilson's, 95 %, as if the episodes were independent: their tasks are not published."""
        return wilson(round(self.rate * self.episodes), self.episodes)


class Source(_Frozen):
    """What one publication says."""

    source: str
    url: str
    benchmark: str
    criterion: str
    "When an episode counts as a success there."
    settings: Settings
    results: Annotated[tuple[Result, ...], Field(min_length=1)]


_SOURCES: TypeAdapter[tuple[Source, ...]] = TypeAdapter(tuple[Source, ...])


def read(path: Path) -> tuple[Source, ...]:
    """The sources of a YAML file; raises `PublishedError`, which names the entry that is wrong."""
    try:
        return _SOURCES.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PublishedError(f"{path}: {where or 'the file'}: {first['msg']}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or "is no UTF-8 text in YAML"
        raise PublishedError(f"{path}: {reason}") from None


@lru_cache(maxsize=1)
def shipped() -> tuple[Source, ...]:
    """The published results that this release knows."""
    return read(SHIPPED)
