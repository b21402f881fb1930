"""Which MiniWoB++ tasks there are, the limits of each, and which pages are left out and why.

The wheel's Flight pages are another benchmark and not part of this one.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import yaml

from shared.evaluation.protocol import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

BENCHMARK: Final = "miniwob"


class Tag(StrEnum):
    """What one should know of a task when its results are read; see `tasks.yaml`."""

    VISION = "vision"
    TIMING = "timing"
    CHANCE = "chance"
    NO_STRICT = "no-strict"
    NOT_REPRODUCIBLE = "not-reproducible"


def _read(name: str) -> Any:
    return yaml.safe_load(files(__package__).joinpath(name).read_text("utf-8"))


@cache
def _tasks() -> Mapping[str, Task]:
    return MappingProxyType(
        {
            name: Task(
                benchmark=BENCHMARK,
                name=name,
                category=category,
                difficulty=difficulty,
                max_steps=max_steps,
                timeout_seconds=timeout_seconds,
                tags=tuple(Tag(tag).value for tag in tags),
            )
            for name, (category, difficulty, max_steps, timeout_seconds, *tags) in _read(
                "tasks.yaml"
            ).items()
        }
    )


@cache
def _unsupported() -> Mapping[str, str]:
    return MappingProxyType(_read("unsupported.yaml"))


def catalogue() -> dict[str, Task]:
    """Every supported MiniWoB++ task by its name, in the order of the catalogue."""
    return dict(_tasks())


def unsupported() -> dict[str, str]:
    """Every page of the wheel that is no task here, and the reason."""
    return dict(_unsupported())


def reproducible(task: Task) -> bool:
    """Whether the same seed gives the same page in every load and on every machine."""
    return Tag.NOT_REPRODUCIBLE not in task.tags
