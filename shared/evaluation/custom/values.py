"""What the values of a task are for a seed: the same on every machine, for ever."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from shared.evaluation.custom.parts import placeholders
from shared.evaluation.egress.origins import origin

if TYPE_CHECKING:
    from shared.evaluation.custom.definition import Choices, CustomTask


def drawn(task: CustomTask, seed: int) -> dict[str, str]:
    """The values of `task` for `seed`, without `origin`.

    Cases go round, so that as many seeds as there are cases see each once. Other values are
    drawn by the SHA-256 of seed and name: one that is added changes none of the others.
    """
    values = {name: _one_of(choices, f"{seed}/{name}") for name, choices in task.values.items()}
    case = task.cases[seed % len(task.cases)] if task.cases else {}
    return {**values, **case, "seed": str(seed)}


def _one_of(choices: Choices, chance: str) -> str:
    number = int.from_bytes(hashlib.sha256(chance.encode()).digest(), "big")
    if choices.one_of is not None:
        return choices.one_of[number % len(choices.one_of)]
    assert choices.low is not None
    assert choices.high is not None
    return str(choices.low + number % (choices.high - choices.low + 1))


def told(task: CustomTask, values: dict[str, str]) -> dict[str, str]:
    """Those that the prompt names, which an agent knows anyway."""
    return {name: values[name] for name in placeholders(task.task_prompt) if name in values}


def origin_of(url: str) -> str:
    """As a browser writes it. Raises `OriginError`."""
    return str(origin(url))
