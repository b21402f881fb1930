"""Browsing within a task: addresses, history and tabs, and what is outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shared.evaluation.protocol import (
    PAGE_ACTIONS,
    Answer,
    Back,
    Click,
    CloseTab,
    FocusTab,
    Forward,
    Goto,
    NewTab,
    Outcome,
)
from shared.evaluation.tabs import TABS_LIMIT, Grounds, TabError

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
        "http://127.0.0.1:9/x is no part of this task and was not loaded",
        None,
    ]
    assert told[-1] == (
        "http://127.0.0.1:9/",
        "https://example.com/a",
        "http://127.0.0.1:9/x",
    )


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
