"""Choosing: checkboxes, radio buttons, an entry of a list, a widget by its kind, a spinner."""

from __future__ import annotations

import re

from shared.evaluation.agents.policies.answers import click_or_wait, submit, wait_for
from shared.evaluation.agents.policies.looking import (
    has_class,
    inputs_of_type,
    is_button,
    is_text_field,
    label_of,
)
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import (
    Action,
    Click,
    Element,
    Observation,
    ReportInfeasible,
    SelectOption,
)

_SELECT = re.compile(r"^Select (?P<names>.+) and click Submit\.?$")
_FROM_LIST = re.compile(r"^Select (?P<name>.+) from the list and click Submit\.?$")
_FROM_SCROLL_LIST = re.compile(r"^Select (?P<names>.+) from the scroll list and click Submit\.?$")
_WIDGET = re.compile(r'^Click on a "(?P<kind>[^"]+)" widget\.?$')
_SPINNER = re.compile(r"^Select (?P<number>-?\d+) with the spinner and hit Submit\.?$")


def choose_from_list(observation: Observation, memory: Memory) -> Action | None:
    """The named entry of a drop-down list, then submit."""
    if not (named := _FROM_LIST.match(observation.goal)):
        return None
    name = named["name"]
    lists = [e for e in observation.elements if e.tag == "select"]
    if not lists:
        return wait_for("a list", memory)
    if name not in lists[0].options:
        return ReportInfeasible(reason=f"the list has no entry {name!r}")
    if _chosen(lists[0], name, memory):
        return submit(observation, memory)
    return SelectOption(element=lists[0].id, option=name)


def choose_several_from_list(observation: Observation, memory: Memory) -> Action | None:
    """Every named entry of a list that takes several, then submit."""
    if not (named := _FROM_SCROLL_LIST.match(observation.goal)):
        return None
    field = next((e for e in observation.elements if e.tag == "select"), None)
    if field is None:
        return wait_for("a list", memory)
    rest = named["names"]
    # A name may hold a comma itself, so the list says what the names are: the longest first.
    for option in sorted(field.options, key=len, reverse=True):
        if option and re.search(rf"(?:^|, ){re.escape(option)}(?:$|, )", rest):
            rest = rest.replace(option, "", 1)
            chosen = SelectOption(element=field.id, option=option)
            if chosen not in memory.actions():
                return chosen
    return submit(observation, memory)


def choose_boxes(observation: Observation, memory: Memory) -> Action | None:
    """Check exactly the named boxes, or the named radio button, then submit."""
    named = _SELECT.match(observation.goal)
    boxes = [*inputs_of_type(observation, "checkbox"), *inputs_of_type(observation, "radio")]
    if not named or not boxes:
        return None
    wanted = set() if named["names"] == "nothing" else set(named["names"].split(", "))
    labels = {box.id: label_of(box, observation) for box in boxes}
    if missing := wanted - set(labels.values()):
        return ReportInfeasible(reason=f"there is nothing called {sorted(missing)[0]!r} to select")
    for box in boxes:
        if bool(box.checked) != (labels[box.id] in wanted):
            return Click(element=box.id)
    return submit(observation, memory)


def click_widget(observation: Observation, memory: Memory) -> Action | None:
    """Any widget of the kind that the goal names."""
    if not (named := _WIDGET.match(observation.goal)):
        return None
    found = next((e for e in observation.elements if _is_a(named["kind"], e)), None)
    return click_or_wait(found, memory, f"a widget of the kind {named['kind']!r}")


def use_spinner(observation: Observation, memory: Memory) -> Action | None:
    """Turn the spinner, one click a step, until it shows the number, then submit."""
    if not (named := _SPINNER.match(observation.goal)):
        return None
    fields = [e for e in observation.elements if is_text_field(e)]
    if not fields:
        return wait_for("the spinner", memory)
    shown, wanted = _number(fields[0].value), int(named["number"])
    if shown == wanted:
        return submit(observation, memory)
    arrow = "ui-spinner-up" if shown < wanted else "ui-spinner-down"
    found = next((e for e in observation.elements if has_class(e, arrow)), None)
    return click_or_wait(found, memory, "the arrow of the spinner")


def _chosen(field: Element, name: str, memory: Memory) -> bool:
    return field.value == name or any(
        step.action == SelectOption(element=field.id, option=name) and step.error is None
        for step in memory.past
    )


def _is_a(kind: str, element: Element) -> bool:
    if kind == "text":
        return is_text_field(element)
    if kind == "button":
        return is_button(element)
    return kind in (element.tag, element.attributes.get("type"))


def _number(value: str | None) -> int:
    return int(value) if value and re.fullmatch(r"-?\d+", value) else 0
