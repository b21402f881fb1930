"""Agents by kind, made from validated parameters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from shared.evaluation.agents import prompting
from shared.evaluation.agents.keys import KeyMissingError, check_key_may_go, the_key
from shared.evaluation.agents.outside import check_allowed
from shared.evaluation.agents.parameters import (
    STAND_IN,
    ExternalParameters,
    LlmParameters,
    RandomParameters,
    ReplayParameters,
    RuleBasedParameters,
)
from shared.evaluation.protocol import Agent

DEEPEST: Final = 32
"Levels of lists and objects in parameters; more is a mistake or an attack."

_PARAMETERS: dict[str, type[BaseModel]] = {
    "rule-based": RuleBasedParameters,
    "random": RandomParameters,
    "llm": LlmParameters,
    "replay": ReplayParameters,
    "external": ExternalParameters,
}
KINDS = tuple(_PARAMETERS)


def make_agent(kind: str, parameters: Mapping[str, object]) -> Agent:
    """A new agent for one episode.

    Raises ValueError, in one line, for a kind that does not exist or parameters that it does
    not take.
    """
    # Each imports its module: not every process has the browser's and the HTTP client's packages.
    match _validate(kind, parameters):
        case LlmParameters() as valid:
            from shared.evaluation.agents.llm import LlmAgent

            return LlmAgent(valid)
        case ReplayParameters() as valid:
            from shared.evaluation.agents.replay import ReplayAgent

            return ReplayAgent(valid)
        case ExternalParameters() as valid:
            from shared.evaluation.agents.external import ExternalAgent

            return ExternalAgent(valid)
        case RandomParameters():
            from shared.evaluation.agents.random_agent import RandomAgent

            return RandomAgent()
        case _:
            from shared.evaluation.agents.rule_based import RuleBasedAgent

            return RuleBasedAgent()


def describe_agent(kind: str, parameters: Mapping[str, object]) -> dict[str, object]:
    """Everything that decides how the agent acts, defaults and prompt digest included.

    Equal descriptions mean the same agent. It holds no secret. Raises ValueError as
    `make_agent` does, and when the operator does not let the agent's key go to its endpoint, or
    its program run, or its host be asked.
    """
    valid = _validate(kind, parameters)
    if isinstance(valid, LlmParameters):
        check_key_may_go(valid.api_key_env, valid.base_url)
    if isinstance(valid, ExternalParameters):
        check_allowed(valid)
    return _description(kind, valid)


def describe_registered(kind: str, parameters: Mapping[str, object]) -> dict[str, object]:
    """`describe_agent` of an agent that is registered: where it is described it sends no key."""
    return _description(kind, _validate(kind, parameters))


def missing_key(kind: str, parameters: Mapping[str, object]) -> str | None:
    """A line of warning when the key that the agent sends is not set in this process.

    None when it is, or when it sends none. What counts are the variables of the workers, and
    these may be others. Raises ValueError as `make_agent` does.
    """
    valid = _validate(kind, parameters)
    if isinstance(valid, LlmParameters):
        name, goes_to = valid.api_key_env, valid.base_url
    elif isinstance(valid, ExternalParameters):
        name, goes_to = valid.api_key_env, valid.url or ""
    else:
        return None
    if name is None or goes_to == STAND_IN:
        return None
    try:
        the_key(name, goes_to)
    except KeyMissingError as error:
        return f"{error}; here it is not, so set it where evaluation workers run"
    return None


def kind_parameters_schema(kind: str) -> dict[str, object]:
    """The JSON Schema of what a kind takes. Raises ValueError for an unknown kind."""
    return _model_of(kind).model_json_schema()


def _description(kind: str, valid: BaseModel) -> dict[str, object]:
    described: dict[str, object] = {"kind": kind, **valid.model_dump(mode="json")}
    if isinstance(valid, LlmParameters):
        described["provider"] = valid.provider_name
        described["prompt_sha256"] = prompting.digest(valid.prompt_version)
    if isinstance(valid, ReplayParameters) and valid.actions is not None:
        # A card is no place for a thousand actions: their digest tells them apart as well.
        text = json.dumps(described["actions"], sort_keys=True)
        described["actions"] = len(valid.actions)
        described["actions_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    return described


def _model_of(kind: str) -> type[BaseModel]:
    if kind not in _PARAMETERS:
        raise ValueError(f"unknown agent kind {kind!r}: it must be one of {', '.join(KINDS)}")
    return _PARAMETERS[kind]


def _validate(kind: str, parameters: Mapping[str, object]) -> BaseModel:
    model = _model_of(kind)
    if _nests_deeper_than(DEEPEST, parameters):
        raise ValueError(f"agent kind {kind!r}: parameters nest at most {DEEPEST} levels deep")
    try:
        return model.model_validate(dict(parameters))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ValueError(_problem(kind, name, first["type"], first["msg"], model)) from None


def _nests_deeper_than(levels: int, value: Any) -> bool:
    """Level by level and not by recursion, which deep nesting would exhaust."""
    level = [value]
    for _ in range(levels):
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, Mapping) else one)
            if isinstance(inner, Mapping | list | tuple)
        ]
        if not level:
            return False
    return True


def _problem(kind: str, name: str, error_type: str, message: str, model: type[BaseModel]) -> str:
    """One line that repeats no value: somebody may have put a key where a name belongs."""
    message = message.removeprefix("Value error, ")
    if error_type == "extra_forbidden" and "." not in name:
        known = ", ".join(model.model_fields) or "nothing"
        return f"agent kind {kind!r} takes no parameter {name!r}: it takes {known}"
    if error_type == "missing":
        return f"agent kind {kind!r} needs the parameter {name!r}"
    return f"agent kind {kind!r}: {name + ': ' if name else ''}{message}"
