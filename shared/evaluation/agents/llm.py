"""The LLM agent: the page to an OpenAI-compatible endpoint, a validated action back."""

from __future__ import annotations

import json
from typing import Any, Final

from shared.evaluation.agents import prompting
from shared.evaluation.agents.actions import tool_definitions
from shared.evaluation.agents.answering import (
    Answer,
    UnusableAnswerError,
    read_answer,
    read_tool_call,
)
from shared.evaluation.agents.endpoint import Endpoint, Message, Reply
from shared.evaluation.agents.parameters import LlmParameters
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.agents.prompting import Mode
from shared.evaluation.protocol import (
    PAGE_ACTIONS,
    AgentError,
    Decision,
    EndpointError,
    LlmCall,
    Observation,
    Task,
    storable,
)

MAX_REASONING: Final = 2_000
_SENT_BACK: Final = 20_000
"Characters of an answer that could not be used: the model is shown what it said, not paid for it."


class LlmAgent:
    """Asks a model in every step, with the goal, the earlier actions and the page.

    An answer that is no valid action is sent back with what is wrong, `max_repairs` times; then
    the step fails with AgentError, which carries the calls made.
    """

    def __init__(self, parameters: LlmParameters) -> None:
        self.parts = prompting.parts_for(parameters.page, parameters.vision)
        self._parameters = parameters
        self._endpoint = Endpoint(parameters)
        self._memory = Memory()
        self._actions: tuple[str, ...] = PAGE_ACTIONS

    async def reset(self, task: Task, seed: int) -> None:
        self._memory = Memory()
        self._actions = task.actions
        self._endpoint.begin(task.timeout_seconds)

    async def act(self, observation: Observation) -> Decision:
        """Raises AgentError, and EndpointError where the endpoint is at fault."""
        memory = self._memory.with_error(observation.last_error)
        calls = self._endpoint.calls = []
        try:
            answer = await self._ask(observation, memory)
        except EndpointError as error:
            raise EndpointError(
                str(error), tuple(calls), permanent=error.permanent
            ) from error.__cause__
        self._memory = memory.after(answer.action, observation)
        return Decision(answer.action, tuple(calls), answer.reasoning[:MAX_REASONING])

    def calls_of_step(self) -> tuple[LlmCall, ...]:
        return tuple(self._endpoint.calls)

    def endpoint_at_fault(self) -> str | None:
        return self._endpoint.at_fault()

    async def close(self) -> None:
        await self._endpoint.close()

    async def _ask(self, observation: Observation, memory: Memory) -> Answer:
        parameters = self._parameters
        messages = self._prompt(observation, memory)
        tools = tool_definitions(self._actions) if parameters.mode is Mode.TOOLS else None
        problem = ""
        for _ in range(parameters.max_repairs + 1):
            reply = await self._endpoint.ask(messages, tools)
            try:
                answer = self._answer(reply, observation)
            except UnusableAnswerError as error:
                problem = f"{error} (cut off at its longest)" if reply.cut_off else str(error)
                self._mark(error_type="invalid_answer")
                messages += self._repair(reply, problem)
                continue
            self._mark(confidence=answer.confidence)
            return answer
        raise AgentError(
            f"{parameters.model!r} gave no usable action in {parameters.max_repairs + 1} answers; "
            f"the last one: {problem}",
            tuple(self._endpoint.calls),
        )

    def _prompt(self, observation: Observation, memory: Memory) -> list[Message]:
        chosen = self._parameters
        system = prompting.system_prompt(
            chosen.prompt_version,
            self._actions,
            mode=chosen.mode,
            page=chosen.page,
            vision=chosen.vision,
        )
        turn = prompting.step_prompt(
            chosen.prompt_version,
            observation,
            memory,
            chosen.max_page_characters,
            page=chosen.page,
            history_steps=chosen.history_steps,
        )
        return [
            {"role": "system", "content": system},
            {
                "role": "user",
                "content": prompting.content(storable(turn), observation, chosen.vision),
            },
        ]

    def _answer(self, reply: Reply, observation: Observation) -> Answer:
        if self._parameters.mode is Mode.TEXT:
            answer = read_answer(reply.text, observation)
        elif reply.tool_calls:
            function = reply.tool_calls[0].function
            answer = read_tool_call(function.name, function.arguments, observation)
        else:
            # Some models say in text what they were to call: it is checked all the same.
            answer = read_answer(reply.text, observation)
        if answer.action.kind not in self._actions:
            raise UnusableAnswerError(
                f"{answer.action.kind} is not possible here: there is {', '.join(self._actions)}"
            )
        return answer

    def _repair(self, reply: Reply, problem: str) -> list[Message]:
        mode = self._parameters.mode
        said = reply.text[:_SENT_BACK]
        repair = prompting.repair_prompt(self._parameters.prompt_version, problem, mode)
        if mode is Mode.TEXT or not reply.tool_calls:
            return [{"role": "assistant", "content": said}, {"role": "user", "content": repair}]
        # Of several calls the first was read; OpenAI wants an answer to each that is shown.
        call = reply.tool_calls[0]
        identifier = call.id or "call_0"
        function: dict[str, Any] = {
            "name": call.function.name,
            "arguments": _as_text(call.function.arguments)[:_SENT_BACK],
        }
        return [
            {
                "role": "assistant",
                "content": said or None,
                "tool_calls": [{"id": identifier, "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": identifier, "content": repair},
        ]

    def _mark(self, **what: str | float | None) -> None:
        """Note on the last call what only the reader of its answer can know."""
        calls: list[LlmCall] = self._endpoint.calls
        calls[-1] = calls[-1].model_copy(update=what)


def _as_text(arguments: str | dict[str, Any] | None) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments or {})
