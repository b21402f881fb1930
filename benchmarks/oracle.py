"""The policy that every side of `evaluation` follows: what to do on five MiniWoB++ tasks.

The rule-based agent does the same on these pages. This file needs nothing but Python, because
the peers' environments run it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

TASKS = ("click-test", "click-button", "click-link", "enter-text", "focus-text")
"Of one or two actions each: what is measured is the running and not the solving."


class Move(NamedTuple):
    kind: str
    "`click` or `fill`."
    role: str
    "Of the element, as assistive technology is told."
    name: str
    "Of the element; empty where there is one of the role only."
    text: str = ""


def moves(task: str, goal: str) -> list[Move]:
    """What to do, one after the other, on a page of a task with this goal."""
    wanted = re.findall(r'"([^"]*)"', goal)
    match task:
        case "click-test":
            return [Move("click", "button", "Click Me!")]
        case "click-button":
            return [Move("click", "button", wanted[0])]
        case "click-link":
            # The page draws its links as plain words that listen for clicks.
            return [Move("click", "text", wanted[0])]
        case "enter-text":
            return [Move("fill", "textbox", "", wanted[0]), Move("click", "button", "Submit")]
        case "focus-text":
            return [Move("click", "textbox", "")]
    raise ValueError(f"no moves for {task!r}; there are some for: {', '.join(TASKS)}")
