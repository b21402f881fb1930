"""The MiniWoB++ catalogue, its pages on loopback, and their seeding."""

from __future__ import annotations

import asyncio
import http.client
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from shared.evaluation import observing
from shared.evaluation.benchmark import BenchmarkMissingError, Goal, SoFar
from shared.evaluation.egress.fence import allow_own
from shared.evaluation.miniwob import digests, server
from shared.evaluation.miniwob.benchmark import MiniWob
from shared.evaluation.miniwob.catalogue import Tag, catalogue, reproducible, unsupported
from workers.browser import BrowserRuntime

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext


def first_sight(browser: BrowserRuntime, task: str, seed: int) -> tuple[str, list[object]]:
    """The goal and the elements of a task's page before anything was done."""

    async def look(context: BrowserContext) -> tuple[str, list[object]]:
        environment = MiniWob().environment(catalogue()[task], seed)
        allow_own(context, environment.url)
        key = await observing.prepare(context)
        page = await context.new_page()
        failures: list[object] = []
        page.on("pageerror", lambda error: failures.append(error))
        await page.goto(environment.url)
        goal = await environment.setup(page)
        reader = observing.PageReader(page, key, environment.unseen)
        seen = await reader.observe(goal, 0, None)
        assert not failures, task
        assert not (await environment.validate(page, SoFar())).done, task
        return goal.text, [(e.tag, e.text, e.value, e.box) for e in seen.elements]

    return browser.run(look, timeout=60)


def test_every_page_of_the_wheel_is_a_task_or_left_out_with_a_reason() -> None:
    in_the_wheel = {path.stem for path in (server.pages_folder() / "miniwob").glob("*.html")}

    assert len(in_the_wheel) == 130
    assert set(catalogue()) | set(unsupported()) == in_the_wheel
    assert not set(catalogue()) & set(unsupported())
    assert all(len(reason) > 20 for reason in unsupported().values())


def test_the_catalogue_spans_the_difficulties() -> None:
    tasks = catalogue().values()

    assert {task.difficulty for task in tasks} == {"easy", "medium", "hard"}
    assert {"search", "form", "navigation", "selection", "text", "mail", "date"} <= {
        task.category for task in tasks if task.difficulty == "easy"
    }
    assert {tag for task in tasks for tag in task.tags} == set(Tag)


def test_what_is_not_reproducible_is_told_and_no_digest_is_stored_for_it() -> None:
    odd = {name for name, task in catalogue().items() if not reproducible(task)}

    assert odd == {"drag-cube", "ascending-numbers"}
    assert {page.task for page in digests.stored()} == set(catalogue()) - odd
    assert {page.seed for page in digests.stored()} == set(digests.SEEDS)
    assert set(digests.stored()) == set(digests.pages())


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(digests.pages(seeds=digests.SEEDS[:1])[::10], id="of every tenth task"),
        pytest.param(digests.pages(), id="of all tasks and seeds", marks=pytest.mark.proof),
    ],
)
def test_every_page_is_the_stored_one(wanted: list[digests.Page]) -> None:
    here = asyncio.run(digests.found(wanted))

    assert [page for page in wanted if here[page] != digests.stored()[page]] == []


def test_a_digest_tells_another_goal_or_another_page() -> None:
    goal = Goal("Click.", {"a": "1", "b": "2"})
    one = digests.digest(goal, "[]")

    assert digests.digest(Goal("Click.", {"b": "2", "a": "1"}), "[]") == one
    assert digests.digest(goal._replace(text="Click"), "[]") != one
    assert digests.digest(goal._replace(fields={"a": "1"}), "[]") != one
    assert digests.digest(goal, "[[]]") != one


@pytest.mark.parametrize("task", ["drag-cube", "ascending-numbers", "email-inbox", "stock-market"])
def test_a_page_starts_without_errors_and_shows_something(
    browser: BrowserRuntime, task: str
) -> None:
    goal, elements = first_sight(browser, task, seed=7)

    assert goal
    assert elements


def test_another_seed_gives_another_goal(browser: BrowserRuntime) -> None:
    goals = {first_sight(browser, "enter-text", seed)[0] for seed in range(4)}

    assert len(goals) == 4


def answer(path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(server.base_url()).netloc, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_the_server_serves_the_pages_and_nothing_else() -> None:
    assert answer("/miniwob/click-test.html")[0] == 200
    assert b"core.startEpisode" in answer("/core/core.js?x=1")[1]
    for path in ("/", "/miniwob", "/none.html", "/../__init__.py", "/%2e%2e/__init__.py"):
        assert answer(path)[0] == 404, path


def test_the_wheel_is_never_imported() -> None:
    server.page_url("click-test")

    assert "miniwob" not in sys.modules


def test_a_missing_wheel_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "find_spec", lambda name: None)

    with pytest.raises(BenchmarkMissingError, match=r'pip install "browser-mlops\[evaluation\]"'):
        server.pages_folder()
