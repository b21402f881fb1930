"""What the stand-in answers: written rules, with stated imperfections.

- It knows the families in `KNOWN` only, and reports any other goal as infeasible.
- In `SLIPS` of 1,000 prompts it takes a worse action: it clicks an element that the rules did
  not choose, or types the text short of its last letter.
- In `MUMBLES` of 1,000 prompts it answers with prose and no JSON. It does so once: asked again,
  it answers properly.

Which prompts these are is told by the SHA-256 of the prompt without its `url:` line, whose port
changes from run to run: the same page and past always get the same answer.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import NamedTuple

from shared.evaluation.agents.policies.families import Choice, choose
from shared.evaluation.protocol import Action, Click, Fill, Observation, ReportInfeasible
from shared.evaluation.stand_in.reading import UnreadablePromptError, read_prompt

KNOWN = (
    "click-button",
    "click-button-sequence",
    "click-dialog",
    "click-tab",
    "click-link",
    "click-link-under-tabs",
    "expand-section",
    "choose-from-list",
    "choose-boxes",
    "click-widget",
    "enter-text",
    "enter-password",
    "log-in",
    "enter-date",
    "copy-from-table",
    "focus-text-field",
    "navigate-tree",
    "pick-suggestion",
)
SLIPS = 50
MUMBLES = 20
_OUT_OF = 1_000
_URL = re.compile(r"^url: .*$", re.MULTILINE)


class Said(NamedTuple):
    """An action with what is said of it; of a mumbled answer only the words, and no action."""

    action: Action | None
    reasoning: str
    confidence: float = 0.0

    @property
    def text(self) -> str:
        """As it is said in a chat without tools."""
        if self.action is None:
            return self.reasoning
        shown = {"reasoning": self.reasoning, "confidence": self.confidence}
        return json.dumps(
            {**shown, "action": self.action.model_dump(mode="json")}, ensure_ascii=False
        )

    @property
    def arguments(self) -> str:
        """As they are given to the function that is called like the action's kind."""
        shown = {"reasoning": self.reasoning, "confidence": self.confidence}
        fields = self.action.model_dump(mode="json", exclude={"kind"}) if self.action else {}
        return json.dumps({**fields, **shown}, ensure_ascii=False)


def answer(prompt: str, turns: int) -> str:
    """The answer to the text of a user's first turn, in a conversation of `turns` turns."""
    return decide(prompt, turns).text


def decide(prompt: str, turns: int) -> Said:
    """The same before it is put into words. `turns` are those of the user and of tools."""
    chance = _draw(prompt)
    draw = chance % _OUT_OF
    if draw < MUMBLES and turns == 1:
        return Said(None, "I would have a look at the page first and then decide what to do.")
    try:
        observation, memory = read_prompt(prompt)
    except UnreadablePromptError as error:
        reason = f"This is a stand-in, not a model: {error}."
        return Said(ReportInfeasible(reason=reason), reason)
    choice = choose(observation, memory, KNOWN)
    if MUMBLES <= draw < MUMBLES + SLIPS:
        worse = _worse(choice.action, observation, chance // _OUT_OF)
        return Said(worse, "This looks right.", _rounded(0.3 + chance % 400 / _OUT_OF))
    return Said(choice.action, _reason(choice), _rounded(0.7 + chance % 300 / _OUT_OF))


def _draw(prompt: str) -> int:
    lasting = _URL.sub("", prompt, count=1)
    return int.from_bytes(hashlib.sha256(lasting.encode()).digest()[:8], "big")


def _worse(action: Action, observation: Observation, chance: int) -> Action:
    if isinstance(action, Fill) and action.text:
        return action.model_copy(update={"text": action.text[:-1]})
    chosen = getattr(action, "element", None)
    others = [e.id for e in observation.elements if e.interactive and e.id != chosen]
    return Click(element=others[chance % len(others)]) if others else action


def _reason(choice: Choice) -> str:
    return f"The goal is to {choice.family}." if choice.family else "No rule for this goal."


def _rounded(confidence: float) -> float:
    return round(confidence, 3)
