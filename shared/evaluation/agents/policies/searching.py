"""Tasks of several pages or levels: a search, a file tree, suggestions while typing."""

from __future__ import annotations

import re

from shared.evaluation.agents.policies.answers import click_or_wait, submit, wait_for
from shared.evaluation.agents.policies.looking import buttons, has_class, saying, text_fields
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import Action, Click, Element, Fill, Observation

_SEARCH = re.compile(
    r'enter "(?P<text>[^"]*)" and press "Search", then find and click the '
    r"(?P<position>\d+)(?:st|nd|rd|th) search result"
)
_TREE = re.compile(r'^Navigate through the file tree\. .* named "(?P<name>[^"]+)"\.?$')
_SUGGESTED = re.compile(
    r'^Enter an item that starts with "(?P<start>[^"]*)"(?: and ends with "(?P<end>[^"]*)")?\.?$'
)


def search(observation: Observation, memory: Memory) -> Action | None:
    """Search for the text, leaf to the page with the result at the position, click it."""
    if not (named := _SEARCH.search(observation.goal)):
        return None
    field = next(iter(text_fields(observation)), None)
    if field is None:
        return wait_for("a search field", memory)
    if field.value != named["text"]:
        return Fill(element=field.id, text=named["text"])
    if not memory.clicked_on("Search"):
        found = saying("Search", buttons(observation))
        return click_or_wait(found, memory, "the button 'Search'")
    results = [e for e in observation.elements if has_class(e, "search-title")]
    if not results:
        return wait_for("a search result", memory)
    page, place = divmod(int(named["position"]) - 1, len(results))
    if page == 0 or memory.clicked_on(str(page + 1)):
        return Click(element=results[place].id)
    leaf = saying(str(page + 1), [e for e in observation.elements if e.tag == "a"])
    return click_or_wait(leaf, memory, f"page {page + 1} of the results")


def navigate_tree(observation: Observation, memory: Memory) -> Action | None:
    """Unfold folders until the name is seen, then click it."""
    if not (named := _TREE.match(observation.goal)):
        return None
    entries = [e for e in observation.elements if has_class(e, "file", "folder")]
    if (found := next((e for e in entries if e.text == named["name"]), None)) is not None:
        return Click(element=found.id)
    folders = [e for e in entries if has_class(e, "folder") and not memory.clicked(e.id)]
    if not folders:
        return wait_for(f"an entry {named['name']!r}", memory)
    return Click(element=folders[0].id)


def pick_suggestion(observation: Observation, memory: Memory) -> Action | None:
    """Type how the item starts, take the suggestion that fits, then submit."""
    if not (named := _SUGGESTED.match(observation.goal)):
        return None
    start, end = named["start"], named["end"] or ""
    field = next(iter(text_fields(observation)), None)
    if field is None:
        return wait_for("a field with suggestions", memory)
    value = field.value or ""
    if any(_fits(step.target, start, end) for step in memory.past) and _fits(value, start, end):
        return submit(observation, memory)
    if not value.startswith(start):
        return Fill(element=field.id, text=start)
    fitting = [e for e in observation.elements if _is_suggestion(e) and _fits(e.text, start, end)]
    return click_or_wait(_innermost_of(fitting), memory, f"a suggestion {start!r}...{end!r}")


def _fits(text: str, start: str, end: str) -> bool:
    return bool(text) and text.startswith(start) and text.endswith(end)


def _is_suggestion(element: Element) -> bool:
    return (
        has_class(element, "ui-menu-item", "ui-menu-item-wrapper", "ui-corner-all")
        or element.role in {"option", "menuitem"}
        or element.tag == "li"
    )


def _innermost_of(elements: list[Element]) -> Element | None:
    return next((e for e in elements if e.tag != "ul"), None)
