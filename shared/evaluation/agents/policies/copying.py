"""Reading text from the page and typing it again: words, texts, cells, a time, a colour."""

from __future__ import annotations

import re
from datetime import datetime

from shared.evaluation.agents.policies.answers import submit, wait_for
from shared.evaluation.agents.policies.fields import fill_in
from shared.evaluation.agents.policies.looking import (
    following,
    has_class,
    inputs_of_type,
    label_of,
    saying,
    text_fields,
)
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import (
    Action,
    Element,
    Fill,
    Observation,
    Press,
    ReportInfeasible,
)

_TYPE_BELOW = re.compile(r"^Type the text below into the text field and press Submit\.?$")
_WORD = re.compile(r"^Find the (?P<position>\d+)(?:st|nd|rd|th) word in the paragraph")
_LAST_WORD = re.compile(r"^Find the last word in the text area, enter it into the text field")
_COPY = re.compile(
    r"^Copy the text (?:in the textarea|from the (?P<position>\d+)(?:st|nd|rd|th) text area) below"
)
_LABELS = re.compile(r"^Enter the value that corresponds with each label into the form")
_TIME = re.compile(r"^Enter (?P<time>\d+:\d\d [AP]M) as the time and press submit\.?$")
_COLOUR = re.compile(r"^Select (?P<colour>\w+) with the color picker and hit Submit\.?$")

_HEX = {
    "aqua": "00FFFF",
    "black": "000000",
    "blue": "0000FF",
    "gold": "FFD700",
    "gray": "808080",
    "green": "008000",
    "lime": "00FF00",
    "magenta": "FF00FF",
    "maroon": "800000",
    "navy": "000080",
    "olive": "808000",
    "orange": "FFA500",
    "pink": "FFC0CB",
    "purple": "800080",
    "red": "FF0000",
    "silver": "C0C0C0",
    "teal": "008080",
    "white": "FFFFFF",
    "yellow": "FFFF00",
}
"The colours of CSS by name, W3C CSS Color Module Level 4, section 6.1."


def type_shown_text(observation: Observation, memory: Memory) -> Action | None:
    """The letters that stand before the field, into it; then submit."""
    if not _TYPE_BELOW.match(observation.goal):
        return None
    fields = text_fields(observation)[:1]
    if not fields:
        return wait_for("a field to type into", memory)
    page = observation.elements
    shown = "".join(e.text for e in page[: page.index(fields[0])] if not e.interactive)
    return fill_in([(fields[0], shown)], observation, memory)


def type_word(observation: Observation, memory: Memory) -> Action | None:
    """The word at a position of the paragraph, or the last of the text area; then submit."""
    if named := _WORD.match(observation.goal):
        paragraph = next((e.text for e in observation.elements if e.tag == "p"), "")
        words, position = paragraph.split(), int(named["position"])
    elif _LAST_WORD.match(observation.goal):
        area = next((e for e in observation.elements if e.tag == "textarea"), None)
        words = _whole_text(area, observation).split() if area else []
        position = len(words)
    else:
        return None
    if not 0 < position <= len(words):
        return ReportInfeasible(reason=f"the text has {len(words)} words and no word {position}")
    word = re.sub(r"[^a-zA-Z0-9]", "", words[position - 1])
    pairs = zip(text_fields(observation)[:1], [word], strict=False)
    return fill_in(pairs, observation, memory)


def copy_text(observation: Observation, memory: Memory) -> Action | None:
    """The text of the text area, or of the one at a position, into the field; then submit."""
    if not (named := _COPY.match(observation.goal)):
        return None
    areas = [e for e in observation.elements if e.tag == "textarea"]
    position = int(named["position"] or 1)
    if len(areas) < position:
        return wait_for(f"text area {position}", memory)
    pairs = zip(text_fields(observation)[:1], [areas[position - 1].value or ""], strict=False)
    return fill_in(pairs, observation, memory)


def fill_in_from_table(observation: Observation, memory: Memory) -> Action | None:
    """Beside each label the cell that follows the label's own in the table; then submit."""
    if not _LABELS.match(observation.goal):
        return None
    cells = [e for e in observation.elements if e.tag in {"td", "th"}]
    pairs = []
    for field in text_fields(observation):
        label = label_of(field, observation).rstrip(":")
        key = saying(label, cells)
        beside = [e for e in following(key, observation) if e in cells] if key else []
        if not beside:
            return ReportInfeasible(reason=f"the table has nothing beside {label!r}")
        pairs.append((field, beside[0].text))
    return fill_in(pairs, observation, memory)


def enter_time(observation: Observation, memory: Memory) -> Action | None:
    """A time of twelve hours into a time field, which takes those of 24; then submit."""
    if not (named := _TIME.match(observation.goal)):
        return None
    moment = datetime.strptime(named["time"], "%I:%M %p")  # noqa: DTZ007 - a time of day
    fields = inputs_of_type(observation, "time")[:1]
    pairs = zip(fields, [moment.strftime("%H:%M")], strict=False)
    return fill_in(pairs, observation, memory)


def enter_colour(observation: Observation, memory: Memory) -> Action | None:
    """The colour's six hexadecimal digits into the field, its picker closed; then submit."""
    named = _COLOUR.match(observation.goal)
    if not named or named["colour"] not in _HEX:
        return None
    field = next((e for e in observation.elements if has_class(e, "jscolor")), None)
    if field is None:
        return wait_for("a colour field", memory)
    digits = _HEX[named["colour"]]
    if (field.value or "").upper() != digits:
        return Fill(element=field.id, text=digits)
    if not any(isinstance(action, Press) for action in memory.actions()):
        return Press(element=field.id, key="Tab")
    return submit(observation, memory)


def _whole_text(area: Element, observation: Observation) -> str:
    """The area's text. A long one is cut off in its value, but not in the text of the page."""
    value = " ".join((area.value or "").split())
    start = observation.text.find(value)
    if start < 0:
        return value
    after = "".join(f" {e.text}" for e in following(area, observation) if e.text)
    return observation.text[start:].removesuffix(after)
