"""The replay agent: does again what a recorded episode did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.evaluation.agents.parameters import ReplayParameters
from shared.evaluation.looks import FIELDS, describe, find
from shared.evaluation.protocol import (
    Action,
    AgentError,
    Decision,
    Observation,
    Part,
    RecordedAction,
    Task,
)
from shared.evaluation.tables import Episode

KIND: Final = "replay"


class ReplayAgent:
    """Plays recorded actions one a step, each on the element that looks as the recorded one did.

    It raises AgentError where there is no such element and at the end of the recording: what the
    page does then is not what was recorded.
    """

    parts: frozenset[Part] = frozenset()

    def __init__(self, parameters: ReplayParameters) -> None:
        if parameters.actions is None:
            raise ValueError(f"the actions of episode {parameters.episode} have not been read")
        self._recorded: Sequence[RecordedAction] = parameters.actions
        self._next = 0

    async def reset(self, task: Task, seed: int) -> None:
        self._next = 0

    async def act(self, observation: Observation) -> Decision:
        if self._next >= len(self._recorded):
            raise AgentError(
                f"the recording ends after {len(self._recorded)} actions, and the task goes on"
            )
        recorded = self._recorded[self._next]
        self._next += 1
        return Decision(self._on_this_page(recorded, observation), reasoning="as recorded")

    async def close(self) -> None:
        """Nothing is held open."""

    def _on_this_page(self, recorded: RecordedAction, observation: Observation) -> Action:
        action = recorded.action
        there = {element.id for element in observation.elements}
        for field in FIELDS:
            named, look = getattr(action, field, None), recorded.looks.get(field)
            if named is None:
                continue
            found = find(look, observation) if look is not None else None
            if found is None and (look is not None or named not in there):
                was = describe(look) if look is not None else f"element {named}"
                raise AgentError(
                    f"action {self._next} of the recording, {action.kind}, was done on {was}, and"
                    " this page has no such element"
                )
            if found is not None:
                action = action.model_copy(update={field: found.id})
        return action


def with_recording(session: Session, kind: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """An agent's parameters, with the actions in the place of the episode that holds them.

    Raises LookupError where this tenant has no such episode, ValueError where it has no actions.
    """
    if kind != KIND or parameters.get("episode") is None:
        return parameters
    identifier = UUID(str(parameters["episode"]))
    found = session.execute(sa.select(Episode.trace).where(Episode.id == identifier)).one_or_none()
    if found is None:
        raise LookupError(f"no episode {identifier} to replay")
    actions = [step for step in found.trace or () if step.get("action") is not None]
    if not actions:
        raise ValueError(f"episode {identifier} has no recorded actions to replay")
    return {"actions": [{"action": s["action"], "looks": s.get("looks", {})} for s in actions]}
