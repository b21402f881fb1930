"""The rule-based agent: written rules for known kinds of goals, no model and no cost."""

from __future__ import annotations

from shared.evaluation.agents.policies.families import choose
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import Decision, Observation, Part, Task


class RuleBasedAgent:
    """Follows the policy of the family that the goal's text belongs to.

    It reads the goal and the page as any agent does, and reports a goal that it has no rule for
    as infeasible.
    """

    parts: frozenset[Part] = frozenset()

    def __init__(self) -> None:
        self._memory = Memory()

    async def reset(self, task: Task, seed: int) -> None:
        self._memory = Memory()

    async def act(self, observation: Observation) -> Decision:
        memory = self._memory.with_error(observation.last_error)
        choice = choose(observation, memory)
        self._memory = memory.after(choice.action, observation)
        return Decision(choice.action, reasoning=choice.family or "no rule for this goal")

    async def close(self) -> None:
        """Nothing is held open."""
