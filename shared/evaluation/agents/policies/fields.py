"""Typing into fields: text, passwords, a login, a date, a value read from a table, and focus."""

from __future__ import annotations

import re
from collections.abc import Iterable

from shared.evaluation.agents.policies.answers import click_or_wait, wait_for
from shared.evaluation.agents.policies.looking import (
    buttons,
    following,
    inputs_of_type,
    label_of,
    saying,
    text_fields,
)
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import (
    Action,
    Click,
    Element,
    Fill,
    Observation,
    ReportInfeasible,
)

_ENTER = re.compile(r'^Enter "(?P<text>[^"]*)" into the text field and press Submit\.?$')
_IN_CASE = re.compile(r'^Type "(?P<text>[^"]*)" in all (?P<case>upper|lower) case letters')
_PASSWORD = re.compile(r'^Enter the password "(?P<text>[^"]*)" into both text fields')
_LOGIN = re.compile(
    r'^Enter the username "(?P<user>[^"]*)" and the password "(?P<password>[^"]*)" .*login\.?$'
)
_DATE = re.compile(r"^Enter (?P<month>\d\d)/(?P<day>\d\d)/(?P<year>\d{4}) as the date")
_TABLE = re.compile(r"^Enter the value of (?P<key>.+) into the text field and press Submit\.?$")
_FOCUS = re.compile(r"^Focus into the (?:(?P<position>\d+)(?:st|nd|rd|th) input )?textbox\.?$")


def enter_text(observation: Observation, memory: Memory) -> Action | None:
    """The quoted text, in the case that the goal asks for, into the field; then submit."""
    if named := _ENTER.match(observation.goal):
        text = named["text"]
    elif named := _IN_CASE.match(observation.goal):
        text = named["text"].upper() if named["case"] == "upper" else named["text"].lower()
    else:
        return None
    return fill_in(zip(text_fields(observation)[:1], [text], strict=False), observation, memory)


def enter_password(observation: Observation, memory: Memory) -> Action | None:
    """The same password into both fields; then submit."""
    if not (named := _PASSWORD.match(observation.goal)):
        return None
    fields = text_fields(observation)
    return fill_in(zip(fields, [named["text"]] * 2, strict=False), observation, memory)


def log_in(observation: Observation, memory: Memory) -> Action | None:
    """User name and password into the fields with these labels; then log in."""
    if not (named := _LOGIN.match(observation.goal)):
        return None
    # A dialog in the way asks whether to leave; what was typed under it is lost.
    if any(field.disabled for field in text_fields(observation)):
        return click_or_wait(saying("Cancel", buttons(observation)), memory, "a way back")
    by_label = {label_of(f, observation).casefold(): f for f in text_fields(observation)}
    user, password = by_label.get("username"), by_label.get("password")
    if user is None or password is None:
        return wait_for("a field for the user name and one for the password", memory)
    pairs = [(user, named["user"]), (password, named["password"])]
    return fill_in(pairs, observation, memory, label="Login")


def enter_date(observation: Observation, memory: Memory) -> Action | None:
    """A month/day/year into a date field, which takes ISO 8601; then submit."""
    if not (named := _DATE.match(observation.goal)):
        return None
    date = f"{named['year']}-{named['month']}-{named['day']}"
    fields = inputs_of_type(observation, "date")[:1]
    return fill_in(zip(fields, [date], strict=False), observation, memory)


def copy_from_table(observation: Observation, memory: Memory) -> Action | None:
    """The cell beside the one that the goal names, into the field; then submit."""
    if not (named := _TABLE.match(observation.goal)):
        return None
    cells = [e for e in observation.elements if e.tag in {"td", "th"}]
    key = saying(named["key"], cells)
    if key is None:
        return ReportInfeasible(reason=f"the table has no row {named['key']!r}")
    beside = [e for e in following(key, observation) if e.tag in {"td", "th"}]
    if not beside:
        return ReportInfeasible(reason=f"there is nothing beside {named['key']!r}")
    pairs = zip(text_fields(observation)[:1], [beside[0].text], strict=False)
    return fill_in(pairs, observation, memory)


def focus_text_field(observation: Observation, memory: Memory) -> Action | None:
    """A click into the field, or into the one at the position that the goal names."""
    if not (named := _FOCUS.match(observation.goal)):
        return None
    position = int(named["position"] or 1)
    fields = text_fields(observation)
    found: Element | None = fields[position - 1] if len(fields) >= position else None
    return click_or_wait(found, memory, f"text field {position}")


def fill_in(
    pairs: Iterable[tuple[Element, str]],
    observation: Observation,
    memory: Memory,
    label: str = "Submit",
) -> Action:
    """Fill the first field that does not hold its text yet; when all do, send the form off."""
    fields = list(pairs)
    if not fields:
        return wait_for("a field to type into", memory)
    for field, text in fields:
        if not _holds(field, text, memory):
            return Fill(element=field.id, text=text)
    for said in (label, "Submit", "OK"):
        if button := saying(said, observation.elements):
            return Click(element=button.id)
    return wait_for(f"the button {label!r}", memory)


def _holds(field: Element, text: str, memory: Memory) -> bool:
    """A password's value may be kept from the agent, so what was typed counts as well."""
    return field.value == text or any(
        step.action == Fill(element=field.id, text=text) and step.error is None
        for step in memory.since_click_on("Cancel")
    )
