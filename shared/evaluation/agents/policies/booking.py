"""Booking a flight: where from, where to, the day from a calendar, then the best offer."""

from __future__ import annotations

import re
from datetime import date, datetime

from shared.evaluation.agents.policies.answers import click_or_wait, submit, wait_for
from shared.evaluation.agents.policies.looking import has_class, saying
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import Action, Click, Element, Fill, Observation

_FLIGHT = re.compile(
    r"^Book the (?P<best>cheapest|shortest) one-way flight from: (?P<origin>.+?) "
    r"to: (?P<destination>.+?) on (?P<day>\d\d/\d\d/\d{4})\.?$"
)
_PRICE = re.compile(r"\$(\d+)")
_DURATION = re.compile(r"(\d+)h (\d+)m")


def book_flight(observation: Observation, memory: Memory) -> Action | None:
    """Fill in the search, then book the cheapest or the shortest flight that it finds."""
    if not (named := _FLIGHT.match(observation.goal)):
        return None
    page = observation.elements
    offers = [e for e in page if has_class(e, "flight-price")]
    if offers:
        return Click(element=_best(named["best"], offers, observation).id)
    for placeholder, place in (("From:", named["origin"]), ("To:", named["destination"])):
        field = next((e for e in page if e.attributes.get("placeholder") == placeholder), None)
        if field is None:
            return wait_for(f"the field {placeholder!r}", memory)
        if not _is_airport(field.value or "", place):
            return _choose_airport(field, place, observation, memory)
    day = next((e for e in page if has_class(e, "hasDatepicker")), None)
    if day is None:
        return wait_for("the field for the day", memory)
    if day.value != named["day"]:
        return _choose_day(day, named["day"], observation, memory)
    return submit(observation, memory, label="Search")


def _best(best: str, offers: list[Element], observation: Observation) -> Element:
    """The offer with the least money or time; each offer follows its duration on the page."""
    durations = [e for e in observation.elements if has_class(e, "time-duration")]
    if best == "shortest" and len(durations) == len(offers):
        return min(zip(durations, offers, strict=True), key=lambda pair: _minutes(pair[0].text))[1]
    return min(offers, key=lambda offer: _dollars(offer.text))


def _minutes(text: str) -> float:
    found = _DURATION.search(text)
    return int(found[1]) * 60 + int(found[2]) if found else float("inf")


def _dollars(text: str) -> float:
    found = _PRICE.search(text)
    return int(found[1]) if found else float("inf")


def _is_airport(text: str, place: str) -> bool:
    """Whether `text`, as in "Lexington, KY (LEX)", is the place given by city or by code."""
    return text.startswith(f"{place} (") or text.endswith(f"({place})")


def _choose_airport(field: Element, place: str, observation: Observation, memory: Memory) -> Action:
    if field.value != place:
        return Fill(element=field.id, text=place)
    offered = [e for e in observation.elements if e.tag == "li" and _is_airport(e.text, place)]
    return click_or_wait(next(iter(offered), None), memory, f"an airport {place!r}")


def _choose_day(field: Element, text: str, observation: Observation, memory: Memory) -> Action:
    """Open the calendar, turn it to the month, click the day."""
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


def _shown_month(observation: Observation) -> date | None:
    month = next((e for e in observation.elements if has_class(e, "ui-datepicker-month")), None)
    year = next((e for e in observation.elements if has_class(e, "ui-datepicker-year")), None)
    if month is None or year is None:
        return None
    try:
        return datetime.strptime(f"1 {month.text} {year.text}", "%d %B %Y").date()  # noqa: DTZ007
    except ValueError:
        return None
