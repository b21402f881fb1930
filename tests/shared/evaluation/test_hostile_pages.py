"""Whatever a page does, its episode ends in time with a reason, and the next one runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shared.evaluation.protocol import PAGE_ACTIONS, Answer, Click, Goto, Outcome
from shared.evaluation.tabs import WINDOWS_LIMIT
from workers.browser import BrowserRuntime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.evaluation.protocol import Observation

DONE = Answer(text="done")


def go(seen: Observation) -> Click:
    return Click(element=next(e.id for e in seen.elements if e.text == "Go"))


def button(script: str) -> str:
    return f"<button id=b>Go</button><script>b.onclick = () => {{ {script} }}</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserRuntime]:
    """One of their own: what these pages leave behind is no other test's business."""
    runtime = BrowserRuntime(contexts=4)
    yield runtime
    runtime.close()


@pytest.fixture(autouse=True)
def _the_next_episode_runs(site: Any, play_site: Any) -> Iterator[None]:
    yield
    site.pages["start"] = "fine"
    result, seen = play_site(DONE, deadline=30)
    assert (result.outcome, seen[0].text) == (Outcome.SUCCESS, "fine")


@pytest.mark.parametrize(
    "page",
    [
        "<script>for (;;);</script>",
        "<script>onload = () => { for (;;); }</script>",
        "<meta http-equiv=refresh content=0>",
        "<script>setTimeout(() => { for (;;); })</script>",
    ],
)
def test_a_page_that_hangs_or_never_stands_still_while_it_loads(
    site: Any, play_site: Any, page: str
) -> None:
    site.pages = {"start": page}

    result, _ = play_site(deadline=2)

    assert result.outcome in {Outcome.ENVIRONMENT_ERROR, Outcome.TIMEOUT, Outcome.FAILURE}
    assert result.duration_ms < 10_000


@pytest.mark.parametrize(
    "script",
    [
        "for (;;);",
        "setTimeout(() => { for (;;); })",
        "setInterval(() => { location.href = '/start?' + Math.random(); })",
    ],
)
def test_a_page_that_hangs_in_a_step(site: Any, play_site: Any, script: str) -> None:
    site.pages = {"start": button(script)}

    result, _ = play_site(go, deadline=3)

    assert result.outcome in {Outcome.TIMEOUT, Outcome.FAILURE, Outcome.ENVIRONMENT_ERROR}
    assert result.duration_ms < 10_000


def test_a_redirect_without_end(site: Any, play_site: Any) -> None:
    site.pages = {"start": (302, {"Location": "/start"})}

    result, _ = play_site()

    assert result.outcome is Outcome.ENVIRONMENT_ERROR
    assert "ERR_TOO_MANY_REDIRECTS" in result.reason


def test_a_redirect_without_end_in_a_step_is_told_to_the_agent(site: Any, play_site: Any) -> None:
    site.pages = {"start": "fine", "round": (302, {"Location": "/round"})}

    result, _ = play_site(Goto(url=f"{site.root}/round"), DONE)

    assert "ERR_TOO_MANY_REDIRECTS" in (result.steps[0].error or "")
    assert result.outcome is Outcome.SUCCESS


def test_a_start_page_that_leads_on_to_another_is_read_there(site: Any, play_site: Any) -> None:
    site.pages = {
        "start": "<script>onload = () => { location = '/next'; }</script>",
        "next": "<script>onload = () => { location = '/last'; }</script>",
        "last": "here",
    }

    result, seen = play_site(DONE)

    assert result.outcome is Outcome.SUCCESS, result.reason
    assert seen[0].text == "here"


def test_all_kinds_of_dialogs(site: Any, play_site: Any) -> None:
    site.pages = {
        "start": """<script>onbeforeunload = (e) => { e.preventDefault(); return "stay"; };
        alert(1)</script>"""
        + button("alert(2); confirm(3); prompt(4); print(); document.title = 'through'"),
        "other": "other",
    }

    result, seen = play_site(go, Goto(url=f"{site.root}/other"), DONE)

    assert result.outcome is Outcome.SUCCESS
    assert [each.title for each in seen] == ["start", "through", "other"]
    assert [each.last_error for each in seen] == [
        "the page showed and the browser dismissed: alert '1'",
        "the page showed and the browser dismissed: alert '2', confirm '3', prompt '4'",
        None,
    ]


def test_dialogs_without_end(site: Any, play_site: Any) -> None:
    site.pages = {"start": button("for (;;) alert(1);")}

    result, _ = play_site(go, deadline=3)

    assert result.outcome is Outcome.TIMEOUT


def test_a_download_is_not_taken(site: Any, play_site: Any) -> None:
    site.pages = {
        "start": "<a href=/file download>Go</a>",
        "file": (200, {"Content-Disposition": "attachment; filename=x.bin"}),
    }

    result, seen = play_site(go, DONE)

    assert result.outcome is Outcome.SUCCESS
    assert seen[1].title == "start"


def test_a_start_page_that_is_a_download(site: Any, play_site: Any) -> None:
    site.pages = {"start": (200, {"Content-Disposition": "attachment; filename=x.bin"})}

    result, _ = play_site()

    assert result.outcome is Outcome.ENVIRONMENT_ERROR
    assert "browser: " in result.reason


def test_a_renderer_that_crashes(site: Any, play_site: Any, browser: Any) -> None:
    site.pages = {"start": "fine"}

    class Crashing:
        """Crashes the page where a picture is to be kept: in the middle of a step."""

        wants_pictures = True

        async def start(self, context: Any) -> None:
            self.context = context

        async def picture(self, jpeg: bytes) -> None:
            session = await self.context.new_cdp_session(self.context.pages[0])
            await session.send("Page.crash")

        async def finish(self, context: Any, outcome: Outcome) -> None:
            pass

    result, _ = play_site(DONE, recorder=Crashing(), deadline=15)

    assert result.outcome is Outcome.ENVIRONMENT_ERROR
    assert "crash" in result.reason


@pytest.mark.parametrize("thousands", [100, pytest.param(1000, marks=pytest.mark.proof)])
def test_a_page_of_very_many_nodes(site: Any, play_site: Any, thousands: int) -> None:
    site.pages = {
        "start": f"""<button id=b>Go</button><div id=all></div><script>
        const part = document.createElement("div");
        part.innerHTML = "<i></i>".repeat(1000);
        for (let i = 0; i < {thousands}; i++) all.append(part.cloneNode(true));</script>"""
    }

    result, seen = play_site(DONE, deadline=90)

    assert result.outcome is Outcome.SUCCESS
    assert seen[0].dom_nodes > 1_000 * thousands
    assert seen[0].elements[0].text == "Go"


def test_a_page_nested_deeper_than_the_stack(site: Any, play_site: Any) -> None:
    site.pages = {
        "start": """<div id=top></div><script>let at = document.getElementById("top");
        for (let i = 0; i < 5000; i++) at = at.appendChild(document.createElement("div"));
        at.textContent = "deep";</script>"""
    }

    result, _ = play_site(DONE)

    assert result.outcome in {Outcome.SUCCESS, Outcome.ENVIRONMENT_ERROR}


def test_windows_without_end(site: Any, play_site: Any) -> None:
    site.pages = {"start": button("setInterval(() => window.open('/start'), 5)")}
    task = site.task.model_copy(update={"actions": (*PAGE_ACTIONS, "answer")})

    result, _ = play_site(go, *[lambda seen: go(seen)] * 7, deadline=30, task=task)

    assert result.outcome in {Outcome.ENVIRONMENT_ERROR, Outcome.FAILURE}
    if result.outcome is Outcome.ENVIRONMENT_ERROR:
        assert result.reason == f"the page opened more than {WINDOWS_LIMIT - 1} windows"


def test_a_page_that_closes_itself(site: Any, play_site: Any) -> None:
    site.pages = {"start": button("window.close(); open('', '_self').close()")}

    result, _ = play_site(go, DONE, deadline=15)

    assert result.outcome in {Outcome.SUCCESS, Outcome.ENVIRONMENT_ERROR}


def test_a_page_that_spoils_what_it_is_read_with(site: Any, play_site: Any) -> None:
    site.pages = {
        "start": """<button>Go</button><script>
        Object.defineProperty(document, "title", {get: () => ({})});
        Object.defineProperty(document, "body", {get: () => null});
        performance.now = () => NaN; window.setTimeout = () => 0;
        Element.prototype.getBoundingClientRect = () => ({});</script>"""
    }

    result, _ = play_site(DONE, deadline=4)

    assert result.outcome in {Outcome.SUCCESS, Outcome.TIMEOUT, Outcome.ENVIRONMENT_ERROR}
    assert result.duration_ms < 15_000
