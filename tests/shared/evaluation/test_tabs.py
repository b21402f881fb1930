"""Browsing within a task: addresses, history and tabs, and what is outside."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.evaluation.protocol import (
    PAGE_ACTIONS,
    Action,
    Answer,
    Back,
    Click,
    CloseTab,
    FocusTab,
    Forward,
    Goto,
    NewTab,
    Outcome,
    ReportInfeasible,
    Tab,
    Wait,
)
from shared.evaluation.tabs import TABS_LIMIT, WINDOWS_LIMIT, Grounds, TabError

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.evaluation.protocol import Observation

DONE = Answer(text="done")


def click(text: str) -> Callable[[Observation], Click]:
    def decide(seen: Observation) -> Click:
        return Click(element=next(e.id for e in seen.elements if e.text == text and e.interactive))

    return decide


def titles(seen: list[Observation]) -> list[str]:
    return [observation.title for observation in seen]


def tabs(seen: Observation) -> list[tuple[int, str, bool]]:
    return [(tab.id, tab.title, tab.active) for tab in seen.tabs]


def test_going_somewhere_and_through_the_history(site: Any, play_site: Any) -> None:
    site.pages = {"start": "<a href=/there>There</a>", "there": "there", "other": "other"}

    result, seen = play_site(
        click("There"), Goto(url=f"{site.root}/other"), Back(), Back(), Forward(), DONE
    )

    assert result.outcome is Outcome.SUCCESS
    assert titles(seen) == ["start", "there", "other", "there", "start", "there"]
    assert [step.url.rpartition("/")[2] for step in result.steps] == titles(seen)
    assert seen[0].tabs[0].url == site.url


def test_the_documents_that_were_shown_are_told_in_order(site: Any, play_site: Any) -> None:
    told: list[tuple[str, ...]] = []
    site.pages = {"start": "<a href=#part>Part</a>", "other": "<script>location='/last'</script>"}
    site.pages["last"] = "last"
    site.judge = lambda so_far: told.append(so_far.visited) or so_far.answer is not None

    play_site(click("Part"), Goto(url=f"{site.root}/other"), DONE)

    assert told[-1] == tuple(
        f"{site.root}/{name}" for name in ("start", "start#part", "other", "last")
    )


def test_there_is_nothing_before_the_first_page_nor_after_the_last(
    site: Any, play_site: Any
) -> None:
    site.pages = {"start": "start"}

    result, _ = play_site(Back(), Forward(), DONE)

    assert [step.error for step in result.steps] == [
        "there is no page to go back to",
        "there is no page to go forward to",
        None,
    ]


def test_addresses_outside_are_refused_and_told(site: Any, play_site: Any) -> None:
    told: list[tuple[str, ...]] = []
    site.pages = {"start": "<a href=http://127.0.0.1:9/x>Away</a>"}
    site.judge = lambda so_far: told.append(so_far.refused) or so_far.answer is not None

    result, _ = play_site(
        Goto(url="http://127.0.0.1:9/"), NewTab(url="https://example.com/a"), click("Away"), DONE
    )

    assert [step.error for step in result.steps] == [
        f"http://127.0.0.1:9 is no part of this task; possible: {site.root}",
        f"https://example.com is no part of this task; possible: {site.root}",
        "no part of this task and not loaded: http://127.0.0.1:9/x",
        None,
    ]
    assert told[-1] == (
        "http://127.0.0.1:9/",
        "https://example.com/a",
        "http://127.0.0.1:9/x",
    )


@pytest.mark.parametrize("kind", [Goto, NewTab])
def test_an_address_that_no_server_can_have_does_not_void_an_episode(
    site: Any, play_site: Any, kind: type[Goto] | type[NewTab]
) -> None:
    site.pages = {"start": "start"}
    wrong = [
        kind.model_construct(url=url) for url in ("http://x:99999/", "http://a..b/", "http://[")
    ]

    result, _ = play_site(*wrong, DONE)

    assert result.outcome is Outcome.SUCCESS
    assert [step.error for step in result.steps[:3]] == [
        f"{each.url} is no part of this task; possible: {site.root}" for each in wrong
    ]


@pytest.mark.parametrize(
    "action",
    [
        {"kind": "goto", "url": "http://x:99999/"},
        {"kind": "new_tab", "url": "http://x:-1/"},
        {"kind": "click", "element": 10**400},
        {"kind": "drag", "element": 1, "onto": -(10**400)},
        {"kind": "scroll", "element": 10**400, "dy": 1},
        {"kind": "focus_tab", "tab": 10**400},
    ],
)
def test_values_that_a_browser_cannot_take_are_no_actions(action: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Action).validate_python(action)


def test_a_redirect_and_a_socket_elsewhere_are_known_as_refused(site: Any, play_site: Any) -> None:
    site.pages = {
        "start": "<a href=/away>Away</a><a href='javascript:new WebSocket(`ws://b.example/`)'>Talk",
        "away": (302, {"Location": "https://a.example/x"}),
    }

    # The page opens its socket in its own time: the agent is told of it with some step soon after.
    soon = [Wait(milliseconds=200)] * 5
    result, _ = play_site(click("Talk"), *soon, Goto(url=f"{site.root}/away"), DONE)

    told = " ".join(step.error or "" for step in result.steps)
    assert "no part of this task and not loaded: https://b.example:80" in told
    assert site.in_the_end.refused == ("https://b.example:80", "https://a.example")


def test_what_happens_in_the_last_step_is_known_in_the_end(site: Any, play_site: Any) -> None:
    site.pages = {"start": "<a href=https://a.example/x>Away</a>"}

    def away_and_out(seen: Observation) -> object:
        raise ZeroDivisionError

    result, _ = play_site(click("Away"), away_and_out)
    assert result.outcome is Outcome.AGENT_ERROR
    assert site.in_the_end.refused == ("https://a.example/x",)

    task = site.task.model_copy(update={"actions": (*site.task.actions, "report_infeasible")})
    result, _ = play_site(ReportInfeasible(reason="no K-17"), task=task)
    assert result.outcome is Outcome.FAILURE
    assert site.in_the_end.said == ("no K-17",)


def test_a_link_that_opens_windows_does_not_void_an_episode(site: Any, play_site: Any) -> None:
    some = WINDOWS_LIMIT // 2
    script = f"for (let i = 0; i < {some}; i++) window.open('/x')"
    site.pages = {"start": f'<button onclick="{script}">Open</button>'}
    task = site.task.model_copy(update={"actions": (*PAGE_ACTIONS, "answer")})

    result, _ = play_site(click("Open"), click("Open"), click("Open"), DONE, task=task, deadline=60)

    assert result.outcome is Outcome.SUCCESS


def test_titles_behind_are_storable(site: Any, play_site: Any) -> None:
    site.pages = {"start": r"<script>document.title = 'a\ud800b'</script>", "other": "other"}

    result, seen = play_site(NewTab(url=f"{site.root}/other"), DONE)

    assert result.outcome is Outcome.SUCCESS
    json.loads(seen[1].model_dump_json())
    assert Tab(id=1, url="a\ud800", title="\0b\ud800", active=True).title == "b"


def test_tabs_that_hang_behind_take_a_second_together(site: Any, play_site: Any) -> None:
    gate = threading.Event()
    site.waits["never"] = gate
    site.pages = {
        "hangs": """<script>new BroadcastChannel("a").onmessage = () => {
          const request = new XMLHttpRequest();
          request.open("GET", "/never?" + Math.random(), false);
          request.send();
        }</script>""",
        "start": """<button onclick="new BroadcastChannel('a').postMessage(1)">Go</button>""",
        "never": "",
    }
    task = site.task.model_copy(update={"max_steps": 20})
    hanging = [NewTab(url=f"{site.root}/hangs")] * 4
    waiting = [Wait(milliseconds=0)] * 5
    try:
        result, _ = play_site(
            *hanging, NewTab(url=site.url), click("Go"), *waiting, DONE, deadline=18, task=task
        )
    finally:
        gate.set()

    # One after the other they would take four seconds of each step.
    assert result.outcome is Outcome.SUCCESS


def test_other_origins_of_the_task_are_open(site: Any, play_site: Any) -> None:
    other = site.root.replace("127.0.0.1", "localhost")
    site.pages = {"start": f"<a href={other}/there>There</a>", "there": "there"}
    site.origins = (other,)

    result, seen = play_site(click("There"), Goto(url=site.url), Goto(url=f"{other}/start"), DONE)

    assert [step.error for step in result.steps] == [None] * 4
    assert titles(seen) == ["start", "there", "start", "start"]


def test_tabs_are_opened_shown_and_closed(site: Any, play_site: Any) -> None:
    site.pages = {"start": "start", "other": "other"}

    result, seen = play_site(
        NewTab(url=f"{site.root}/other"),
        FocusTab(tab=1),
        NewTab(),
        CloseTab(tab=3),
        CloseTab(tab=2),
        CloseTab(tab=1),
        FocusTab(tab=2),
        DONE,
    )

    assert [tabs(each) for each in seen[:6]] == [
        [(1, "start", True)],
        [(1, "start", False), (2, "other", True)],
        [(1, "start", True), (2, "other", False)],
        [(1, "start", False), (2, "other", False), (3, "", True)],
        [(1, "start", True), (2, "other", False)],
        [(1, "start", True)],
    ]
    assert titles(seen)[:3] == ["start", "other", "start"]
    assert [step.error for step in result.steps][5:] == [
        "the last tab cannot be closed",
        "there is no tab 2; there is: 1",
        None,
    ]


def test_ids_of_one_tab_are_unknown_in_another(site: Any, play_site: Any) -> None:
    site.pages = {"start": "<button>Go</button>", "other": "<button>Go</button>"}
    first: list[Click] = []

    result, _ = play_site(
        lambda seen: first.append(click("Go")(seen)) or NewTab(url=f"{site.root}/other"),
        lambda seen: first[0],
        FocusTab(tab=1),
        lambda seen: first[0],
        DONE,
    )

    assert f"no element {first[0].element}" in (result.steps[1].error or "")
    assert result.steps[3].error is None


@pytest.mark.parametrize(
    "opener",
    [
        "<a href=/there target=_blank>Open</a>",
        "<button onclick=\"window.open('/there')\">Open</button>",
        "<form action=/there target=_blank><button>Open</button></form>",
    ],
)
def test_a_window_that_a_page_opens_is_the_tab_in_front(
    site: Any, play_site: Any, opener: str
) -> None:
    site.pages = {"start": opener, "there": "there"}

    _, seen = play_site(click("Open"), CloseTab(tab=2), DONE)

    assert tabs(seen[1]) == [(1, "start", False), (2, "there", True)]
    assert seen[1].text == "there"
    assert seen[2].title == "start"


def test_without_tabs_a_window_is_closed_again(site: Any, play_site: Any) -> None:
    site.pages = {"start": "<a href=/there target=_blank>Open</a>", "there": "there"}
    task = site.task.model_copy(update={"actions": (*PAGE_ACTIONS, "answer")})

    _, seen = play_site(click("Open"), DONE, task=task)

    assert tabs(seen[1]) == [(1, "start", True)]


def test_there_is_a_limit_of_tabs(site: Any, play_site: Any) -> None:
    site.pages = {"start": "start"}
    task = site.task.model_copy(update={"max_steps": TABS_LIMIT + 1})

    result, seen = play_site(*[NewTab()] * TABS_LIMIT, DONE, task=task)

    errors = [step.error for step in result.steps if step.error]
    assert errors == [f"there are {TABS_LIMIT} tabs, and no more can be opened"]
    assert len(seen[-1].tabs) == TABS_LIMIT


def test_a_page_that_cannot_be_loaded_is_said(site: Any, play_site: Any) -> None:
    site.pages = {"start": "start", "file": (200, {"Content-Disposition": "attachment"})}

    result, seen = play_site(Goto(url=f"{site.root}/file"), Goto(url=site.url), DONE)

    assert f"{site.root}/file could not be loaded" in (result.steps[0].error or "")
    assert (result.outcome, seen[2].title) == (Outcome.SUCCESS, "start")


def test_a_slow_answer_to_a_click_is_waited_for(site: Any, play_site: Any) -> None:
    site.pages = {
        "start": """<a href=/slow>Go</a><button id=b>Ask</button><p id=p></p><script>
        b.onclick = async () => {
          p.textContent = await (await fetch("/slow?part")).text() ? "came" : "";
        }</script>""",
        "slow": "there",
    }

    _, seen = play_site(click("Ask"), click("Go"), DONE)

    assert "came" in seen[1].text
    assert seen[2].title == "slow"


def test_grounds_are_those_that_a_browser_asks_for() -> None:
    grounds = Grounds.of("https://bücher.example/", ("HTTP://A.example:80", "http://[0::1]:8080"))

    grounds.check("https://xn--bcher-kva.example/x")
    for asked in ("https://xn--bcher-kva.example/", "http://a.example/x", "http://[::1]:8080/"):
        assert not grounds.outside.match(asked)
    assert grounds.outside.match("https://a.example/x")


@pytest.mark.parametrize(
    ("url", "inside"),
    [
        ("http://a.example/x", True),
        ("http://A.example:80", True),
        ("http://a.example:81/", False),
        ("https://a.example/", False),
        ("http://b.example:8080/?q", True),
        ("http://a.example.evil/", False),
        ("http://a.example@evil/", False),
        ("javascript:alert(1)", False),
        ("about:blank", False),
    ],
)
def test_the_grounds_of_a_task_are_whole_origins(url: str, inside: bool) -> None:
    grounds = Grounds.of("http://a.example/start", ("http://b.example:8080",))

    if inside:
        grounds.check(url)
    else:
        with pytest.raises(TabError, match=r"possible: http://a.example, http://b.example:8080"):
            grounds.check(url)
