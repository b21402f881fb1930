"""Figures of a drawing: by size, colour and kind; points of a grid; boxes by their colour."""

from __future__ import annotations

import colorsys
import re

from shared.evaluation.agents.policies.answers import click_or_wait, submit
from shared.evaluation.agents.policies.looking import buttons, has_class, saying
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import Action, Click, Element, Observation, ReportInfeasible

_FIGURE = (
    r"(?:(?P<size>large|small) )?"
    r"(?:(?P<colour>red|green|blue|aqua|black|magenta|yellow) )?"
    r"(?P<kind>circle|rectangle|triangle|letter|digit|shape|item|\S)"
)
_CLICK = re.compile(rf"^Click on an? {_FIGURE}$")
_COUNT = re.compile(rf"^How many {_FIGURE}s are there\?$")
_IDENTIFY = re.compile(r"^Click the button that best describes the figure")
_POINT = re.compile(r"^Click on the grid coordinate \((?P<x>-?\d+),(?P<y>-?\d+)\)\.?$")
_BOX = re.compile(r"^Click on the (?P<colour>\w+) colored box\.?$")
_SHADES = re.compile(r"^Select all the shades of (?P<colour>red|green|blue) and press Submit\.?$")
_CENTRE = re.compile(r"^Find and click on the center of the circle, then press submit\.?$")

_KINDS = {"circle": "circle", "rect": "rectangle", "polygon": "triangle"}
_LARGE_PX = 15.0
"Between the two sizes of figures: 10 px and 20 px, the letters' boxes a little higher."
_HUES = {"red": 0.0, "green": 1 / 3, "blue": 2 / 3}
_RGB = re.compile(r"background-color: rgb\((\d+), (\d+), (\d+)\)")


def click_figure(observation: Observation, memory: Memory) -> Action | None:
    """Any figure of the size, colour and kind that the goal names."""
    if not (named := _CLICK.match(observation.goal)):
        return None
    found = next((f for f in _figures(observation) if _fits(f, named)), None)
    return click_or_wait(found, memory, "such a figure")


def count_figures(observation: Observation, memory: Memory) -> Action | None:
    """The button with the number of such figures."""
    if not (named := _COUNT.match(observation.goal)):
        return None
    count = sum(_fits(figure, named) for figure in _figures(observation))
    found = saying(str(count), buttons(observation))
    return click_or_wait(found, memory, f"the button {count}")


def identify_figure(observation: Observation, memory: Memory) -> Action | None:
    """The button with the kind of the only figure."""
    if not _IDENTIFY.match(observation.goal):
        return None
    figure = next(iter(_figures(observation)), None)
    if figure is None:
        return ReportInfeasible(reason="there is no figure on the page")
    kind = kind_of(figure)
    label = "Number" if kind == "digit" else kind.capitalize()
    return click_or_wait(saying(label, buttons(observation)), memory, f"the button {label!r}")


def click_grid_point(observation: Observation, memory: Memory) -> Action | None:
    """The point of a square grid of circles whose middle is the origin."""
    if not (named := _POINT.match(observation.goal)):
        return None
    points = [e for e in observation.elements if e.tag == "circle"]
    columns = sorted({e.box[0] for e in points})
    rows = sorted({e.box[1] for e in points}, reverse=True)
    column, row = int(named["x"]) + len(columns) // 2, int(named["y"]) + len(rows) // 2
    found = None
    if 0 <= column < len(columns) and 0 <= row < len(rows):
        found = next((e for e in points if e.box[:2] == (columns[column], rows[row])), None)
    return click_or_wait(found, memory, "that point of the grid")


def click_coloured_box(observation: Observation, memory: Memory) -> Action | None:
    """The box whose background is the colour that the goal names."""
    if not (named := _BOX.match(observation.goal)):
        return None
    style = f"background-color: {named['colour']};"
    found = next((e for e in observation.elements if style in e.attributes.get("style", "")), None)
    return click_or_wait(found, memory, f"a {named['colour']} box")


def select_shades(observation: Observation, memory: Memory) -> Action | None:
    """Every box whose hue is nearest to the colour that the goal names, then submit."""
    if not (named := _SHADES.match(observation.goal)):
        return None
    for element in observation.elements:
        rgb = _RGB.search(element.attributes.get("style", ""))
        if rgb is None:
            continue
        red, green, blue = (int(channel) / 255 for channel in rgb.groups())
        wanted = _nearest(colorsys.rgb_to_hsv(red, green, blue)[0]) == named["colour"]
        if wanted != has_class(element, "selected"):
            return Click(element=element.id)
    return submit(observation, memory)


def click_centre(observation: Observation, memory: Memory) -> Action | None:
    """The middle of the circle's box, then submit."""
    if not _CENTRE.match(observation.goal):
        return None
    circle = next((e for e in observation.elements if e.tag == "circle"), None)
    if circle is not None and not memory.clicked(circle.id):
        return Click(element=circle.id)
    return submit(observation, memory)


def kind_of(figure: Element) -> str:
    """`letter`, `digit`, `circle`, `rectangle` or `triangle`."""
    if figure.tag == "text":
        return "digit" if figure.text.isdigit() else "letter"
    return _KINDS[figure.tag]


def _figures(observation: Observation) -> list[Element]:
    return [
        e
        for e in observation.elements
        if (e.tag in _KINDS or e.tag == "text") and e.attributes.get("fill", "none") != "none"
    ]


def _fits(figure: Element, named: re.Match[str]) -> bool:
    size = "large" if max(figure.box[2:]) > _LARGE_PX else "small"
    kind = kind_of(figure)
    kinds = {kind, figure.text, "item"} | ({"shape"} if figure.tag != "text" else set())
    return (
        named["size"] in (None, size)
        and named["colour"] in (None, figure.attributes["fill"])
        and named["kind"] in kinds
    )


def _nearest(hue: float) -> str:
    """The colour at the least distance around the circle of hues, on which 0 is 1."""
    return min(_HUES, key=lambda colour: abs((hue - _HUES[colour] + 0.5) % 1 - 0.5))
