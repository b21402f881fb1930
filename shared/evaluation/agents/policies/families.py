"""The task families, and which policy knows a goal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from shared.evaluation.agents.policies import (
    booking,
    buttons,
    calendars,
    choices,
    copying,
    dragging,
    fields,
    figures,
    forms,
    games,
    links,
    mail,
    menus,
    numbers,
    ordering,
    posts,
    scrolling,
    searching,
    sliders,
    typing_in,
    waiting,
)
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import Action, Observation, ReportInfeasible

Policy = Callable[[Observation, Memory], Action | None]
"A pure function; None means that the goal is not of its family."

REFUSALS = 3
"Times the page may refuse the same action in a row before the policy is given up."

FAMILIES: dict[str, Policy] = {
    "identify-figure": figures.identify_figure,
    "click-button": buttons.click_button,
    "click-button-sequence": buttons.click_button_sequence,
    "click-dialog": buttons.click_dialog,
    "click-tab": buttons.click_tab,
    "click-link": links.click_link,
    "click-link-under-tabs": links.click_link_under_tabs,
    "click-link-in-sections": links.click_link_in_sections,
    "expand-section": links.expand_section_and_submit,
    "choose-from-list": choices.choose_from_list,
    "choose-several-from-list": choices.choose_several_from_list,
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
    "handle-mail": mail.handle_mail,
    "use-post": posts.use_post,
    "use-posts": posts.use_posts,
    "book-flight": booking.book_flight,
    "buy-ticket": booking.buy_ticket,
    "order-food": ordering.order_food,
    "find-contact": ordering.find_contact,
    "click-figure": figures.click_figure,
    "count-figures": figures.count_figures,
    "click-grid-point": figures.click_grid_point,
    "click-coloured-box": figures.click_coloured_box,
    "select-shades": figures.select_shades,
    "click-centre": figures.click_centre,
    "solve-sum": numbers.solve_sum,
    "solve-equation": numbers.solve_equation,
    "count-blocks": numbers.count_blocks,
    "mark-parity": numbers.mark_parity,
    "draw-number": numbers.draw_number,
    "guess-number": numbers.guess_number,
    "pick-greatest": numbers.pick_greatest,
    "click-in-order": numbers.click_in_order,
    "type-shown-text": copying.type_shown_text,
    "type-word": copying.type_word,
    "copy-text": copying.copy_text,
    "fill-in-from-table": copying.fill_in_from_table,
    "enter-time": copying.enter_time,
    "enter-colour": copying.enter_colour,
    "scroll-text": scrolling.scroll_text,
    "sign-agreement": scrolling.sign_agreement,
    "use-sliders": sliders.use_sliders,
    "fill-in-radio-and-number": forms.fill_in_radio_and_number,
    "choose-then-click": forms.choose_then_click,
    "search-movies": forms.search_movies,
    "choose-date": calendars.choose_date,
    "create-event": calendars.create_event,
    "click-menu-path": menus.click_menu_path,
    "click-menu-item": menus.click_menu_item,
    "click-wheel-item": menus.click_wheel_item,
    "drag-into-larger": dragging.drag_into_larger,
    "sort-numbers": dragging.sort_numbers,
    "move-item": dragging.move_item,
    "sort-shapes": dragging.sort_shapes,
    "resize": dragging.resize,
    "click-after-pause": waiting.click_after_pause,
    "buy-stock": waiting.buy_stock,
    "play-tic-tac-toe": games.play_tic_tac_toe,
    "delete-file": typing_in.delete_file,
    "style-text": typing_in.style_text,
}
"""Asked in this order: `identify-figure` reads a narrower goal than `click-button`, and
`choose-from-list` than `choose-boxes`."""


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
