"""Dragging: into a box, along a list or a grid, into order, and the edge of a text area."""

from __future__ import annotations

import re

from shared.evaluation.agents.policies.answers import submit, wait_for
from shared.evaluation.agents.policies.figures import kind_of
from shared.evaluation.agents.policies.looking import buttons, has_class
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import Action, Drag, Element, Observation, ReportInfeasible

_INTO_LARGER = re.compile(r"^Drag the smaller box so that it is completely inside the larger box")
_SORT = re.compile(r"^Sort the numbers in increasing order, starting with the lowest")
_MOVE = re.compile(
    r"^Drag (?P<name>\S+) (?P<where>to the .+?|(?:up|down|left|right) by one.*?)\.?$"
)
_SHAPES = re.compile(
    r"^Drag all (?P<what>\w+)(?P<any> shapes)? into the (?P<where>black|left) box"
    r"(?P<rest>, and everything else into the right box)?\.?$"
)
_RESIZE = re.compile(
    r"^Resize the textarea so that the (?P<side>width|height) is (?P<how>smaller|larger)"
)
_POSITION = re.compile(r"to the (?P<number>\d+)(?:st|nd|rd|th) position")
_GRID = {
    "top left": 0,
    "top center": 1,
    "top right": 2,
    "center left": 3,
    "center": 4,
    "center right": 5,
    "bottom left": 6,
    "bottom center": 7,
    "bottom right": 8,
}
_AWAY_PX = 2.0
_WHOLE = re.compile(r"^-?\d+$")


def drag_into_larger(observation: Observation, memory: Memory) -> Action | None:
    """The smaller of the two things that can be dragged onto the larger; then submit."""
    if not _INTO_LARGER.match(observation.goal):
        return None
    boxes = [e for e in observation.elements if has_class(e, "ui-draggable")]
    if len(boxes) < 2:
        return wait_for("two boxes", memory)
    small, large = sorted(boxes, key=lambda e: e.box[2] * e.box[3])[:2]
    if any(isinstance(action, Drag) for action in memory.actions()):
        return submit(observation, memory)
    return Drag(element=small.id, onto=large.id)


def sort_numbers(observation: Observation, memory: Memory) -> Action | None:
    """Drag the number that belongs there onto the first place that is wrong; then submit."""
    if not _SORT.match(observation.goal):
        return None
    numbers = [e for e in observation.elements if e.tag == "div" and _WHOLE.match(e.text)]
    numbers.sort(key=lambda e: e.box[1])
    order = sorted(numbers, key=lambda e: int(e.text))
    for here, wanted in zip(numbers, order, strict=True):
        if here.text != wanted.text:
            return Drag(element=wanted.id, onto=here.id)
    return submit(observation, memory)


def move_item(observation: Observation, memory: Memory) -> Action | None:
    """The named item of a list, or of a grid of three columns, onto the place meant."""
    if not (named := _MOVE.match(observation.goal)):
        return None
    items = [e for e in observation.elements if e.tag == "div" and e.text and not e.interactive]
    names = [e.text for e in items]
    if named["name"] not in names:
        return wait_for(f"an item {named['name']!r}", memory)
    here = names.index(named["name"])
    there = _place(named["where"], here, len(items))
    if there is None or not 0 <= there < len(items):
        return ReportInfeasible(reason=f"there is no place {named['where']!r}")
    return Drag(element=items[here].id, onto=items[there].id)


def sort_shapes(observation: Observation, memory: Memory) -> Action | None:
    """The shapes of a kind or a colour into one box, all others into another or nowhere."""
    if not (named := _SHAPES.match(observation.goal)):
        return None
    drawn = [e for e in observation.elements if e.tag in {"rect", "circle", "polygon"}]
    boxes = sorted((e for e in drawn if e.attributes.get("fill") == "none"), key=lambda e: e.box[0])
    if len(boxes) < (2 if named["rest"] else 1):
        return wait_for("a box", memory)
    for shape in drawn:
        if shape in boxes:
            continue
        told = shape.attributes.get("fill") if named["any"] else f"{kind_of(shape)}s"
        if told == named["what"]:
            target = boxes[0]
        elif named["rest"]:
            target = boxes[1]
        else:
            continue
        if not _starts_inside(shape, target):
            return Drag(element=shape.id, onto=target.id)
    return submit(observation, memory)


def resize(observation: Observation, memory: Memory) -> Action | None:
    """The edge of the text area into it or out onto the button; then submit."""
    if not (named := _RESIZE.match(observation.goal)):
        return None
    if any(isinstance(action, Drag) for action in memory.actions()):
        return submit(observation, memory)
    edge = "ui-resizable-e" if named["side"] == "width" else "ui-resizable-s"
    handle = next((e for e in observation.elements if has_class(e, edge)), None)
    area = next((e for e in observation.elements if e.tag == "textarea"), None)
    if handle is None or area is None:
        return wait_for("an edge to drag", memory)
    if named["how"] == "smaller":
        return Drag(element=handle.id, onto=area.id)
    outside = [e for e in buttons(observation) if _beyond(e, handle, named["side"])]
    if not outside:
        return ReportInfeasible(reason="there is nothing beyond the edge to drag it onto")
    return Drag(element=handle.id, onto=outside[0].id)


def _place(where: str, here: int, count: int) -> int | None:
    """The index that `where` means for the item at index `here` of a list or of a grid of 9."""
    grid = count == 9
    if position := _POSITION.search(where):
        return int(position["number"]) - 1
    if where.startswith("to the "):
        place = where.removeprefix("to the ")
        return _GRID.get(place) if grid else {"top": 0, "bottom": count - 1}.get(place)
    row = 3 if grid else 1
    return here + {"up": -row, "down": row, "left": -1, "right": 1}[where.split()[0]]


def _starts_inside(shape: Element, box: Element) -> bool:
    left, top, width, height = box.box
    x, y = shape.box[:2]
    return left < x < left + width and top < y < top + height


def _beyond(element: Element, handle: Element, side: str) -> bool:
    axis = 0 if side == "width" else 1
    return _centre(element, axis) > _centre(handle, axis) + _AWAY_PX


def _centre(element: Element, axis: int) -> float:
    return element.box[axis] + element.box[2 + axis] / 2
