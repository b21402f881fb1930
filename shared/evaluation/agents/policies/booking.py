"""Booking a flight: where from, where to, the day from a calendar, then the best offer."""

from __future__ import annotations

import re

from shared.evaluation.agents.policies.answers import click_or_wait, submit, wait_for
from shared.evaluation.agents.policies.calendars import choose_day
from shared.evaluation.agents.policies.looking import buttons, has_class
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import Action, Click, Element, Fill, Observation

_FLIGHT = re.compile(
    r"^Book the (?P<best>cheapest|shortest) one-way flight from: (?P<origin>.+?) "
    r"to: (?P<destination>.+?) on (?P<day>\d\d/\d\d/\d{4})\.?$"
)
_TICKET = re.compile(
    r"^Buy the ticket with the (?P<best>cheapest|most expensive|shortest|longest) "
    r"(?:cost|duration)\.?$"
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
        return choose_day(day, named["day"], observation, memory)
    return submit(observation, memory, label="Search")


def buy_ticket(observation: Observation, memory: Memory) -> Action | None:
    """The ticket with the least or the most money or time."""
    if not (named := _TICKET.match(observation.goal)):
        return None
    offers = [e for e in buttons(observation) if _PRICE.search(e.text)]
    if not offers:
        return wait_for("a ticket", memory)
    return Click(element=_best(named["best"], offers, observation).id)


def _best(best: str, offers: list[Element], observation: Observation) -> Element:
    """The offer that is best in money or time; each offer follows its duration on the page."""
    choose = min if best in {"cheapest", "shortest"} else max
    durations = [e for e in observation.elements if has_class(e, "time-duration")]
    if best in {"shortest", "longest"} and len(durations) == len(offers):
        pairs = zip(durations, offers, strict=True)
        return choose(pairs, key=lambda pair: _minutes(pair[0].text))[1]
    return choose(offers, key=lambda offer: _dollars(offer.text))


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
