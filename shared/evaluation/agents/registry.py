"""Agents by kind: `rule-based` and `llm`."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ValidationError

from shared.evaluation.agents import prompting
from shared.evaluation.agents.keys import check_key_may_go
from shared.evaluation.agents.parameters import LlmParameters, RuleBasedParameters
from shared.evaluation.protocol import Agent

_PARAMETERS: dict[str, type[BaseModel]] = {
    "rule-based": RuleBasedParameters,
    "llm": LlmParameters,
}
KINDS = tuple(_PARAMETERS)


def make_agent(kind: str, parameters: Mapping[str, object]) -> Agent:
    """A new agent for one episode.

    Raises ValueError, in one line, for a kind that does not exist or parameters that it does
    not take.
    """
    valid = _validate(kind, parameters)
    if isinstance(valid, LlmParameters):
        from shared.evaluation.agents.llm import LlmAgent  # openai takes a second to import

        return LlmAgent(valid)
    from shared.evaluation.agents.rule_based import RuleBasedAgent

    return RuleBasedAgent()


def describe_agent(kind: str, parameters: Mapping[str, object]) -> dict[str, object]:
    """Everything that decides how the agent acts, defaults and prompt digest included.

    Equal descriptions mean the same agent. It holds no secret. Raises ValueError as
    `make_agent` does, and when the operator does not let the agent's key go to its endpoint.
    """
    valid = _validate(kind, parameters)
    if isinstance(valid, LlmParameters):
        check_key_may_go(valid)
    return _description(kind, valid)


def describe_registered(kind: str, parameters: Mapping[str, object]) -> dict[str, object]:
    """`describe_agent` of an agent that is registered: where it is described it sends no key."""
    return _description(kind, _validate(kind, parameters))


def _description(kind: str, valid: BaseModel) -> dict[str, object]:
    described: dict[str, object] = {"kind": kind, **valid.model_dump(mode="json")}
    if isinstance(valid, LlmParameters):
        described["provider"] = valid.provider_name
        described["prompt_sha256"] = prompting.digest(valid.prompt_version)
    return described


def kind_parameters_schema(kind: str) -> dict[str, object]:
    """The JSON Schema of what a kind takes. Raises ValueError for an unknown kind."""
    return _model_of(kind).model_json_schema()


def _model_of(kind: str) -> type[BaseModel]:
    if kind not in _PARAMETERS:
        raise ValueError(f"unknown agent kind {kind!r}: it must be one of {', '.join(KINDS)}")
    return _PARAMETERS[kind]


def _validate(kind: str, parameters: Mapping[str, object]) -> BaseModel:
    model = _model_of(kind)
    try:
        return model.model_validate(dict(parameters))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ValueError(_problem(kind, name, first["type"], first["msg"], model)) from None


def _problem(kind: str, name: str, error_type: str, message: str, model: type[BaseModel]) -> str:
    """One line that repeats no value: somebody may have put a key where a name belongs."""
    message = message.removeprefix("Value error, ")
    if error_type == "extra_forbidden":
        known = ", ".join(model.model_fields) or "nothing"
        return f"agent kind {kind!r} takes no parameter {name!r}: it takes {known}"
    if error_type == "missing":
        return f"agent kind {kind!r} needs the parameter {name!r}"
    return f"agent kind {kind!r}: {name + ': ' if name else ''}{message}"
