"""Actions reach the page as a user's would, and what cannot be done is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shared.evaluation import acting, observing
from shared.evaluation.acting import ActionError, UnknownElementError
from shared.evaluation.benchmark import Goal
from shared.evaluation.protocol import (
    Click,
    DoubleClick,
    Drag,
    Fill,
    Press,
    Scroll,
    SelectOption,
    Wait,
)
from shared.evaluation.tabs import Grounds, Tabs
from workers.browser import BrowserRuntime

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.async_api import BrowserContext

    from shared.evaluation.protocol import Action

LOG = """<script>var log = [];
for (const kind of ["click", "dblclick", "input", "change", "keydown"])
  document.addEventListener(kind, (e) => log.push(kind + ":" + e.target.id), true)</script>"""


class Nobody:
    """Takes no notice."""

    def visited(self, url: str) -> None:
        pass

    refused = broken = visited


def act(
    browser: BrowserRuntime, body: str, *actions: Callable[[dict[str, int]], Action], result: str
) -> Any:
    """Do `actions` (each given the ids by HTML id) on a page, then evaluate `result`."""

    async def work(context: BrowserContext) -> Any:
        tabs = Tabs(
            context,
            key=await observing.prepare(context),
            grounds=Grounds(()),
            unseen="",
            keeps_windows=False,
            witness=Nobody(),
        )
        page = await tabs.start()
        await page.goto("about:blank")
        await page.set_content(f"<!doctype html><body>{LOG}{body}")
        for action in actions:
            seen = await tabs.observe(Goal("", {}), 0, None)
            ids = {e.attributes.get("id", ""): e.id for e in seen.elements}
            await acting.perform(tabs, action(ids))
        return await page.evaluate(result)

    return browser.run(work, timeout=30)


def test_a_click_and_a_double_click_reach_their_element(browser: BrowserRuntime) -> None:
    log = act(
        browser,
        "<button id=a>A</button><svg><rect id=b width=9 height=9 /></svg>",
        lambda ids: Click(element=ids["a"]),
        lambda ids: DoubleClick(element=ids["b"]),
        result="log",
    )

    assert log == ["click:a", "click:b", "click:b", "dblclick:b"]


def test_a_click_takes_a_visible_point_of_a_partly_covered_element(browser: BrowserRuntime) -> None:
    log = act(
        browser,
        """<ul><li id=outer style="cursor:pointer">outer<ul><li id=inner style="cursor:pointer">x
        </li></ul></li></ul><button id=under style="position:absolute;left:0;top:200px;
        width:200px;height:50px">B</button><div id=over style="position:absolute;left:20px;
        top:190px;width:160px;height:70px;background:red">over</div>""",
        lambda ids: Click(element=ids["outer"]),
        lambda ids: Click(element=ids["under"]),
        result="log",
    )

    assert log == ["click:outer", "click:under"]


@pytest.mark.parametrize(
    "hovering",
    [
        # Drawn anew under the pointer, a moment later.
        """<div id=box><button id=a>A</button></div><script>
        document.getElementById("box").addEventListener("mouseover", (e) => {
          if (e.target.id === "a") setTimeout(() => {
            const b = document.createElement("button");
            b.id = "b"; b.textContent = "A"; e.target.replaceWith(b); }, 0);
        });</script>""",
        # Moved away by a style.
        """<style>#box { height: 50px } #box:hover #a { margin-left: 300px }</style>
        <div id=box><button id=a>A</button></div>""",
    ],
)
def test_a_click_hits_what_is_there_once_the_pointer_is(
    browser: BrowserRuntime, hovering: str
) -> None:
    log = act(browser, hovering, lambda ids: Click(element=ids["a"]), result="log")

    assert log in (["click:a"], ["click:b"])


def test_a_covered_element_is_named_with_what_covers_it(browser: BrowserRuntime) -> None:
    with pytest.raises(ActionError, match=r'is covered by <div id=over> "wait"'):
        act(
            browser,
            """<button id=a>A</button>
            <div id=over style="position:fixed;inset:0;background:red">wait</div>""",
            lambda ids: Click(element=ids["a"]),
            result="log",
        )


def test_an_element_out_of_sight_is_scrolled_to(browser: BrowserRuntime) -> None:
    log = act(
        browser,
        """<div style="height:80px;overflow:auto"><div style="height:3000px">tall</div>
        <button id=deep>Deep</button></div>""",
        lambda ids: Click(element=ids["deep"]),
        result="log",
    )

    assert log == ["click:deep"]


def test_filling_types_keys_replaces_the_text_and_never_submits(browser: BrowserRuntime) -> None:
    value, log = act(
        browser,
        "<form onsubmit='log.push(`sent`); return false'><input id=a value=old></form>",
        lambda ids: Fill(element=ids["a"], text="hi\nyou"),
        result="[document.getElementById('a').value, log]",
    )

    assert value == "hi you"
    assert log.count("keydown:a") == 6
    assert log.count("input:a") == 6
    assert "sent" not in log


def test_filling_empties_pastes_long_text_and_sets_dates(browser: BrowserRuntime) -> None:
    values = act(
        browser,
        """<input id=a value=old><textarea id=b></textarea><input id=c type=date>
        <div id=d contenteditable>old</div>""",
        lambda ids: Fill(element=ids["a"], text=""),
        lambda ids: Fill(element=ids["b"], text="line\n" * 100),
        lambda ids: Fill(element=ids["c"], text="2024-02-29"),
        lambda ids: Fill(element=ids["d"], text="new"),
        result="[a.value, b.value.length, c.value, d.innerText, log.includes('change:c')]",
    )

    assert values == ["", 500, "2024-02-29", "new", True]


def test_a_choice_is_made_by_label_and_in_a_list_added(browser: BrowserRuntime) -> None:
    chosen = act(
        browser,
        """<select id=a><option>One<option>Two  words</select>
        <select id=b multiple><option>x<option>y<option>z</select>""",
        lambda ids: SelectOption(element=ids["a"], option="Two words"),
        lambda ids: SelectOption(element=ids["b"], option="x"),
        lambda ids: SelectOption(element=ids["b"], option="z"),
        result="[a.selectedIndex, [...b.selectedOptions].map(o => o.label), log]",
    )

    assert chosen[:2] == [1, ["x", "z"]]
    assert {"input:a", "change:a", "change:b"} <= set(chosen[2])


def test_keys_scrolling_dragging_and_waiting(browser: BrowserRuntime) -> None:
    result = act(
        browser,
        """<input id=a value=ab><textarea id=long rows=2>1\n2\n3\n4\n5\n6\n7\n8\n9</textarea>
        <p id=from>from</p><p id=to>to</p><script>
        from = document.getElementById("from");
        from.onmousedown = () => { document.onmousemove = () => log.push("move"); };
        document.getElementById("to").onmouseup = () => log.push("dropped");</script>""",
        lambda ids: Press(element=ids["a"], key="Backspace"),
        lambda ids: Scroll(element=ids["long"], dy=40),
        lambda ids: Drag(element=ids["from"], onto=ids["to"]),
        lambda ids: Wait(milliseconds=10),
        result="[a.value, document.getElementById('long').scrollTop, log]",
    )

    assert result[0] == "a"
    assert result[1] == 40
    assert result[2].count("move") > 1
    assert "dropped" in result[2]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda ids: Fill(element=ids["button"], text="x"), "cannot be filled"),
        (lambda ids: Fill(element=ids["fixed"], text="x"), "is read-only"),
        (lambda ids: Fill(element=ids["day"], text="1/2/2024"), "takes YYYY-MM-DD"),
        (lambda ids: Click(element=ids["off"]), "is disabled"),
        (lambda ids: SelectOption(element=ids["pick"], option="No"), "it has: One"),
        (lambda ids: SelectOption(element=ids["button"], option="No"), "not a select"),
        (lambda ids: Press(element=ids["button"], key="Bogus"), "no key 'Bogus'"),
    ],
)
def test_what_cannot_be_done_is_said(
    browser: BrowserRuntime, action: Callable[[dict[str, int]], Action], message: str
) -> None:
    with pytest.raises(ActionError, match=message):
        act(
            browser,
            """<button id=button>B</button><input id=fixed readonly><input id=day type=date>
            <button id=off disabled>Off</button><select id=pick><option>One</select>""",
            action,
            result="0",
        )


@pytest.mark.parametrize(
    "action",
    [
        Click(element=99),
        Fill(element=99, text="x"),
        SelectOption(element=99, option="x"),
        Press(element=99, key="a"),
        Scroll(element=99, dy=1),
        Drag(element=99, onto=98),
    ],
)
def test_an_unknown_element_is_said(browser: BrowserRuntime, action: Action) -> None:
    with pytest.raises(UnknownElementError, match="no element 99"):
        act(browser, "<p>x</p>", lambda ids: action, result="0")
