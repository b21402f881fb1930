"""What an agent is shown only if it asks: tree, HTML, picture and marks."""

from __future__ import annotations

import json
import re
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from shared.evaluation import observing
from shared.evaluation.benchmark import Goal
from shared.evaluation.marking import marked
from shared.evaluation.observing import PageReader
from shared.evaluation.protocol import Answer, Click, Element, Part

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext

    from shared.evaluation.protocol import Observation
    from workers.browser import BrowserRuntime


def look(browser: BrowserRuntime, body: str, *parts: Part, after: str = "0") -> tuple[Any, Any]:
    """The observation of a page, and what `after` evaluates to in the page then."""

    async def work(context: BrowserContext) -> tuple[Observation, Any]:
        key = await observing.prepare(context)
        page = await context.new_page()
        await page.goto("about:blank")
        await page.set_content(f"<!doctype html><title>A page</title><body>{body}")
        reader = PageReader(page, key, ".unseen")
        await reader.attach()
        await page.evaluate("self.before = document.documentElement.outerHTML")
        seen = await reader.observe(Goal("", {}), 0, None, frozenset(parts))
        return seen, await page.evaluate(after)

    return browser.run(work, timeout=60)


def ids(seen: Observation) -> dict[str, int]:
    return {e.attributes["id"]: e.id for e in seen.elements if "id" in e.attributes}


FORM = """<nav aria-label=Main><a id=home href=/>Home <b>page</b></a></nav>
<h2>Who are you?</h2>
<label for=who>Name</label><input id=who value=Ann required>
<input id=secret type=password value=hush aria-label=Password>
<input id=box type=checkbox checked aria-label=Agree>
<select id=pick aria-label=Colour><option>Red<option selected>Blue</select>
<button id=go aria-expanded=false disabled>Go</button>
<div><span>plain</span> words</div><p style="display:none">hidden</p>
<p class=unseen>not for you</p><script>var code = 1</script>"""


def test_an_agent_that_asks_for_nothing_gets_nothing(browser: BrowserRuntime) -> None:
    seen, _ = look(browser, FORM)

    assert (seen.tree, seen.dom, seen.screenshot, seen.marks) == (None, None, None, None)


def test_the_tree_has_roles_names_states_and_the_ids_of_elements(browser: BrowserRuntime) -> None:
    seen, _ = look(browser, FORM, Part.TREE)

    names = ids(seen)
    lines = [line.strip() for line in seen.tree.splitlines()]
    for line in (
        f'[{names["home"]}] link "Home page"',
        f'[{names["who"]}] textbox "Name" required value "Ann"',
        f'[{names["secret"]}] textbox "Password" value "••••"',
        f'[{names["box"]}] checkbox "Agree" checked',
        f'[{names["pick"]}] combobox "Colour" value "Blue"',
        f'[{names["go"]}] button "Go" collapsed disabled',
        'text "plain"',
        'text "words"',
    ):
        assert line in lines, line
    assert re.search(r'\[\d+\] navigation "Main"\n +\[\d+\] link', seen.tree)
    assert re.search(r'\[\d+\] heading "Who are you\?" level 2\n(?! +text)', seen.tree)
    assert "hidden" not in seen.tree
    assert "not for you" not in seen.tree
    assert "hush" not in seen.tree


ROLES = """<header id=a1>x</header><main id=a2><section id=a3 aria-label=S>x</section>
<h3 id=a4>Head <i>ing</i></h3><a id=a5 href=/x><img id=a6 alt=Picture></a>
<button id=a7><span aria-hidden=true>*</span>Save</button><input id=a8 type=submit>
<input id=a9 type=search placeholder=Find><p id=b0 title=T>x</p>
<span id=b1>Two</span><input id=b2 aria-labelledby="b1 b3"><span id=b3>parts</span>
<label>Wrapped <input id=b4 type=radio> around</label>
<fieldset id=b5><legend>Legend</legend></fieldset>
<table id=b6><caption>Cap</caption><tr id=b7><th id=b8>Col</th><td id=b9>1</td></tr></table>
<ul id=c1><li id=c2>x</li></ul><textarea id=c3 aria-label=Long></textarea>
<div id=c4 role=tab>Tab</div><div id=c5 role=button aria-label=Star>*</div>
<select id=c6 multiple aria-label=Many><option>1</select><progress id=c7 value=1 max=2></progress>
<input id=c8 type=range aria-label=R><input id=c9 type=number aria-label=N><nav id=d1>x</nav>
<article id=d2>x</article><hr id=d3><input id=d4 type=button value=Push>
<div id=d5 role=switch aria-checked=true>On</div></main>"""


def test_roles_and_names_are_those_of_the_browsers_own_tree(browser: BrowserRuntime) -> None:
    async def work(context: BrowserContext) -> tuple[Observation, dict[str, tuple[str, str]]]:
        key = await observing.prepare(context)
        page = await context.new_page()
        await page.goto("about:blank")
        await page.set_content(f"<!doctype html><body>{ROLES}")
        seen = await PageReader(page, key, "").observe(Goal("", {}), 0, None, {Part.TREE})
        session = await context.new_cdp_session(page)
        root = (await session.send("DOM.getDocument"))["root"]["nodeId"]
        theirs = {}
        for name in re.findall(r" id=(\w\d)", ROLES):
            asked = {"nodeId": root, "selector": f"#{name}"}
            node = (await session.send("DOM.querySelector", asked))["nodeId"]
            asked = {"nodeId": node, "fetchRelatives": False}
            found = (await session.send("Accessibility.getPartialAXTree", asked))["nodes"][0]
            theirs[name] = (found["role"]["value"], found.get("name", {}).get("value", ""))
        return seen, theirs

    seen, theirs = browser.run(work, timeout=60)

    ours = {
        int(number): (role, json.loads(name or '""'))
        for number, role, name in re.findall(r'\[(\d+)\] (\w+)(?: ("(?:[^"\\]|\\.)*"))?', seen.tree)
    }
    known = ids(seen)
    # What has a name in the browser's tree only so that text can be read in one piece.
    told_by_text = {"b7", "b8", "b9", "c2"}
    different = {}
    for name, (role, said) in theirs.items():
        role = {"image": "img"}.get(role, role)
        own = ours.get(known.get(name, -1))
        if own is not None and own != (role, said) and name not in told_by_text:
            different[name] = (own, (role, said))
    assert different == {}
    assert len(set(known) & set(theirs)) > 25


def test_the_html_keeps_what_says_something_and_the_ids_of_controls(
    browser: BrowserRuntime,
) -> None:
    seen, _ = look(
        browser,
        FORM + '<div><div><em style="color:red" data-x=1 onclick=f()>x</em></div></div>',
        Part.DOM,
    )

    names = ids(seen)
    assert f'<input element="{names["who"]}" id="who" required value="Ann">' in seen.dom
    assert "<option selected>Blue</option>" in seen.dom
    assert f'<button element="{names["go"]}" id="go" aria-expanded="false" disabled>' in seen.dom
    assert re.search(r'<em element="\d+">x</em>', seen.dom)
    assert "plain words" in seen.dom
    for gone in (
        "<div",
        "<script",
        "var code",
        "style=",
        "data-x",
        "hidden",
        "hush",
        "not for you",
    ):
        assert gone not in seen.dom, gone


def test_shadow_trees_are_seen_and_can_be_used(site: Any, play_site: Any) -> None:
    site.pages = {
        "start": """<x-box>slotted</x-box><script>
        const root = document.querySelector("x-box").attachShadow({mode: "open"});
        root.innerHTML = "<button id=in>Inside</button> <p><slot></slot></p>";
        root.getElementById("in").onclick = () => { document.title = "clicked"; };
        </script>"""
    }

    def click_inside(seen: Observation) -> Any:
        return Click(element=ids(seen)["in"])

    _, seen = play_site(click_inside, Answer(text=""), parts=frozenset({Part.TREE, Part.DOM}))

    assert 'button "Inside"' in seen[0].tree
    assert ">Inside</button>" in seen[0].dom
    assert seen[0].text == "Inside slotted"
    assert seen[1].title == "clicked"


def test_pictures_are_of_the_viewport_and_leave_no_trace(browser: BrowserRuntime) -> None:
    seen, (untouched, scroll) = look(
        browser,
        "<button id=go style='position:absolute;left:100px;top:100px;width:80px'>Go</button>"
        "<div style='height:3000px'></div>",
        *Part,
        after="[self.before === document.documentElement.outerHTML, scrollY]",
    )

    plain, framed = (
        Image.open(BytesIO(each)).convert("RGB") for each in (seen.screenshot, seen.marks)
    )
    assert plain.size == framed.size == (640, 480)
    button = next(e for e in seen.elements if e.attributes.get("id") == "go")
    x, y, width, height = button.box
    corner = (round(x + width) - 1, round(y + height) - 1)
    assert (
        sum(
            abs(a - b) for a, b in zip(plain.getpixel(corner), framed.getpixel(corner), strict=True)
        )
        > 100
    )
    far = (400, 300)
    assert plain.getpixel(far) == framed.getpixel(far) == (255, 255, 255)
    assert (untouched, scroll) == (True, 0)


def test_large_pages_are_cut_off_and_say_so(browser: BrowserRuntime) -> None:
    seen, _ = look(browser, "<p>some words of text</p>" * 20_000, Part.TREE, Part.DOM)

    assert len(seen.tree) < 41_000
    assert seen.tree.endswith("… the rest is cut off")
    assert len(seen.dom) < 61_000
    assert seen.dom.endswith("<!-- the rest is cut off -->")


def test_half_a_character_is_nothing_that_is_stored(browser: BrowserRuntime) -> None:
    seen, _ = look(
        browser,
        f"<p title='{'x' * 199}😀'>a</p><script>document.title = 'a\\ud800b'</script>",
        *Part,
    )

    assert observing.digest(seen)
    assert seen.title == "a�b"


@pytest.mark.parametrize("box", [(-50.0, -50.0, 60.0, 60.0), (630.0, 470.0, 90.0, 90.0)])
def test_marks_at_the_edge_stay_in_the_picture(box: tuple[float, float, float, float]) -> None:
    blank = BytesIO()
    Image.new("RGB", (640, 480), "white").save(blank, "JPEG")
    element = Element(id=7, tag="a", role="link", text="", attributes={}, interactive=True, box=box)

    one, none = marked(blank.getvalue(), [element]), marked(blank.getvalue(), [])

    assert Image.open(BytesIO(one)).size == (640, 480)
    assert one != none


def test_an_agents_parts_reach_it(site: Any, play_site: Any) -> None:
    site.pages = {"start": "<button>Go</button>"}

    _, seen = play_site(Answer(text=""), parts=frozenset({Part.TREE, Part.MARKS}))

    assert 'button "Go"' in seen[0].tree
    assert seen[0].marks[:2] == b"\xff\xd8"
    assert (seen[0].dom, seen[0].screenshot) == (None, None)
