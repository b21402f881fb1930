"""The random agent: the baseline that shows what a task gives away for nothing."""

from __future__ import annotations

import random
import re
from typing import Final

from shared.evaluation.agents.policies.looking import is_text_field
from shared.evaluation.protocol import (
    Action,
    Answer,
    Click,
    Decision,
    Element,
    Fill,
    Observation,
    Part,
    Press,
    Scroll,
    SelectOption,
    Task,
)

_WORD: Final = re.compile(r"\"([^\"]{1,100})\"|(\w[\w@.:/-]*)")
_SCROLL: Final = 400
_MOST_OPTIONS: Final = 50
_MOST_TEXTS: Final = 20


class RandomAgent:
    """Draws one of `sensible_actions`, each as likely as another, by the episode's seed.

    The same task, seed and pages give the same actions.
    """

    parts: frozenset[Part] = frozenset()

    def __init__(self) -> None:
        self._draw = random.Random(0)
        self._kinds: frozenset[str] = frozenset()

    async def reset(self, task: Task, seed: int) -> None:
        self._draw = random.Random(f"{task.benchmark}/{task.name}:{seed}")
        self._kinds = frozenset(task.actions)

    async def act(self, observation: Observation) -> Decision:
        actions = sensible_actions(observation, self._kinds)
        return Decision(self._draw.choice(actions), reasoning=f"one of {len(actions)}")

    async def close(self) -> None:
        """Nothing is held open."""


def sensible_actions(observation: Observation, kinds: frozenset[str]) -> list[Action]:
    """What somebody might do who can use a browser and cannot read, of the allowed kinds.

    To click what is interactive, fill a field with a word of the goal, choose an entry of a list,
    press Enter in a field, answer with a word of the goal, and to scroll. Each pair of element
    and text is an action of its own. Never empty: scrolling is what is left.
    """
    words = _words(observation.goal)
    actions: list[Action] = [
        action
        for element in observation.elements
        if element.interactive and not element.disabled
        for action in _on(element, words)
    ]
    actions += [Answer(text=word) for word in words]
    scrolls: list[Action] = [Scroll(dy=_SCROLL), Scroll(dy=-_SCROLL)]
    return [action for action in (*actions, *scrolls) if action.kind in kinds] or scrolls


def _on(element: Element, words: list[str]) -> list[Action]:
    if element.tag == "select":
        return [
            SelectOption(element=element.id, option=option[:1_000])
            for option in element.options[:_MOST_OPTIONS]
        ]
    if is_text_field(element) or element.tag == "textarea":
        filled: list[Action] = [Fill(element=element.id, text=word) for word in words]
        return [*filled, Press(element=element.id, key="Enter")]
    return [Click(element=element.id)]


def _words(goal: str) -> list[str]:
    """What the goal quotes, and its words, each once."""
    found = (quoted or word for quoted, word in _WORD.findall(goal))
    return list(dict.fromkeys(found))[:_MOST_TEXTS]
