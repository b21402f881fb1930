"""Calendars: a day picked from a month, and an event drawn into a day."""

from __future__ import annotations

import re
from datetime import date, datetime

from shared.evaluation.agents.policies.answers import click_or_wait, submit, wait_for
from shared.evaluation.agents.policies.looking import following, has_class, saying
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import (
    Action,
    Click,
    Drag,
    Element,
    Fill,
    Observation,
    ReportInfeasible,
)

_DAY = re.compile(r"^Select (?P<day>\d\d/\d\d/\d{4}) as the date and hit submit\.?$")
_EVENT = re.compile(
    r"^Create a (?P<length>[\d.]+) (?P<unit>hours?|mins) event named "
    r'"(?P<name>[^"]+)", between (?P<start>\d+[AP]M) and (?P<end>\d+[AP]M)\.?$'
)


def choose_date(observation: Observation, memory: Memory) -> Action | None:
    """The day from the calendar of the date field; then submit."""
    if not (named := _DAY.match(observation.goal)):
        return None
    field = next((e for e in observation.elements if has_class(e, "hasDatepicker")), None)
    if field is None:
        return wait_for("the field for the day", memory)
    if field.value != named["day"]:
        return choose_day(field, named["day"], observation, memory)
    return submit(observation, memory)


def choose_day(field: Element, text: str, observation: Observation, memory: Memory) -> Action:
    """Open the field's calendar, turn it to the month, click the day of `text`, MM/DD/YYYY."""
    wanted = datetime.strptime(text, "%m/%d/%Y").date()  # noqa: DTZ007 - a calendar day
    shown = _shown_month(observation)
    if shown is None:
        return Click(element=field.id)
    if shown != wanted.replace(day=1):
        turn = "ui-datepicker-next" if shown < wanted else "ui-datepicker-prev"
        arrow = next((e for e in observation.elements if has_class(e, turn)), None)
        return click_or_wait(arrow, memory, "the arrow of the calendar")
    days = [e for e in observation.elements if has_class(e, "ui-state-default")]
    return click_or_wait(saying(str(wanted.day), days), memory, f"day {wanted.day}")


def create_event(observation: Observation, memory: Memory) -> Action | None:
    """Draw the event over free half hours between the two times, name it, create it."""
    if not (named := _EVENT.match(observation.goal)):
        return None
    field = next(
        (e for e in observation.elements if e.attributes.get("placeholder") == "Event name"), None
    )
    if field is not None:
        if field.value != named["name"]:
            return Fill(element=field.id, text=named["name"])
        return submit(observation, memory, label="Create")
    hours = float(named["length"]) / (60 if named["unit"] == "mins" else 1)
    free = _free_stretch(round(hours * 2), named["start"], named["end"], observation)
    if not free:
        return ReportInfeasible(reason="no such time of the day is free")
    return Drag(element=free[0].id, onto=free[-1].id)


def _shown_month(observation: Observation) -> date | None:
    month = next((e for e in observation.elements if has_class(e, "ui-datepicker-month")), None)
    year = next((e for e in observation.elements if has_class(e, "ui-datepicker-year")), None)
    if month is None or year is None:
        return None
    try:
        return datetime.strptime(f"1 {month.text} {year.text}", "%d %B %Y").date()  # noqa: DTZ007
    except ValueError:
        return None


def _free_stretch(length: int, start: str, end: str, observation: Observation) -> list[Element]:
    """`length` half hours in a row from `start` on and before `end` that no event lies over."""
    labels = [e for e in observation.elements if has_class(e, "hour-label")]
    first, last = saying(start.lower(), labels), saying(end.lower(), labels)
    if first is None or last is None:
        return []
    after = {e.id for e in following(last, observation)}
    halves = [
        e for e in following(first, observation) if has_class(e, "half-hour") and e.id not in after
    ]
    events = [e for e in observation.elements if has_class(e, "event")]
    for at in range(len(halves) - length + 1):
        stretch = halves[at : at + length]
        if not any(_overlap(half, event) for half in stretch for event in events):
            return stretch
    return []


def _overlap(half: Element, event: Element) -> bool:
    """Whether they share more than the borders, which are drawn a few pixels too far."""
    top, height = half.box[1], half.box[3]
    event_top, event_height = event.box[1], event.box[3]
    shared = min(top + height, event_top + event_height) - max(top, event_top)
    return shared > height / 3
