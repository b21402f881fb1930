"""Buttons, dialogs, tabs that are named, and sequences of buttons."""

from __future__ import annotations

import re

from shared.evaluation.agents.policies.answers import click_or_wait
from shared.evaluation.agents.policies.looking import buttons, has_class, saying
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import Action, Click, Element, Observation, ReportInfeasible

_NAMED = re.compile(
    r'^Click (?:on )?(?:the )?(?:button "?(?P<a>[^",]+?)"?|"(?P<b>[^"]+)" button)\.?$'
)
_ANY = re.compile(r"^Click the button\.?$")
_SEQUENCE = re.compile(r"^Click button (?P<first>\S+), then click button (?P<then>\S+?)\.?$")
_CLOSE = re.compile(r'^Close the dialog(?: box)? by clicking the "x"\.?$')
_DIALOG = re.compile(r'^Click the button in the dialog(?: box)? labeled "(?P<label>[^"]+)"\.?$')
_TAB = re.compile(r"^Click on (?P<tab>Tab #\d+)\.?$")


def click_button(observation: Observation, memory: Memory) -> Action | None:
    """The one button, or the button that the goal names."""
    seen = buttons(observation)
    if _ANY.match(observation.goal):
        return click_or_wait(seen[0] if seen else None, memory, "a button")
    if named := _NAMED.match(observation.goal):
        text = named["a"] or named["b"]
        return click_or_wait(saying(text, seen), memory, f"the button {text!r}")
    return None


def click_button_sequence(observation: Observation, memory: Memory) -> Action | None:
    """One named button, then another."""
    if not (named := _SEQUENCE.match(observation.goal)):
        return None
    first = saying(named["first"], buttons(observation))
    then = saying(named["then"], buttons(observation))
    if first is None or then is None:
        return ReportInfeasible(reason="one of the two buttons is not on the page")
    return Click(element=then.id if memory.clicked(first.id) else first.id)


def click_dialog(observation: Observation, memory: Memory) -> Action | None:
    """The cross of a dialog, or its button with the label that the goal names."""
    seen = buttons(observation)
    if _CLOSE.match(observation.goal):
        return click_or_wait(_cross(seen), memory, "the cross of the dialog")
    if named := _DIALOG.match(observation.goal):
        label = named["label"]
        found = _cross(seen) if label == "x" else saying(label, seen)
        return click_or_wait(found, memory, f"the button {label!r}")
    return None


def click_tab(observation: Observation, memory: Memory) -> Action | None:
    """The tab that the goal names."""
    if not (named := _TAB.match(observation.goal)):
        return None
    found = saying(named["tab"], observation.elements)
    return click_or_wait(found, memory, named["tab"])


def _cross(seen: list[Element]) -> Element | None:
    by_class = [e for e in seen if has_class(e, "ui-dialog-titlebar-close")]
    by_name = [
        e
        for e in seen
        if {e.text.casefold(), e.attributes.get("title", "").casefold()} & {"x", "×", "close"}  # noqa: RUF001
    ]
    return next(iter(by_class + by_name), None)
