"""Forms of several kinds of fields, and a search form laid out in many ways."""

from __future__ import annotations

import re

from shared.evaluation.agents.policies.answers import submit, wait_for
from shared.evaluation.agents.policies.looking import (
    buttons,
    inputs_of_type,
    is_text_field,
    saying,
    text_fields,
)
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import (
    Action,
    Click,
    Fill,
    Observation,
    Press,
    ReportInfeasible,
    SelectOption,
)

_RADIO = re.compile(
    r"^Check the (?P<radio>\d+)(?:st|nd|rd|th) radio button and enter the number "
    r'"(?P<number>-?\d+)" into the (?P<field>\d+)(?:st|nd|rd|th) textbox\.?$'
)
_DROPDOWN = re.compile(
    r'^Choose (?P<option>.+) from the dropdown, then click the button labeled "(?P<button>[^"]+)"'
)
_MOVIES = re.compile(
    r"^Search for (?P<genre>.+) movies directed by (?P<director>.+) from year (?P<year>\d{4})\.?$"
)
_ASKED = {"genre": "genre", "director": "director", "year": "year", "date": "year"}
_SENDERS = ("Submit", "Search", "Go!")


def fill_in_radio_and_number(observation: Observation, memory: Memory) -> Action | None:
    """The radio button and the field at the positions that the goal names; then submit."""
    if not (named := _RADIO.match(observation.goal)):
        return None
    radios, fields = inputs_of_type(observation, "radio"), text_fields(observation)
    radio, field = int(named["radio"]), int(named["field"])
    if len(radios) < radio or len(fields) < field:
        return ReportInfeasible(reason="there are fewer radio buttons or fields than that")
    if not radios[radio - 1].checked:
        return Click(element=radios[radio - 1].id)
    if fields[field - 1].value != named["number"]:
        return Fill(element=fields[field - 1].id, text=named["number"])
    return submit(observation, memory)


def choose_then_click(observation: Observation, memory: Memory) -> Action | None:
    """The named entry of the drop-down list, then the named button."""
    if not (named := _DROPDOWN.match(observation.goal)):
        return None
    field = next((e for e in observation.elements if e.tag == "select"), None)
    if field is None:
        return wait_for("a drop-down list", memory)
    if field.value != named["option"]:
        return SelectOption(element=field.id, option=named["option"])
    # A list that replaces the browser's own may stay open over the button.
    if memory.past and memory.past[-1].error is not None:
        return Press(element=field.id, key="Escape")
    return submit(observation, memory, label=named["button"])


def search_movies(observation: Observation, memory: Memory) -> Action | None:
    """Genre, director and year into the fields so labelled, above or below; then search."""
    if not (named := _MOVIES.match(observation.goal)):
        return None
    asked, fields = _asked(observation), text_fields(observation)
    if len(asked) != len(fields) or not fields:
        return wait_for("a search form", memory)
    for field, name in zip(fields, asked, strict=True):
        if field.value != named[name]:
            return Fill(element=field.id, text=named[name])
    usable = [*buttons(observation), *(e for e in observation.elements if e.interactive)]
    sender = next((found for label in _SENDERS if (found := saying(label, usable))), None)
    return Click(element=sender.id) if sender else wait_for("a button to search", memory)


def _asked(observation: Observation) -> list[str]:
    """What the fields ask for, in their order: labels and fields alternate on the page."""
    asked = []
    for element in observation.elements:
        words = element.text.casefold().split()
        if is_text_field(element) or len(words) > 3:
            continue
        found = [_ASKED[w.strip(":")] for w in words if w.strip(":") in _ASKED]
        asked.extend(found[-1:])
    return asked
