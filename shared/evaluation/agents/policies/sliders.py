"""Sliders: set with the keys of their handles, then submit."""

from __future__ import annotations

import re

from shared.evaluation.agents.policies.answers import submit, wait_for
from shared.evaluation.agents.policies.looking import following, has_class, inputs_of_type
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import (
    Action,
    Click,
    Element,
    Observation,
    Press,
    ReportInfeasible,
)

_ONE = re.compile(r"^Select (?P<number>-?\d+) with the slider and hit Submit\.?$")
_MANY = re.compile(r"^Set the sliders to the combination \[(?P<numbers>[-\d,]+)\] and submit\.?$")
_AND_BOX = re.compile(
    r"^Select (?P<number>-?\d+) with the slider, "
    r"click the (?P<position>\d+)(?:st|nd|rd|th) checkbox, then hit Submit\.?$"
)
_WHOLE = re.compile(r"^-?\d+$")
_PAGE = 20
"A page of jQuery UI's sliders is a fifth of their range, at most this for ranges up to 100."


def use_sliders(observation: Observation, memory: Memory) -> Action | None:
    """Every slider at its number, the checkbox if the goal names one; then submit."""
    goal = observation.goal
    box = _AND_BOX.match(goal)
    if one := _ONE.match(goal) or box:
        wanted = [int(one["number"])]
    elif many := _MANY.match(goal):
        wanted = [int(number) for number in many["numbers"].split(",")]
    else:
        return None
    handles = [e for e in observation.elements if has_class(e, "ui-slider-handle")]
    if len(handles) < len(wanted):
        return wait_for("a slider", memory)
    for handle, number in zip(handles, wanted, strict=False):
        shown = _shown(handle, observation)
        if shown is None:
            return ReportInfeasible(reason="the slider does not show its number")
        if shown != number:
            return Press(element=handle.id, key=_key(number - shown))
    if box and (action := _check(int(box["position"]), observation)):
        return action
    return submit(observation, memory)


def _shown(handle: Element, observation: Observation) -> int | None:
    texts = (e.text for e in following(handle, observation))
    return next((int(text) for text in texts if _WHOLE.match(text)), None)


def _key(difference: int) -> str:
    if abs(difference) >= _PAGE:
        return "PageUp" if difference > 0 else "PageDown"
    return "ArrowRight" if difference > 0 else "ArrowLeft"


def _check(position: int, observation: Observation) -> Action | None:
    boxes = inputs_of_type(observation, "checkbox")
    if len(boxes) < position:
        return ReportInfeasible(reason=f"there is no checkbox {position}")
    chosen = boxes[position - 1]
    return None if chosen.checked else Click(element=chosen.id)
