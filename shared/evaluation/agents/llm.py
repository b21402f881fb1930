"""The LLM agent: the page as text to an OpenAI-compatible endpoint, a validated action back."""

from __future__ import annotations

from openai.types.chat import ChatCompletionMessageParam

from shared.evaluation.agents.answering import Answer, UnusableAnswerError, read_answer
from shared.evaluation.agents.endpoint import Endpoint
from shared.evaluation.agents.parameters import LlmParameters
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.agents.prompting import repair_prompt, step_prompt, system_prompt
from shared.evaluation.protocol import (
    PAGE_ACTIONS,
    AgentError,
    Decision,
    EndpointError,
    LlmCall,
    Observation,
    Part,
    Task,
    storable,
)

MAX_REASONING = 2_000


class LlmAgent:
    """Asks a model in every step, with the goal, the earlier actions and the page.

    An answer that is no valid action is sent back with what is wrong, `max_repairs` times; then
    the step fails with AgentError, which carries the calls made.
    """

    parts: frozenset[Part] = frozenset()

    def __init__(self, parameters: LlmParameters) -> None:
        self._parameters = parameters
        self._endpoint = Endpoint(parameters)
        self._memory = Memory()
        self._actions: tuple[str, ...] = PAGE_ACTIONS

    async def reset(self, task: Task, seed: int) -> None:
        self._memory = Memory()
        self._actions = task.actions

    async def act(self, observation: Observation) -> Decision:
        """Raises AgentError, and EndpointError where the endpoint is at fault."""
        memory = self._memory.with_error(observation.last_error)
        calls = self._endpoint.calls = []
        try:
            answer = await self._ask(observation, memory)
        except EndpointError as error:
            raise EndpointError(str(error), tuple(calls)) from error.__cause__
        self._memory = memory.after(answer.action, observation)
        return Decision(answer.action, tuple(calls), answer.reasoning[:MAX_REASONING])

    def calls_of_step(self) -> tuple[LlmCall, ...]:
        return tuple(self._endpoint.calls)

    async def close(self) -> None:
        await self._endpoint.close()

    async def _ask(self, observation: Observation, memory: Memory) -> Answer:
        parameters = self._parameters
        version = parameters.prompt_version
        turn = storable(step_prompt(version, observation, memory, parameters.max_page_characters))
        messages: list[ChatCompletionMessageParam] = [
            {"role": "system", "content": system_prompt(version, self._actions)},
            {"role": "user", "content": turn},
        ]
        problem = ""
        for _ in range(parameters.max_repairs + 1):
            text = await self._endpoint.ask(messages)
            try:
                answer = read_answer(text, observation)
            except UnusableAnswerError as error:
                problem = str(error)
                self._mark(error_type="invalid_answer")
                messages += [
                    {"role": "assistant", "content": text},
                    {"role": "user", "content": repair_prompt(version, problem)},
                ]
                continue
            self._mark(confidence=answer.confidence)
            return answer
        raise AgentError(
            f"{parameters.model!r} gave no usable action in {parameters.max_repairs + 1} answers; "
            f"the last one: {problem}",
            tuple(self._endpoint.calls),
        )

    def _mark(self, **what: str | float | None) -> None:
        """Note on the last call what only the reader of its answer can know."""
        calls: list[LlmCall] = self._endpoint.calls
        calls[-1] = calls[-1].model_copy(update=what)
