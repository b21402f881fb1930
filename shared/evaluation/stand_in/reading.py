"""From the text of a prompt back to what it shows: goal, past actions and elements."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from pydantic import ValidationError

from shared.evaluation.agents.policies.memory import Memory, PastAction
from shared.evaluation.protocol import Element, Observation

_SECTION = re.compile(r"^# (Goal|Earlier actions|Page|Elements|Your action)$", re.MULTILINE)
_ELEMENT = re.compile(r"^\[(?P<id>\d+)\] (?P<tag>[^\s\"]+)")
_NAMED = re.compile(r" (?P<name>[\w-]+)=(?=[\"\[])")
_STATE = re.compile(r" \{(?P<state>[a-z ]+)\}$")
_PAST = re.compile(r"^\d+\. (?=\{)")
_DECODER = json.JSONDecoder()


class UnreadablePromptError(ValueError):
    """The prompt shows no goal and no page."""


class Reading(NamedTuple):
    observation: Observation
    memory: Memory


def read_prompt(text: str) -> Reading:
    """What the last page in `text` shows. Raises UnreadablePromptError when it shows none."""
    parts = _SECTION.split(text)
    sections = dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))
    if "Goal" not in sections or "Elements" not in sections:
        raise UnreadablePromptError("the prompt has no sections '# Goal' and '# Elements'")
    page = dict(
        line.split(": ", 1) for line in sections.get("Page", "").split("\n") if ": " in line
    )
    elements = tuple(_elements(sections["Elements"]))
    observation = Observation(
        goal=sections["Goal"],
        url=page.get("url", ""),
        title=page.get("title", ""),
        text=" ".join(element.text for element in elements),
        elements=elements,
        step=int(page.get("step", "0")) if page.get("step", "0").isdigit() else 0,
        dom_nodes=len(elements),
    )
    return Reading(observation, Memory(past=tuple(_past(sections.get("Earlier actions", "")))))


def _elements(section: str) -> list[Element]:
    read = (_element(line) for line in section.split("\n"))
    return [element for element in read if element is not None]


def _element(line: str) -> Element | None:
    begin = _ELEMENT.match(line)
    if begin is None:
        return None
    state: set[str] = set()
    if (end := _STATE.search(line)) is not None:
        state = set(end["state"].split())
        line = line[: end.start()]
    try:
        text, named = _strings(line, begin.end())
        return _build(int(begin["id"]), begin["tag"], text, named, state)
    except (json.JSONDecodeError, ValidationError):
        return None


def _strings(line: str, at: int) -> tuple[str, dict[str, object]]:
    """The element's own text, if it has one, then its `name="value"` pairs."""
    text = ""
    if line[at : at + 2] == ' "':
        text, at = _DECODER.raw_decode(line, at + 1)
    named: dict[str, object] = {}
    while (name := _NAMED.match(line, at)) is not None:
        named[name["name"]], at = _DECODER.raw_decode(line, name.end())
    return text, named


def _build(
    identifier: int, tag: str, text: str, named: dict[str, object], state: set[str]
) -> Element:
    return Element.model_validate(
        {
            "id": identifier,
            "tag": tag,
            "role": named.pop("role", tag),
            "text": text,
            "value": named.pop("value", None),
            "options": tuple(_list(named.pop("options", []))),
            "attributes": named,
            "checked": "checked" in state if state & {"checked", "unchecked"} else None,
            "selected": True if "selected" in state else None,
            "disabled": "disabled" in state,
            "interactive": "interactive" in state,
            "box": (0, 0, 0, 0),
        }
    )


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _past(section: str) -> list[PastAction]:
    read = (_past_action(line) for line in section.split("\n"))
    return [step for step in read if step is not None]


def _past_action(line: str) -> PastAction | None:
    begin = _PAST.match(line)
    if begin is None:
        return None
    try:
        action, at = _DECODER.raw_decode(line, begin.end())
        target, at = _DECODER.raw_decode(line, at + len(" on "))
        ending = line[at + len(" -> ") :]
        error = None if ending == "done" else json.loads(ending)
        return PastAction.model_validate({"action": action, "target": target, "error": error})
    except (json.JSONDecodeError, ValidationError):
        return None
