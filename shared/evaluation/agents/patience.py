"""Whose fault it is when a task's time ends while a model owes an answer. Pure: times are given.

A slow model that uses its task's time up in many normal calls has been too slow: that is the
agent's timeout. An endpoint that hangs, drips, fails and is tried again, or lets nobody in, has
kept the agent from playing: that says nothing of the agent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

_MARGIN: Final = 0.1
_LEAST_MARGIN_SECONDS: Final = 0.5
_MOST_MARGIN_SECONDS: Final = 5.0
_HALF: Final = 0.5
_GRANTED_TO_ANY: Final = 0.125
_TIMES_THE_SLOWEST: Final = 3.0


@dataclass(frozen=True)
class Waiting:
    """Where an episode stands when a model is asked. All in seconds."""

    elapsed: float
    "Of the task's time, since the agent was given the task."
    waited: float
    "For the answer to this question, by earlier tries."
    lost: float
    "In all of the episode, to tries that gave no answer and to waiting between them."
    slowest_answer: float | None
    "None as long as none was given."


@dataclass(frozen=True)
class Patience:
    """How long an endpoint may keep an agent waiting in one task. All in seconds."""

    task_seconds: float
    call_seconds: float
    "The limit that is set for one call."

    of_whom: ClassVar[str] = "of the task"

    def kept_waiting(self, now: Waiting) -> str:
        """Who was kept waiting, and for how long."""
        return f"the agent waiting for {now.lost:.1f} s of its task's {self.task_seconds:g} s"

    @property
    def usable(self) -> float:
        """How much of the task's time calls may take, so that there is time to tell its end.

        What is left is for the page's loading too: a task's time runs from before it.
        """
        margin = min(max(_MARGIN * self.task_seconds, _LEAST_MARGIN_SECONDS), _MOST_MARGIN_SECONDS)
        return max(self.task_seconds - margin, _HALF * self.task_seconds)

    @property
    def one_call(self) -> float:
        """After how long one call is given up: its own limit, or half of the task's time."""
        return min(self.call_seconds, _HALF * self.task_seconds)

    def overdue_after(self, slowest_answer: float | None) -> float:
        """From how much waiting for one answer on the endpoint is at fault and not the agent.

        An endpoint that has answered owes the next answer in three times its slowest; an eighth
        of the task's time is granted to any.
        """
        if slowest_answer is None:
            return self.one_call
        granted = max(_TIMES_THE_SLOWEST * slowest_answer, _GRANTED_TO_ANY * self.task_seconds)
        return min(self.one_call, granted)

    def limit(self, now: Waiting) -> float:
        """How long the next attempt may take; not above 0 when there is no time for one.

        It ends with the usable time if it is overdue by then. If not, it may go on until it is,
        and the task's own end, which counts against the agent, may come before that.
        """
        return min(self.one_call, max(self.left(now), self._until_overdue(now)))

    def left(self, now: Waiting) -> float:
        """How much of the usable time is left."""
        return self.usable - now.elapsed

    def blames(self, now: Waiting) -> bool:
        """Whether the endpoint is at fault if the task's time is over now."""
        return self._until_overdue(now) <= 0

    def _until_overdue(self, now: Waiting) -> float:
        """Half of the task's time is the most that may be lost on the way to all answers."""
        return min(
            self.overdue_after(now.slowest_answer) - now.waited,
            _HALF * self.task_seconds - now.lost,
        )


@dataclass(frozen=True)
class Deadline:
    """The same where all of the time is the endpoint's and nothing comes after it. In seconds."""

    seconds: float
    call_seconds: float
    "The limit that is set for one call."

    of_whom: ClassVar[str] = "before the deadline"

    def kept_waiting(self, now: Waiting) -> str:
        return f"the caller waiting for {now.lost:.1f} s until the deadline of {self.seconds:g} s"

    def limit(self, now: Waiting) -> float:
        """How long the next attempt may take; not above 0 when there is no time for one."""
        return min(self.call_seconds, self.left(now))

    def left(self, now: Waiting) -> float:
        return self.seconds - now.elapsed

    def blames(self, now: Waiting) -> bool:
        """Nobody else's time is in it."""
        return True
