"""The ends that policies share: use what was found, wait a little for it, or give up."""

from __future__ import annotations

from shared.evaluation.agents.policies.looking import buttons, saying
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import Action, Click, Element, Observation, ReportInfeasible, Wait

PATIENCE = 4
"Waits in a row before a policy says that what it looks for is not on the page."
PAUSE_MS = 250
"Longer than the 200 ms that jQuery UI takes for half of its animations."


def wait_for(what: str, memory: Memory) -> Action:
    """Wait a moment for `what`, and after `PATIENCE` waits in a row give up."""
    if memory.waits() >= PATIENCE:
        return ReportInfeasible(reason=f"{what} is not on the page")
    return Wait(milliseconds=PAUSE_MS)


def click_or_wait(element: Element | None, memory: Memory, what: str) -> Action:
    """Click the element, or wait for it if it was not found."""
    return Click(element=element.id) if element is not None else wait_for(what, memory)


def submit(observation: Observation, memory: Memory, label: str = "Submit") -> Action:
    """Click the button that sends the form off."""
    return click_or_wait(saying(label, buttons(observation)), memory, f"the button {label!r}")
