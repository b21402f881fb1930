"""Menus that unfold: under the mouse, from a button, or from a wheel."""

from __future__ import annotations

import re

from shared.evaluation.agents.policies.answers import click_or_wait, wait_for
from shared.evaluation.agents.policies.looking import buttons, saying
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import Action, Click, Element, Hover, Observation

_PATH = re.compile(r"^Select (?P<path>\w[\w-]*(?:>\w[\w-]*)*)$")
_FROM_BUTTON = re.compile(
    r'^Click the "(?P<button>[^"]+)" button, and then find and click on the item '
    r'labeled "(?P<item>[^"]+)"\.?$'
)
_WHEEL = re.compile(
    r'^Expand the pie menu below and click on the item labeled "(?P<item>[^"]+)"\.?$'
)
_UNFOLDED_PX = 5.0


def click_menu_path(observation: Observation, memory: Memory) -> Action | None:
    """Hover along the path of entries, which unfolds each, and click the last."""
    named = _PATH.match(observation.goal)
    entries = _entries(observation)
    if not named or not entries:
        return None
    *way, last = named["path"].split(">")
    if (found := saying(last, entries)) is not None:
        return Click(element=found.id)
    seen = [found for name in way if (found := saying(name, entries)) is not None]
    return _unfold(seen[-1:], f"the entry {last!r}", memory)


def click_menu_item(observation: Observation, memory: Memory) -> Action | None:
    """Open the menu with its button, unfold what can be until the entry is seen, click it."""
    if not (named := _FROM_BUTTON.match(observation.goal)):
        return None
    entries = _entries(observation)
    if not entries:
        button = saying(named["button"], buttons(observation))
        return click_or_wait(button, memory, f"the button {named['button']!r}")
    if (found := saying(named["item"], entries)) is not None:
        return Click(element=found.id)
    folded = [e for e in entries if e.attributes.get("aria-haspopup") == "true"]
    return _unfold(folded, f"the entry {named['item']!r}", memory)


def click_wheel_item(observation: Observation, memory: Memory) -> Action | None:
    """Unfold the wheel, wait until its entries have a size, click the one with the label."""
    if not (named := _WHEEL.match(observation.goal)):
        return None
    page = observation.elements
    labels = [e for e in observation.elements if e.tag == "text"]
    found = next((e for e in labels if e.text == named["item"]), None)
    if found is not None and min(found.box[2:]) > _UNFOLDED_PX:
        # The label of the entry that is chosen already takes no click, but its slice does.
        slices = [e for e in page[: page.index(found)] if e.tag == "path"]
        chosen = slices[-2] if memory.clicked(found.id) and len(slices) > 1 else found
        return Click(element=chosen.id)
    opener = next((e for e in labels if e.text == "+"), None)
    if opener is not None and not memory.clicked(opener.id):
        return Click(element=opener.id)
    return wait_for(f"the entry {named['item']!r}", memory)


def _entries(observation: Observation) -> list[Element]:
    return [e for e in observation.elements if e.role == "menuitem"]


def _unfold(folded: list[Element], what: str, memory: Memory) -> Action:
    """Hover over the first that was not hovered over yet; then wait for what it shows."""
    fresh = [e for e in folded if Hover(element=e.id) not in memory.actions()]
    return Hover(element=fresh[0].id) if fresh else wait_for(what, memory)
