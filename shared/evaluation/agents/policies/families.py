"""The task families, and which policy knows a goal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from shared.evaluation.agents.policies import (
    booking,
    buttons,
    choices,
    fields,
    links,
    people,
    searching,
)
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import Action, Observation, ReportInfeasible

Policy = Callable[[Observation, Memory], Action | None]
"A pure function; None means that the goal is not of its family."

REFUSALS = 3
"Times the page may refuse the same action in a row before the policy is given up."

FAMILIES: dict[str, Policy] = {
    "click-button": buttons.click_button,
    "click-button-sequence": buttons.click_button_sequence,
    "click-dialog": buttons.click_dialog,
    "click-tab": buttons.click_tab,
    "click-link": links.click_link,
    "click-link-under-tabs": links.click_link_under_tabs,
    "click-link-in-sections": links.click_link_in_sections,
    "expand-section": links.expand_section_and_submit,
    "choose-from-list": choices.choose_from_list,
    "choose-boxes": choices.choose_boxes,
    "click-widget": choices.click_widget,
    "use-spinner": choices.use_spinner,
    "enter-text": fields.enter_text,
    "enter-password": fields.enter_password,
    "log-in": fields.log_in,
    "enter-date": fields.enter_date,
    "copy-from-table": fields.copy_from_table,
    "focus-text-field": fields.focus_text_field,
    "search": searching.search,
    "navigate-tree": searching.navigate_tree,
    "pick-suggestion": searching.pick_suggestion,
    "handle-mail": people.handle_mail,
    "use-post": people.use_post,
    "book-flight": booking.book_flight,
}
"Asked in this order: `choose-from-list` reads a narrower goal than `choose-boxes`."


class Choice(NamedTuple):
    action: Action
    family: str
    "The family that answered; empty when none knew the goal."


def choose(
    observation: Observation, memory: Memory, known: Sequence[str] = tuple(FAMILIES)
) -> Choice:
    """The action of the first family among `known` that knows the goal.

    Gives up with `report_infeasible` when none does, or when the page has refused the same
    action `REFUSALS` times in a row. Raises KeyError for a family that does not exist.
    """
    if memory.last_repeats() >= REFUSALS:
        reason = f"the page refused the same action {REFUSALS} times: {memory.past[-1].error}"
        return Choice(ReportInfeasible(reason=reason[:2_000]), "")
    for name in known:
        action = FAMILIES[name](observation, memory)
        if action is not None:
            return Choice(action, name)
    return Choice(ReportInfeasible(reason="no known way to reach this goal"), "")
