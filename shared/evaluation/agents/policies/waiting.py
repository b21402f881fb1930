"""Goals that are a matter of time: a pause between two buttons, a price that falls."""

from __future__ import annotations

import re

from shared.evaluation.agents.policies.answers import click_or_wait
from shared.evaluation.agents.policies.looking import buttons, saying
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import Action, Click, Observation, Wait

_PAUSE = re.compile(
    r"^Click button (?P<first>\S+), wait (?P<seconds>\d+) seconds?, "
    r"then click button (?P<then>\S+?)\.?$"
)
_BUY = re.compile(r"^Buy \S+ stock when the price is less than \$(?P<limit>\d+\.\d+)\.?$")
_PRICE = re.compile(r"\$(\d+\.\d+)")
_OVERHEAD_MS = 110
"What a wait costs beyond its length: looking at the page and moving the mouse."
_LOOK_MS = 20
_TICK = 1.5
"The most by which the price moves at once: a price so far below stays good for one more tick."
_PATIENCE = 60
"Looks after which a price just below the limit is good enough."


def click_after_pause(observation: Observation, memory: Memory) -> Action | None:
    """One button, a pause, then the other."""
    if not (named := _PAUSE.match(observation.goal)):
        return None
    seen = buttons(observation)
    if not memory.clicked_on(named["first"]):
        return click_or_wait(saying(named["first"], seen), memory, f"button {named['first']}")
    if not memory.waits():
        return Wait(milliseconds=int(named["seconds"]) * 1000 - _OVERHEAD_MS)
    return click_or_wait(saying(named["then"], seen), memory, f"button {named['then']}")


def buy_stock(observation: Observation, memory: Memory) -> Action | None:
    """Look often; buy well below the limit, after a while also just below it."""
    if not (named := _BUY.match(observation.goal)):
        return None
    price = _PRICE.search(observation.text)
    margin = _TICK if len(memory.past) < _PATIENCE else 0.0
    buy = saying("Buy", buttons(observation))
    if price and buy and float(price[1]) <= float(named["limit"]) - margin:
        return Click(element=buy.id)
    return Wait(milliseconds=_LOOK_MS)
