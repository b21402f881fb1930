"""Which MiniWoB++ tasks there are, and the limits of each."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

import yaml

from shared.evaluation.protocol import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

BENCHMARK = "miniwob"


@cache
def _tasks() -> Mapping[str, Task]:
    rows = yaml.safe_load(files(__package__).joinpath("tasks.yaml").read_text("utf-8"))
    return MappingProxyType(
        {
            name: Task(
                benchmark=BENCHMARK,
                name=name,
                category=category,
                difficulty=difficulty,
                max_steps=max_steps,
                timeout_seconds=timeout_seconds,
            )
            for name, (category, difficulty, max_steps, timeout_seconds) in rows.items()
        }
    )


def catalogue() -> dict[str, Task]:
    """Every supported MiniWoB++ task by its name, in the order of the catalogue."""
    return dict(_tasks())
