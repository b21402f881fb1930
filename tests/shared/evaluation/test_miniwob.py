"""The MiniWoB++ catalogue, its pages on loopback, and their seeding."""

from __future__ import annotations

import http.client
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from shared.evaluation import observing
from shared.evaluation.benchmark import BenchmarkMissingError, SoFar
from shared.evaluation.egress.fence import allow
from shared.evaluation.miniwob import server
from shared.evaluation.miniwob.benchmark import MiniWob
from shared.evaluation.miniwob.catalogue import catalogue
from workers.browser import BrowserRuntime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.async_api import BrowserContext


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserRuntime]:
    runtime = BrowserRuntime(contexts=4)
    yield runtime
    runtime.close()


def first_sight(browser: BrowserRuntime, task: str, seed: int) -> tuple[str, list[object]]:
    """The goal and the elements of a task's page before anything was done."""

    async def look(context: BrowserContext) -> tuple[str, list[object]]:
        environment = MiniWob().environment(catalogue()[task], seed)
        allow(context, environment.url)
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


def test_the_catalogue_spans_the_difficulties() -> None:
    tasks = catalogue().values()

    assert len(tasks) >= 24
    assert {task.difficulty for task in tasks} == {"easy", "medium", "hard"}
    assert {"search", "form", "navigation", "selection", "text", "mail", "date"} <= {
        task.category for task in tasks
    }


def test_every_page_loads_and_the_same_seed_gives_the_same_page(browser: BrowserRuntime) -> None:
    with ThreadPoolExecutor(4) as threads:
        twice = list(
            threads.map(
                lambda name: [first_sight(browser, name, seed=7) for _ in range(2)], catalogue()
            )
        )

    for name, (first, again) in zip(catalogue(), twice, strict=True):
        assert first[0], name
        assert first[1], name
        assert first == again, name


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
