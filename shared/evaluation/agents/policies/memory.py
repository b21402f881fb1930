"""What a policy remembers of an episode: the actions so far and how the page took them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from shared.evaluation.protocol import Action, Click, DoubleClick, Observation


class PastAction(BaseModel):
    """An action that was decided, on what, and the error it met on the page (None: done)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Action
    target: str = ""
    "What the element said when it was used."
    error: str | None = None


class Memory(BaseModel):
    """The past of one episode, oldest first. Never changed: `after` gives the next one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    past: tuple[PastAction, ...] = ()

    def after(self, action: Action, observation: Observation) -> Memory:
        """The memory once `action` has been decided on `observation`."""
        return Memory(
            past=(*self.past, PastAction(action=action, target=_said(action, observation)))
        )

    def with_error(self, error: str | None) -> Memory:
        """The same memory, knowing that the last action met `error`."""
        if not self.past or error is None:
            return self
        last = self.past[-1].model_copy(update={"error": error})
        return Memory(past=(*self.past[:-1], last))

    def actions(self) -> tuple[Action, ...]:
        """What the page has taken, oldest first."""
        return tuple(step.action for step in self.past if step.error is None)

    def clicked(self, element: int) -> bool:
        """Whether `element` has been clicked and the page took the click."""
        return any(
            isinstance(step.action, Click | DoubleClick)
            and step.action.element == element
            and step.error is None
            for step in self.past
        )

    def clicked_on(self, text: str) -> bool:
        """Whether something that said `text` has been clicked, whatever element it is now."""
        return any(
            isinstance(step.action, Click) and step.target == text and step.error is None
            for step in self.past
        )

    def since_click_on(self, text: str) -> tuple[PastAction, ...]:
        """What was done after the last click on something that said `text`; else everything."""
        for index in range(len(self.past) - 1, -1, -1):
            if isinstance(self.past[index].action, Click) and self.past[index].target == text:
                return self.past[index + 1 :]
        return self.past

    def clicks_at_the_end(self, element: int) -> int:
        """How many clicks on `element` end the past, one after the other."""
        count = 0
        for step in reversed(self.past):
            if step.action != Click(element=element):
                break
            count += 1
        return count

    def waits(self) -> int:
        """How many waits end the past, one after the other."""
        count = 0
        for step in reversed(self.past):
            if step.action.kind != "wait":
                break
            count += 1
        return count

    def last_repeats(self) -> int:
        """How often the last action has been tried in a row and refused by the page."""
        count = 0
        for step in reversed(self.past):
            if step.error is None or step.action != self.past[-1].action:
                break
            count += 1
        return count


def _said(action: Action, observation: Observation) -> str:
    element_id = getattr(action, "element", None)
    return next((e.text for e in observation.elements if e.id == element_id), "")
