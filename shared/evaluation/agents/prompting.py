"""From an observation to the text that a model reads: template files, filled in.

A set of templates is one version (`prompts/*.v1.txt`); its digest stands in an agent's
parameters, so that two runs with different texts are never taken for the same agent.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from importlib import resources
from string import Template
from types import UnionType
from typing import get_args

from annotated_types import Ge, Le, MaxLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import WEB_ACTIONS, Action, Element, Observation

PARTS = ("system", "step", "repair")
SHOWN_ATTRIBUTES = ("id", "class", "type", "name", "href", "placeholder", "title", "for", "alt")
"Attributes that tell a reader what an element is for; styles and handlers do not."

_PURPOSES = {
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


def versions() -> tuple[str, ...]:
    """The prompt versions that there are a complete set of files for."""
    names = {entry.name for entry in resources.files(__package__).joinpath("prompts").iterdir()}
    found = {m[1] for name in names if (m := re.fullmatch(r"system\.(v\d+)\.txt", name))}
    return tuple(sorted(v for v in found if {f"{part}.{v}.txt" for part in PARTS} <= names))


@cache
def template(part: str, version: str) -> Template:
    """The template `part` of a version. Raises FileNotFoundError when there is none."""
    source = resources.files(__package__).joinpath("prompts", f"{part}.{version}.txt")
    return Template(source.read_text(encoding="utf-8"))


@cache
def digest(version: str) -> str:
    """SHA-256 over the version's files and the description of the actions, in hex."""
    sha = hashlib.sha256()
    for part in PARTS:
        sha.update(template(part, version).template.encode())
    sha.update(describe_actions().encode())
    return sha.hexdigest()


@cache
def describe_actions(kinds: tuple[str, ...] = WEB_ACTIONS) -> str:
    """These actions, one line per kind, generated from the models of the protocol."""
    union = get_args(Action)[0]
    assert isinstance(union, UnionType)
    models = {model.model_fields["kind"].default: model for model in get_args(union)}
    return "\n".join(_describe(model) for kind, model in models.items() if kind in kinds)


def system_prompt(version: str, kinds: tuple[str, ...]) -> str:
    """What is the same in every turn, and so can be cached by an endpoint as a prefix."""
    return template("system", version).substitute(actions=describe_actions(kinds)).strip()


def step_prompt(version: str, observation: Observation, memory: Memory, max_characters: int) -> str:
    """The turn: goal, earlier actions and page, its elements cut to `max_characters`."""
    return (
        template("step", version)
        .substitute(
            goal=observation.goal,
            history=_history(memory),
            step=observation.step,
            url=observation.url,
            title=observation.title,
            elements=_elements(observation, max_characters),
        )
        .strip()
    )


def repair_prompt(version: str, error: str) -> str:
    """What a model is told after an answer that could not be used."""
    return template("repair", version).substitute(error=error).strip()


def element_line(element: Element) -> str:
    """One element on one line; every string in it is a JSON string."""
    words = [f"[{element.id}]", element.tag]
    if element.text:
        words.append(json.dumps(element.text, ensure_ascii=False))
    if element.role and element.role != element.tag:
        words.append(f"role={json.dumps(element.role, ensure_ascii=False)}")
    words += [
        f"{name}={json.dumps(element.attributes[name], ensure_ascii=False)}"
        for name in SHOWN_ATTRIBUTES
        if element.attributes.get(name)
    ]
    if element.value is not None:
        words.append(f"value={json.dumps(element.value, ensure_ascii=False)}")
    if element.options:
        words.append(f"options={json.dumps(element.options, ensure_ascii=False)}")
    if state := _state(element):
        words.append("{" + " ".join(state) + "}")
    return " ".join(words)


def _state(element: Element) -> list[str]:
    state = ["interactive"] if element.interactive else []
    if element.checked is not None:
        state.append("checked" if element.checked else "unchecked")
    if element.selected:
        state.append("selected")
    if element.disabled:
        state.append("disabled")
    return state


def _elements(observation: Observation, max_characters: int) -> str:
    lines: list[str] = []
    used = 0
    for element in observation.elements:
        line = element_line(element)
        used += len(line) + 1
        if used > max_characters:
            left = len(observation.elements) - len(lines)
            return "\n".join([*lines, f"({left} more elements are not shown)"])
        lines.append(line)
    return "\n".join(lines) or "(none)"


def _history(memory: Memory) -> str:
    if not memory.past:
        return "(none)"
    return "\n".join(
        f"{number}. {step.action.model_dump_json()}"
        f" on {json.dumps(step.target, ensure_ascii=False)}"
        f" -> {json.dumps(step.error, ensure_ascii=False) if step.error else 'done'}"
        for number, step in enumerate(memory.past, start=1)
    )


def _describe(model: type[BaseModel]) -> str:
    fields = dict(model.model_fields)
    kind = fields.pop("kind").default
    shown = "".join(f', "{name}": {_type_of(field)}' for name, field in fields.items())
    return f'- {{"kind": "{kind}"{shown}}}: {_PURPOSES[kind]}'


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
