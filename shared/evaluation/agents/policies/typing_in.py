"""Programs in the page that are used by typing: a terminal, an editor of styled text."""

from __future__ import annotations

import re

from shared.evaluation.agents.policies.answers import click_or_wait, submit, wait_for
from shared.evaluation.agents.policies.looking import has_class, text_fields
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import Action, Fill, Observation, Press

_DELETE = re.compile(
    r"^Use the terminal below to delete a file "
    r"(?:ending with the extension (?P<ending>\.\S+)|that has no file extension)\.?$"
)
_STYLE = re.compile(
    r"^Using the text editor, (?:give everything|give the text (?P<text>\S+)) the style "
    r"(?P<style>bold|italics|underlined) and press Submit\.?$"
)
_BUTTONS = {"bold": "ql-bold", "italics": "ql-italic", "underlined": "ql-underline"}


def delete_file(observation: Observation, memory: Memory) -> Action | None:
    """List the files, then remove one with the ending that the goal names, or with none."""
    if not (named := _DELETE.match(observation.goal)):
        return None
    line = next(iter(text_fields(observation)), None)
    if line is None:
        return wait_for("a line to type commands into", memory)
    done = memory.actions()
    if done and isinstance(done[-1], Fill):
        return Press(element=line.id, key="Enter")
    if not any(isinstance(action, Fill) for action in done):
        return Fill(element=line.id, text="ls")
    outputs = [e.text for e in observation.elements if has_class(e, "output") and e.text]
    files = outputs[-1].split() if outputs else []
    ending = named["ending"]
    fitting = [f for f in files if (f.endswith(ending) if ending else "." not in f)]
    if not fitting:
        return wait_for("such a file", memory)
    return Fill(element=line.id, text=f"rm {fitting[0]}")


def style_text(observation: Observation, memory: Memory) -> Action | None:
    """Select the word or everything with the keyboard, press the style's button; then submit."""
    if not (named := _STYLE.match(observation.goal)):
        return None
    page = observation.elements
    editor = next((e for e in page if has_class(e, "ql-editor")), None)
    button = next((e for e in page if has_class(e, _BUTTONS[named["style"]])), None)
    if editor is None or button is None:
        return wait_for("an editor", memory)
    if memory.clicked(button.id):
        return submit(observation, memory)
    keys = _selection(editor.value or editor.text, named["text"])
    pressed = sum(isinstance(action, Press) for action in memory.actions())
    if pressed < len(keys):
        return Press(element=editor.id, key=keys[pressed])
    return click_or_wait(button, memory, "the button of the style")


def _selection(whole: str, part: str | None) -> list[str]:
    """The keys that select `part` of the text, or all of it, from wherever the caret is."""
    if part is None:
        return ["Control+a"]
    start = max(whole.find(part), 0)
    return ["Control+Home", *["ArrowRight"] * start, *["Shift+ArrowRight"] * len(part)]
