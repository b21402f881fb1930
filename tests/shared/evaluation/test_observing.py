"""What an agent sees of a page, and what a page sees of that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import pytest
from playwright.async_api import Error as PlaywrightError

from shared.evaluation import observing
from shared.evaluation.benchmark import Goal
from shared.evaluation.observing import PageHungError, PageReader, within
from workers.browser import BrowserRuntime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import BrowserContext, Page

    from shared.evaluation.protocol import Element, Observation

T = TypeVar("T")


def on_page(
    browser: BrowserRuntime, body: str, work: Callable[[Page, PageReader], Awaitable[T]]
) -> T:
    async def open_and_work(context: BrowserContext) -> T:
        key = await observing.prepare(context)
        page = await context.new_page()
        await page.goto("about:blank")
        await page.set_content(f"<!doctype html><title>A page</title><body>{body}")
        return await work(page, PageReader(page, key, "#query"))

    return browser.run(open_and_work, timeout=30)


def look(browser: BrowserRuntime, body: str) -> Observation:
    async def observe(page: Page, reader: PageReader) -> Observation:
        return await reader.observe(Goal("Do it.", {"who": "you"}), 3, "no")

    return on_page(browser, body, observe)


def named(seen: Observation, html_id: str) -> Element:
    return next(e for e in seen.elements if e.attributes.get("id") == html_id)


def test_an_observation_carries_goal_page_and_controls(browser: BrowserRuntime) -> None:
    seen = look(
        browser,
        """<label for=who>Name</label> <input id=who value=Ann>
        <input type=checkbox id=box checked> <button id=go disabled>Go</button>
        <select id=pick><option>One<option selected>Two</select> <a id=link href="#x">More</a>""",
    )

    assert (seen.goal, seen.goal_fields, seen.step, seen.last_error) == (
        "Do it.",
        {"who": "you"},
        3,
        "no",
    )
    assert (seen.title, seen.text) == ("A page", "Name Go More")
    assert seen.dom_nodes > 8
    who = named(seen, "who")
    assert (who.role, who.text, who.value, who.interactive) == ("textbox", "Name", "Ann", True)
    assert named(seen, "box").checked is True
    assert named(seen, "go").disabled is True
    pick = named(seen, "pick")
    assert (pick.role, pick.value, pick.options) == ("combobox", "Two", ("One", "Two"))
    assert named(seen, "link").role == "link"


def test_what_is_hidden_or_the_goals_own_is_not_listed(browser: BrowserRuntime) -> None:
    seen = look(
        browser,
        """<div id=query>Click <b>it</b></div><p id=a>here</p><p id=b style="display:none">no</p>
        <p id=c style="visibility:hidden">no <span id=d style="visibility:visible">yes</span></p>
        <script>var no = 1</script>""",
    )

    assert [e.attributes["id"] for e in seen.elements] == ["a", "d"]
    assert seen.text == "here yes"


def test_bare_text_shapes_and_listeners_can_be_clicked_on(browser: BrowserRuntime) -> None:
    seen = look(
        browser,
        """<div><span id=plain>word</span> <span id=linked style="cursor:pointer">link</span></div>
        <div id=icon style="width:9px;height:9px"></div>
        <svg width=50 height=50><circle id=dot cx=9 cy=9 r=5 fill=red /></svg>
        <script>document.getElementById("icon").addEventListener("click", () => 1)</script>""",
    )

    assert named(seen, "plain").interactive is False
    assert named(seen, "linked").interactive is True
    assert named(seen, "icon").interactive is True
    dot = named(seen, "dot")
    assert (dot.role, dot.attributes["fill"]) == ("graphic", "red")


def test_ids_stay_with_their_elements_and_are_not_used_twice(browser: BrowserRuntime) -> None:
    async def twice(page: Page, reader: PageReader) -> tuple[Observation, Observation, Observation]:
        goal = Goal("", {})
        first = await reader.observe(goal, 0, None)
        await page.evaluate(
            "document.body.prepend(Object.assign("
            "document.createElement('p'), {id: 'new', innerText: 'new'}))"
        )
        second = await reader.observe(goal, 1, None)
        await page.goto("data:text/html,<p id=other>other")
        return first, second, await reader.observe(goal, 2, None)

    first, second, third = on_page(browser, "<p id=a>a</p><p id=b>b</p>", twice)

    assert named(first, "a").id == named(second, "a").id
    assert named(first, "b").id == named(second, "b").id
    ids = [named(second, "a").id, named(second, "b").id, named(second, "new").id]
    assert len({*ids, named(third, "other").id}) == 4


def test_a_huge_page_is_bounded_and_its_controls_come_first(browser: BrowserRuntime) -> None:
    seen = look(
        browser,
        """<div id=many></div><button id=last>Last</button><script>
        document.getElementById("many").innerHTML = "<p>some words of text</p>".repeat(20000);
        </script>""",
    )

    assert len(seen.elements) == 500
    assert named(seen, "last").interactive
    assert len(seen.text) <= 20_000
    assert seen.dom_nodes > 20_000


def test_the_page_sees_a_pinned_clock_and_nothing_of_the_reader(browser: BrowserRuntime) -> None:
    async def compare(page: Page, reader: PageReader) -> tuple[list[str], list[str], list[object]]:
        names = "Object.getOwnPropertyNames(window).sort()"
        untouched = await page.context.browser.new_context()  # type: ignore[union-attr]
        clean = await (await untouched.new_page()).evaluate(names)
        await untouched.close()
        await reader.attach()
        times = await page.evaluate(
            "[new Date().getFullYear(), new Date(2020, 1, 3).getFullYear(), typeof Date(),"
            " new Date() instanceof Date, Intl.DateTimeFormat().resolvedOptions().timeZone,"
            " navigator.language]"
        )
        return clean, await page.evaluate(names), times

    clean, watched, times = on_page(browser, "<p>x</p>", compare)

    assert [name for name in watched if name not in clean] == []
    assert times == [2024, 2020, "string", True, "UTC", "en-US"]


def test_a_page_that_does_not_answer_is_an_error_in_time() -> None:
    with pytest.raises(PageHungError, match=r"did not answer for 0.01 s"):
        asyncio.run(within(asyncio.sleep(5), seconds=0.01))


def test_a_library_that_respells_arrays_as_json_changes_nothing(browser: BrowserRuntime) -> None:
    plain = look(browser, "<button id=go>Go</button>")
    respelled = look(
        browser,
        """<button id=go>Go</button><script>
        for (const kind of [Array, Object, String, Number]) {
          Object.defineProperty(kind.prototype, "toJSON", { configurable: true, value: () => "x" });
        }
        JSON.stringify = () => "{}";
        </script>""",
    )

    assert respelled.elements == plain.elements


def test_half_a_character_anywhere_is_replaced_and_what_looks_like_one_is_not(
    browser: BrowserRuntime,
) -> None:
    seen = look(
        browser,
        r"""<button id=go>C:\\ud800 \ud800 😀</button>
        <script>go.setAttribute("role", "a\ud800\udbff\\\ud800b")</script>""",
    )

    go = named(seen, "go")
    assert go.text == r"C:\\ud800 \ud800 😀"
    assert go.role == "a\ufffd\ufffd\\\ufffdb"


def test_what_a_page_says_of_itself_is_cut_and_its_body_is_its_body(
    browser: BrowserRuntime,
) -> None:
    seen = look(
        browser,
        """<img name=body><button id=go>Go</button><script>
        go.setAttribute("role", "r".repeat(1e6));
        for (let i = 0; i < 500; i++) go.setAttribute(`aria-${i}-${"x".repeat(1000)}`, "y");
        </script>""",
    )

    go = named(seen, "go")
    assert len(go.role) == 200
    assert len(go.attributes) < 60
    assert max(map(len, go.attributes)) == 200
    assert "Go" in seen.text


@pytest.mark.parametrize(
    "lie",
    [
        '"x".repeat(2e7)',
        '"[".repeat(2e5)',
        '"{}"',
        "null",
        """JSON.stringify({ nextId: 1, elements: [{}] })""",
        '"1".repeat(5000)',
    ],
)
def test_a_page_that_answers_for_the_reader_is_an_error_of_the_page(
    browser: BrowserRuntime, lie: str
) -> None:
    async def observe(page: Page, reader: PageReader) -> None:
        await page.goto("about:blank")
        await page.evaluate(
            """lie => {
              const named = /^_\\w{32}$/;
              const key = Object.getOwnPropertyNames(window).find((name) => named.test(name));
              const { stringify } = window[key];
              const answer = eval(lie);
              window[key].stringify = () => answer;
            }""",
            lie,
        )
        with pytest.raises(PlaywrightError, match=r"cannot be read|too large"):
            await reader.observe(Goal("Do it.", {}), 0, None)

    on_page(browser, "", observe)


def test_a_form_whose_fields_have_the_names_of_its_own_properties_is_read(
    browser: BrowserRuntime,
) -> None:
    seen = look(
        browser,
        """<form>Pay <input name=tagName><input name=childNodes><input name=checkVisibility>
        <input name=nodeType><button id=go>Go</button></form>""",
    )

    assert named(seen, "go").text == "Go"
    assert seen.text == "Pay Go"
    assert sum(element.role == "textbox" for element in seen.elements) == 4
