"""Lists to go through: a menu to order from, a book of contacts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from shared.evaluation.agents.policies.answers import click_or_wait, submit, wait_for
from shared.evaluation.agents.policies.looking import has_class, saying
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import Action, Click, Element, Observation, ReportInfeasible

_BY_NAME = re.compile(r"^Order one of each item: (?P<names>.+)$")
_BY_KIND = re.compile(r"^Order (?P<count>\d+) items that are (?P<kind>[\w-]+)$")
_CONTACT = re.compile(
    r"^Find (?P<name>\S+) in the contact book and click on their "
    r"(?P<what>phone|email|address)(?: number)?\.?$"
)


@dataclass
class _Dish:
    """A dish as the menu shows it, from its name to the next one's."""

    name: str
    kinds: set[str] = field(default_factory=set)
    ordered: int = 0
    add: Element | None = None


def order_food(observation: Observation, memory: Memory) -> Action | None:
    """One of each named dish, or so many of a kind; then order."""
    by_name, by_kind = _BY_NAME.match(observation.goal), _BY_KIND.match(observation.goal)
    dishes = _dishes(observation)
    if by_name:
        names = [name.strip() for name in by_name["names"].split(",")]
        wanted = {dish.name: 1 for dish in dishes if dish.name in names}
        missing = len(names) - len(wanted)
    elif by_kind:
        first = next((dish.name for dish in dishes if by_kind["kind"] in dish.kinds), None)
        wanted = {first: int(by_kind["count"])} if first else {}
        missing = 0 if first else 1
    else:
        return None
    if not dishes:
        return wait_for("a menu", memory)
    if missing:
        return ReportInfeasible(reason="the menu has nothing like that")
    for dish in dishes:
        if dish.ordered < wanted.get(dish.name, 0) and dish.add is not None:
            return Click(element=dish.add.id)
    return submit(observation, memory, label="Order!")


def find_contact(observation: Observation, memory: Memory) -> Action | None:
    """Leaf on until the contact is shown, then click what the goal names."""
    if not (named := _CONTACT.match(observation.goal)):
        return None
    page = observation.elements
    if any(has_class(e, "name") and e.text == named["name"] for e in page):
        found = next((e for e in page if has_class(e, named["what"])), None)
        return click_or_wait(found, memory, f"a {named['what']}")
    return click_or_wait(saying(">", [e for e in page if e.tag == "a"]), memory, "a next page")


def _dishes(observation: Observation) -> list[_Dish]:
    dishes: list[_Dish] = []
    for element in observation.elements:
        if has_class(element, "item-name"):
            dishes.append(_Dish(element.text))
        elif not dishes:
            continue
        elif element.tag == "img":
            dishes[-1].kinds.add(element.attributes.get("alt", ""))
        elif has_class(element, "quantity") and element.text.isdigit():
            dishes[-1].ordered = int(element.text)
        elif has_class(element, "add"):
            dishes[-1].add = element
    return dishes
