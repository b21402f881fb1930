"""Text areas that must be scrolled before the form can be sent off."""

from __future__ import annotations

import re

from shared.evaluation.agents.policies.answers import click_or_wait, submit, wait_for
from shared.evaluation.agents.policies.looking import buttons, saying, text_fields
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import Action, Fill, Observation, Scroll

_SCROLL = re.compile(r"^Scroll the textarea to the (?P<end>bottom|top) of the text")
_SIGN = re.compile(
    r'^Scroll to the bottom of the textarea, enter the name "(?P<name>[^"]*)" '
    r'then press "(?P<button>[^"]+)"\.?$'
)
_CANCEL = re.compile(r"^Click the cancel button\.?$")
_ALL_THE_WAY = 10_000


def scroll_text(observation: Observation, memory: Memory) -> Action | None:
    """All the way up or down; then submit."""
    if not (named := _SCROLL.match(observation.goal)):
        return None
    if any(isinstance(action, Scroll) for action in memory.actions()):
        return submit(observation, memory)
    return _scroll(-_ALL_THE_WAY if named["end"] == "top" else _ALL_THE_WAY, observation, memory)


def sign_agreement(observation: Observation, memory: Memory) -> Action | None:
    """Scroll to the end, which lets the name be entered; then the button that the goal names."""
    if _CANCEL.match(observation.goal):
        return click_or_wait(saying("Cancel", buttons(observation)), memory, "a button 'Cancel'")
    if not (named := _SIGN.match(observation.goal)):
        return None
    field = next(iter(text_fields(observation)), None)
    if field is None:
        return wait_for("a field for the name", memory)
    if field.disabled and not memory.waits():
        return _scroll(_ALL_THE_WAY, observation, memory)
    if field.value != named["name"]:
        return Fill(element=field.id, text=named["name"])
    return submit(observation, memory, label=named["button"])


def _scroll(dy: int, observation: Observation, memory: Memory) -> Action:
    area = next((e for e in observation.elements if e.tag == "textarea"), None)
    return Scroll(element=area.id, dy=dy) if area else wait_for("a text area", memory)
