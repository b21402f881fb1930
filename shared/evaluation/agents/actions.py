"""The actions as a model is told of them: one line of text each, or one tool definition each."""

from __future__ import annotations

import copy
from functools import cache
from types import UnionType
from typing import Any, Final, get_args

from annotated_types import Ge, Le, MaxLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from shared.evaluation.protocol import WEB_ACTIONS, Action

PURPOSES: Final = {
    "click": "click an element",
    "double_click": "click an element twice",
    "fill": "replace what a field holds (a date field takes YYYY-MM-DD)",
    "select_option": "choose an entry of a <select> by its text",
    "press": "press a key while an element has the focus, such as Enter or ArrowDown",
    "drag": "drag an element onto another",
    "scroll": "scroll an element, or the page without one, by dy pixels (down is positive)",
    "wait": "wait for the page to change",
    "hover": "move the mouse over an element",
    "goto": "open an address in this tab",
    "back": "go back to the page before",
    "forward": "undo going back",
    "new_tab": "open a new tab, at an address if one is given",
    "close_tab": "close a tab by its id",
    "focus_tab": "bring a tab to the front by its id",
    "answer": "give the user the answer that the goal asks for, or tell that it is done",
    "report_infeasible": "give up and say why",
}

SAID_WITH: Final = ("reasoning", "confidence")
"What a tool call carries besides the fields of its action."
_SAID_WITH_SCHEMA: Final[dict[str, Any]] = {
    "reasoning": {"type": "string", "description": "one short sentence"},
    "confidence": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "description": "how sure you are",
    },
}


@cache
def models() -> dict[str, type[BaseModel]]:
    """The model of each kind of action, in the protocol's order."""
    union = get_args(Action)[0]
    assert isinstance(union, UnionType)
    return {model.model_fields["kind"].default: model for model in get_args(union)}


@cache
def describe_actions(kinds: tuple[str, ...] = WEB_ACTIONS) -> str:
    """These actions, one line per kind, generated from the models of the protocol."""
    return "\n".join(_describe(model) for kind, model in models().items() if kind in kinds)


def tool_definitions(kinds: tuple[str, ...] = WEB_ACTIONS) -> list[dict[str, Any]]:
    """These actions as functions in OpenAI's form: the JSON Schema of each model's fields."""
    return [copy.deepcopy(_tool(kind)) for kind in models() if kind in kinds]


@cache
def _tool(kind: str) -> dict[str, Any]:
    schema = models()[kind].model_json_schema()
    own = {
        name: {key: value for key, value in field.items() if key not in ("title", "default")}
        for name, field in schema["properties"].items()
        if name != "kind"
    }
    required = [name for name in schema.get("required", []) if name != "kind"]
    return {
        "type": "function",
        "function": {
            "name": kind,
            "description": PURPOSES[kind],
            "parameters": {
                "type": "object",
                "properties": own | {n: s for n, s in _SAID_WITH_SCHEMA.items() if n not in own},
                "required": required,
                "additionalProperties": False,
            },
        },
    }


def _describe(model: type[BaseModel]) -> str:
    fields = dict(model.model_fields)
    kind = fields.pop("kind").default
    shown = "".join(f', "{name}": {_type_of(field)}' for name, field in fields.items())
    return f'- {{"kind": "{kind}"{shown}}}: {PURPOSES[kind]}'


def _type_of(field: FieldInfo) -> str:
    kinds = get_args(field.annotation) or (field.annotation,)
    name = "<text>" if str in kinds else "<integer>"
    low = next((m.ge for m in field.metadata if isinstance(m, Ge)), None)
    high = next((m.le for m in field.metadata if isinstance(m, Le)), None)
    longest = next((m.max_length for m in field.metadata if isinstance(m, MaxLen)), None)
    if low is not None and high is not None:
        name = f"<integer from {low} to {high}>"
    if longest is not None:
        name = f"<text of at most {longest} characters>"
    return name if field.is_required() else f"{name} or null"
