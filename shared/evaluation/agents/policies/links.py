"""Links: on the page, under tabs, in sections that fold, and the sections themselves."""

from __future__ import annotations

import re

from shared.evaluation.agents.policies.answers import click_or_wait, submit, wait_for
from shared.evaluation.agents.policies.looking import has_class, saying
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import Action, Click, Element, Observation

_LINK = re.compile(r'^Click on the link "(?P<link>[^"]+)"\.?$')
_UNDER_TABS = re.compile(r'^Switch between the tabs .* link "(?P<link>[^"]+)"\.?$')
_IN_SECTIONS = re.compile(r'^Expand the sections below, .* link "(?P<link>[^"]+)"\.?$')
_SECTION = re.compile(r"^Expand the section below and click submit\.?$", re.IGNORECASE)


def click_link(observation: Observation, memory: Memory) -> Action | None:
    """The link that the goal names, somewhere in the text."""
    if not (named := _LINK.match(observation.goal)):
        return None
    found = saying(named["link"], _links(observation))
    return click_or_wait(found, memory, f"the link {named['link']!r}")


def click_link_under_tabs(observation: Observation, memory: Memory) -> Action | None:
    """Go through the tabs until the link is seen."""
    if not (named := _UNDER_TABS.match(observation.goal)):
        return None
    return _open_until_seen(named["link"], _tabs(observation), observation, memory)


def click_link_in_sections(observation: Observation, memory: Memory) -> Action | None:
    """Unfold one section after another until the link is seen."""
    if not (named := _IN_SECTIONS.match(observation.goal)):
        return None
    return _open_until_seen(named["link"], _section_headers(observation), observation, memory)


def expand_section_and_submit(observation: Observation, memory: Memory) -> Action | None:
    """Unfold the only section, then submit."""
    if not _SECTION.match(observation.goal):
        return None
    headers = _section_headers(observation)
    if not headers:
        return wait_for("a section to expand", memory)
    if not memory.clicked(headers[0].id):
        return Click(element=headers[0].id)
    return submit(observation, memory)


def _open_until_seen(
    link: str, openers: list[Element], observation: Observation, memory: Memory
) -> Action:
    openers_ids = {e.id for e in openers}
    links = [e for e in _links(observation) if e.id not in openers_ids]
    if (found := saying(link, links)) is not None:
        return Click(element=found.id)
    unopened = [e for e in openers if not memory.clicked(e.id)]
    if not unopened:
        return wait_for(f"the link {link!r}", memory)
    return Click(element=unopened[0].id)


def _links(observation: Observation) -> list[Element]:
    """What looks like a link: an anchor, its role, or text styled as one."""
    return [
        e
        for e in observation.elements
        if e.tag == "a" or e.role == "link" or has_class(e, "alink", "link")
    ]


def _tabs(observation: Observation) -> list[Element]:
    anchors = [e for e in observation.elements if has_class(e, "ui-tabs-anchor")]
    return anchors or [e for e in observation.elements if e.role == "tab"]


def _section_headers(observation: Observation) -> list[Element]:
    headers = [e for e in observation.elements if has_class(e, "ui-accordion-header")]
    return headers or [e for e in observation.elements if e.role == "tab" or e.tag == "h3"]
