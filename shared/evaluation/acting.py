"""Performs an agent's action on the page: real mouse and keys, and nothing but the actions.

There is no script evaluation among them, and addresses are those of the task's own origins, so an
agent cannot reach its reward.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, assert_never

from playwright.async_api import Error as PlaywrightError

from shared.evaluation.observing import within
from shared.evaluation.protocol import (
    Action,
    Answer,
    Back,
    Click,
    CloseTab,
    DoubleClick,
    Drag,
    Fill,
    FocusTab,
    Forward,
    Goto,
    Hover,
    NewTab,
    Press,
    ReportInfeasible,
    Scroll,
    SelectOption,
    Wait,
)
from shared.evaluation.tabs import TabError, UnknownTabError

if TYPE_CHECKING:
    from playwright.async_api import Page

    from shared.evaluation.observing import PageReader
    from shared.evaluation.protocol import Task
    from shared.evaluation.tabs import Tabs

_SETTLE_MS: Final = 800
"jQuery's animations take 400 ms unless told otherwise."

_SUGGESTIONS_MS: Final = 400
"jQuery UI's autocomplete waits 300 ms after a key before it suggests."

_TYPED_CHARACTERS: Final = 200
"A longer text is inserted at once: every key is three messages to the browser."


class ActionError(Exception):
    """The action could not be done; the message is for the agent."""


class SenselessActionError(ActionError):
    """The action could not be done on any page like this one."""


class UnknownElementError(SenselessActionError):
    """The action names an element that is not on the page."""


def check(task: Task, action: Action) -> None:
    """Raises `SenselessActionError` for an action that the task does not allow."""
    if action.kind not in task.actions:
        raise SenselessActionError(
            f"{action.kind} is not possible in this task; possible: {', '.join(task.actions)}"
        )


async def perform(tabs: Tabs, action: Action) -> None:
    """Do `action` and wait until the page in front has come to rest.

    Raises `ActionError` with what the agent should know. Playwright's errors pass through.
    """
    tabs.about_to_act()
    page, reader = tabs.page, tabs.reader
    match action:
        case Click(element=element):
            x, y = await _under_pointer(page, reader, element)
            await within(page.mouse.click(x, y))
        case DoubleClick(element=element):
            x, y = await _under_pointer(page, reader, element)
            await within(page.mouse.dblclick(x, y))
        case Hover(element=element):
            x, y = await _point(reader, element)
            await within(page.mouse.move(x, y))
        case Fill(element=element, text=text):
            await _fill(page, reader, element, text)
        case SelectOption(element=element, option=option):
            folded = " ".join(option.split())
            _checked(await reader.ask("selectOption", element, folded), element)
        case Press(element=element, key=key):
            _checked(await reader.ask("focus", element), element)
            await _press(page, key)
        case Drag(element=element, onto=onto):
            await _drag(page, reader, element, onto)
        case Scroll(element=element, dy=dy):
            _checked(await reader.ask("scroll", element, dy), element)
        case Wait(milliseconds=milliseconds):
            await asyncio.sleep(milliseconds / 1000)
        case Goto() | Back() | Forward() | NewTab() | CloseTab() | FocusTab():
            await _browse(tabs, action)
        case Answer() | ReportInfeasible():
            return
        case _:
            assert_never(action)
    await tabs.settle(_SETTLE_MS)


async def _browse(tabs: Tabs, action: Goto | Back | Forward | NewTab | CloseTab | FocusTab) -> None:
    try:
        match action:
            case Goto(url=url):
                await tabs.goto(url)
            case Back():
                await tabs.back()
            case Forward():
                await tabs.forward()
            case NewTab(url=new):
                await tabs.open(new)
            case CloseTab(tab=tab):
                await tabs.close(tab)
            case FocusTab(tab=tab):
                await tabs.focus(tab)
    except UnknownTabError as error:
        raise SenselessActionError(str(error)) from None
    except TabError as error:
        raise ActionError(str(error)) from None


def _checked(answer: dict[str, Any], element: int | None) -> dict[str, Any]:
    if answer.get("unknown"):
        raise UnknownElementError(f"there is no element {element} on the page")
    if "error" in answer:
        raise ActionError(answer["error"])
    return answer


async def _point(reader: PageReader, element: int) -> tuple[float, float]:
    found = _checked(await reader.ask("point", element), element)
    return found["x"], found["y"]


async def _under_pointer(page: Page, reader: PageReader, element: int) -> tuple[float, float]:
    """Where to press. A page that answers to the pointer is given the time to, as by a user."""
    found = _checked(await reader.ask("point", element), element)
    x, y = found["x"], found["y"]
    if not found["hovers"]:
        return x, y
    await within(page.mouse.move(x, y))
    there = await reader.ask("afterHover", element, x, y)
    return there["x"], there["y"]


async def _fill(page: Page, reader: PageReader, element: int, text: str) -> None:
    field = _checked(await reader.ask("fill", element, text), element)
    if field.get("done"):
        return
    # Enter would send a form off in the middle of the text.
    text = " ".join(text.splitlines()) if field["oneLine"] else text
    if not text:
        if not field["empty"]:
            await within(page.keyboard.press("Delete"))
    elif len(text) <= _TYPED_CHARACTERS:
        await within(page.keyboard.type(text))
    else:
        await within(page.keyboard.insert_text(text))
    if field["suggests"]:
        await asyncio.sleep(_SUGGESTIONS_MS / 1000)


async def _press(page: Page, key: str) -> None:
    try:
        await within(page.keyboard.press(key))
    except PlaywrightError as error:
        if "Unknown key" not in error.message:
            raise
        raise ActionError(
            f"there is no key {key!r}; keys are called Enter, Tab, ArrowDown, a, Control+a"
        ) from None


async def _drag(page: Page, reader: PageReader, element: int, onto: int) -> None:
    x, y = await _point(reader, element)
    await within(page.mouse.move(x, y))
    await within(page.mouse.down())
    try:
        drop = _checked(await reader.ask("dropPoint", onto, element), onto)
        to_x, to_y = _past(x, drop["x"]), _past(y, drop["y"])
        # Several moves: what is dragged often follows only from the second one on.
        await within(page.mouse.move(to_x, to_y, steps=6))
    finally:
        await within(page.mouse.up())


def _past(start: float, end: float) -> float:
    """`end`, a pixel further on: lists that are sorted swap two past the middle and not at it."""
    return end if abs(end - start) < 2 else end + (1 if end > start else -1)
