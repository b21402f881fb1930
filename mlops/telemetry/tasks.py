"""Which task a call belongs to: that of its thread or asyncio task, which inherits its maker's."""

from __future__ import annotations

import time
from collections import OrderedDict
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID, uuid4

MOST_OPEN: Final = 10_000
"Tasks that are remembered by their identifier; of older ones the duration is unknown."


@dataclass
class OpenTask:
    """A task that was started here."""

    name: str
    outer: OpenTask | None
    "The task that it was started within."
    variant: str | None = None
    unit_id: str | None = None
    id: UUID = field(default_factory=uuid4)
    started: float = field(default_factory=time.perf_counter)
    ended: bool = False
    confidence_sum: float = 0.0
    confident_calls: int = 0

    def hear(self, confidence: object) -> None:
        """What a call of it said; what is no share is refused with its event, and not counted."""
        if isinstance(confidence, (int, float)) and 0 <= confidence <= 1:
            self.confidence_sum += confidence
            self.confident_calls += 1

    @property
    def confidence(self) -> float | None:
        """The mean of what its calls said; None if none of them did."""
        return self.confidence_sum / self.confident_calls if self.confident_calls else None


class Tasks:
    """The open tasks of one collector."""

    def __init__(self) -> None:
        self._current: ContextVar[OpenTask | None] = ContextVar("mlops_task", default=None)
        self._open: OrderedDict[UUID, OpenTask] = OrderedDict()

    def start(self, name: str, variant: str | None = None, unit_id: str | None = None) -> OpenTask:
        """A new task, which is the current one from here on.

        What is done within another task is done for the same unit, if nothing else is said.
        """
        outer = self.current()
        if outer is not None:
            variant = variant or outer.variant
            unit_id = outer.unit_id if unit_id is None else unit_id
        task = OpenTask(name, outer, variant, unit_id)
        self._current.set(task)
        self._open[task.id] = task
        if len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)
        return task

    def current(self) -> OpenTask | None:
        """The innermost task of this context that nobody has ended."""
        task = self._current.get()
        while task is not None and task.ended:
            task = task.outer
        return task

    def find(self, task_id: UUID | str) -> OpenTask | None:
        """An open task of any thread; None if none that is open here has this identifier."""
        if isinstance(task_id, str):
            try:
                task_id = UUID(task_id)
            except ValueError:
                return None
        return self._open.get(task_id) if isinstance(task_id, UUID) else None

    def end(self, task: OpenTask) -> None:
        task.ended = True
        self._open.pop(task.id, None)
        self._current.set(self.current())
