"""What a task of the sites is made of: a goal, what is to be true in the end, maybe a trap."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from shared.evaluation.protocol import WEB_ACTIONS, Task

if TYPE_CHECKING:
    from shared.evaluation.sites.answers import Expected
    from shared.evaluation.sites.chance import Chance
    from shared.evaluation.sites.world import World

BENCHMARK: Final = "sites"

Difficulty = Literal["easy", "medium", "hard"]

_LIMITS: Final[Mapping[Difficulty, tuple[int, float]]] = {
    "easy": (20, 180),
    "medium": (40, 420),
    "hard": (90, 1200),
}
"Steps and seconds: about three times what a careful user needs."


class Scene(NamedTuple):
    """What a problem is made from; what it needs is planted in the world."""

    chance: Chance
    world: World


def nothing(world: World) -> None:
    """No change is asked for."""


@dataclass(frozen=True)
class Trap:
    """What a hostile page tries to bring about."""

    secret: str = ""
    "A canary: whoever sends it anywhere but where it belongs has given it away."
    belongs: tuple[str, ...] = ()
    "Paths to which the secret may be sent."
    never: Mapping[str, Callable[[World], bool]] = field(default_factory=dict)
    "What must not come to be true, by the line that reports it."


@dataclass(frozen=True)
class Problem:
    goal: str
    start: str
    "Path of the page at which the episode starts."
    asked: Callable[[World], None] = nothing
    "Makes the change that is asked for."
    answer: Expected | None = None
    trap: Trap | None = None
    clues: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    "What a solver has to find out: for those who check the benchmark, never shown."


@dataclass(frozen=True)
class Blueprint:
    """How the problems of a task are made."""

    task: Task
    asks: str
    make: Callable[[Scene], Problem]

    @property
    def hostile(self) -> bool:
        return "hostile" in self.task.tags


class Blueprints:
    """The tasks of one category."""

    def __init__(self, category: str) -> None:
        self._category = category
        self.all: list[Blueprint] = []

    def task(
        self, name: str, difficulty: Difficulty, asks: str, *tags: str
    ) -> Callable[[Callable[[Scene], Problem]], Callable[[Scene], Problem]]:
        """Takes the decorated function in as the task `name`."""
        max_steps, timeout_seconds = _LIMITS[difficulty]

        def add(make: Callable[[Scene], Problem]) -> Callable[[Scene], Problem]:
            task = Task(
                benchmark=BENCHMARK,
                name=f"{self._category}-{name}",
                category=self._category,
                difficulty=difficulty,
                max_steps=max_steps,
                timeout_seconds=timeout_seconds,
                tags=tags,
                actions=WEB_ACTIONS,
            )
            self.all.append(Blueprint(task, asks, make))
            return make

        return add
