"""From an observation to the text that a model reads: template files, filled in.

A set of templates is one version (`prompts/*.v1.txt`); its digest stands in an agent's
parameters, so that two runs with different texts are never taken for the same agent.

`v1` asks for an action in text and shows the page as a list of elements. `v2` does that as well,
and knows tool calls, other forms of the page, pictures and tabs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from enum import StrEnum
from functools import cache
from importlib import resources
from string import Template
from typing import Any, Final

from shared.evaluation.agents.actions import describe_actions, tool_definitions
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import Element, Observation, Part, Tab


class Mode(StrEnum):
    """How a model gives its action."""

    TEXT = "text"
    TOOLS = "tools"


class PageForm(StrEnum):
    """How a model is shown the page."""

    ELEMENTS = "elements"
    TREE = "tree"
    DOM = "dom"


class Vision(StrEnum):
    """Which picture of the page a model is shown."""

    NONE = "none"
    SCREENSHOT = "screenshot"
    MARKS = "marks"


PARTS: Final = {
    "v1": ("system", "step", "repair"),
    "v2": (
        "system",
        *(f"page_{form}" for form in PageForm),
        *(f"vision_{vision}" for vision in Vision if vision is not Vision.NONE),
        *(f"answer_{mode}" for mode in Mode),
        "step",
        *(f"repair_{mode}" for mode in Mode),
    ),
}
"The files of each version; those of a version that is out never change."
SHOWN_ATTRIBUTES = ("id", "class", "type", "name", "href", "placeholder", "title", "for", "alt")
"Attributes that tell a reader what an element is for; styles and handlers do not."

_HEADINGS: Final = {
    PageForm.ELEMENTS: "Elements",
    PageForm.TREE: "Accessibility tree",
    PageForm.DOM: "HTML",
}
_HEADING: Final = re.compile(r"^#", re.MULTILINE)


def versions() -> tuple[str, ...]:
    """The prompt versions that there are."""
    return tuple(PARTS)


def number(version: str) -> int:
    """What versions are ordered by: `v10` is newer than `v2`."""
    return int(version.removeprefix("v"))


def version_for(mode: Mode, page: PageForm, vision: Vision) -> str:
    """The oldest version that can ask like this."""
    plain = (mode, page, vision) == (Mode.TEXT, PageForm.ELEMENTS, Vision.NONE)
    return "v1" if plain else "v2"


@cache
def template(part: str, version: str) -> Template:
    """The template `part` of a version. Raises FileNotFoundError when there is none."""
    source = resources.files(__package__).joinpath("prompts", f"{part}.{version}.txt")
    return Template(source.read_text(encoding="utf-8"))


@cache
def digest(version: str) -> str:
    """SHA-256 over the version's files and the description of the actions, in hex."""
    sha = hashlib.sha256()
    for part in PARTS[version]:
        sha.update(template(part, version).template.encode())
    sha.update(describe_actions().encode())
    if version != "v1":
        sha.update(json.dumps(tool_definitions(), sort_keys=True).encode())
    return sha.hexdigest()


def system_prompt(
    version: str,
    kinds: tuple[str, ...],
    *,
    mode: Mode = Mode.TEXT,
    page: PageForm = PageForm.ELEMENTS,
    vision: Vision = Vision.NONE,
) -> str:
    """What is the same in every turn, and so can be cached by an endpoint as a prefix."""
    actions = describe_actions(kinds)
    if version == "v1":
        return template("system", version).substitute(actions=actions).strip()
    parts = ["system", f"page_{page}", f"answer_{mode}"]
    if vision is not Vision.NONE:
        parts.insert(2, f"vision_{vision}")
    return "\n\n".join(template(p, version).safe_substitute(actions=actions).strip() for p in parts)


def step_prompt(
    version: str,
    observation: Observation,
    memory: Memory,
    max_characters: int,
    *,
    page: PageForm = PageForm.ELEMENTS,
    history_steps: int | None = None,
) -> str:
    """The turn: goal, the last `history_steps` actions (None: all) and page.

    What shows the page is cut to `max_characters`.
    """
    common = {
        "goal": observation.goal,
        "history": _history(memory, history_steps),
        "step": observation.step,
        "url": observation.url,
        "title": observation.title,
    }
    filled = template("step", version)
    if version == "v1":
        return filled.substitute(common, elements=_elements(observation, max_characters)).strip()
    form, shown = _page(observation, page, max_characters)
    heading = _HEADINGS[form]
    return filled.substitute(common, tabs=_tabs(observation.tabs), form=heading, page=shown).strip()


def repair_prompt(version: str, error: str, mode: Mode = Mode.TEXT) -> str:
    """What a model is told after an answer that could not be used."""
    part = "repair" if version == "v1" else f"repair_{mode}"
    return template(part, version).substitute(error=error).strip()


def parts_for(page: PageForm, vision: Vision) -> frozenset[Part]:
    """What has to be seen of a page to show it like this."""
    wanted = {name for name in (page.value, vision.value) if name in set(Part)}
    return frozenset(Part(name) for name in wanted)


def content(text: str, observation: Observation, vision: Vision) -> str | list[dict[str, Any]]:
    """A turn's text, with the picture of the page if there is to be one."""
    picture = {
        Vision.NONE: None,
        Vision.SCREENSHOT: observation.screenshot,
        Vision.MARKS: observation.marks,
    }[vision]
    if picture is None:
        return text
    url = "data:image/jpeg;base64," + base64.b64encode(picture).decode()
    return [
        {"type": "text", "text": text},
        {"type": "image_url", "image_url": {"url": url}},
    ]


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


def _page(observation: Observation, wanted: PageForm, max_characters: int) -> tuple[PageForm, str]:
    """How the page is shown, and what is shown. A page that has no such form is listed."""
    text = {PageForm.TREE: observation.tree, PageForm.DOM: observation.dom}.get(wanted)
    if text is None:
        return PageForm.ELEMENTS, _elements(observation, max_characters)
    # No line of a page may pass for a heading of the prompt.
    shown = _HEADING.sub(" #", text[:max_characters])
    left = len(text) - max_characters
    return wanted, shown + (f"\n({left} more characters are not shown)" if left > 0 else "")


def _tabs(tabs: tuple[Tab, ...]) -> str:
    if len(tabs) < 2:
        return ""
    lines = (
        f"- [{tab.id}] {json.dumps(tab.title, ensure_ascii=False)}"
        f" {json.dumps(tab.url, ensure_ascii=False)}{' {active}' if tab.active else ''}"
        for tab in tabs
    )
    return "tabs:\n" + "\n".join(lines) + "\n"


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


def _history(memory: Memory, steps: int | None) -> str:
    if not memory.past:
        return "(none)"
    first = 0 if steps is None else max(0, len(memory.past) - steps)
    left_out = [f"({first} earlier ones are not shown)"] if first else []
    return "\n".join(
        [
            *left_out,
            *(
                f"{number}. {step.action.model_dump_json()}"
                f" on {json.dumps(step.target, ensure_ascii=False)}"
                f" -> {json.dumps(step.error, ensure_ascii=False) if step.error else 'done'}"
                for number, step in enumerate(memory.past[first:], start=first + 1)
            ),
        ]
    )
