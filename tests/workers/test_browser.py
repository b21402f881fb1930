"""The warm browser of a worker: crashes, recycling, interruption, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from playwright.async_api import CDPSession
from playwright.async_api import Error as PlaywrightError

from shared.evaluation.browser import BrowserError
from shared.evaluation.episode import run_episode
from shared.evaluation.miniwob.catalogue import catalogue
from shared.evaluation.protocol import Click, Decision, Outcome, Part, Wait
from shared.local.chromium import find_chromium
from workers.browser import BrowserRuntime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.async_api import BrowserContext

    from shared.evaluation.protocol import EpisodeResult, Observation, Task


class ClickOne:
    """Solves click-test-2 after a pause; `thinking` is set when it was asked."""

    parts: frozenset[Part] = frozenset()

    def __init__(self, pause: float = 0) -> None:
        self._pause = pause
        self.thinking = threading.Event()

    async def reset(self, task: Task, seed: int) -> None:
        pass

    async def act(self, observation: Observation) -> Decision:
        if observation.step == 0:
            self.thinking.set()
            await asyncio.sleep(self._pause)
            return Decision(Wait(milliseconds=0))
        return Decision(Click(element=next(e.id for e in observation.elements if e.text == "ONE")))

    async def close(self) -> None:
        pass


def episode(browser: BrowserRuntime, agent: ClickOne) -> EpisodeResult:
    return browser.run(
        lambda context: run_episode(
            context,
            agent,
            catalogue()["click-test-2"],
            1,
            deadline_seconds=30,
            cancelled=lambda: False,
        ),
        timeout=40,
    )


@pytest.fixture
def browser() -> Iterator[BrowserRuntime]:
    runtime = BrowserRuntime(contexts=2)
    yield runtime
    runtime.close()


def descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def chromiums(before: list[psutil.Process]) -> list[psutil.Process]:
    """The main processes of the Chromiums that were started since."""
    found = []
    for process in descendants():
        with suppress(psutil.NoSuchProcess):
            line = process.cmdline()
            renderer = any(word.startswith("--type=") for word in line)
            if process not in before and "--remote-debugging-pipe" in line and not renderer:
                found.append(process)
    return found


async def address(context: BrowserContext) -> str:
    page = await context.new_page()
    return await page.evaluate("location.href")


def test_nothing_is_started_before_the_first_work() -> None:
    before = descendants()

    BrowserRuntime().close()

    assert descendants() == before


def test_a_killed_chromium_costs_the_episode_in_flight_and_not_the_next(
    browser: BrowserRuntime,
) -> None:
    before = descendants()
    agent = ClickOne(pause=1.0)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(episode, browser, agent)
        assert agent.thinking.wait(20)
        (chromium,) = chromiums(before)
        chromium.send_signal(signal.SIGKILL)
        result = running.result(timeout=30)

    assert result.outcome is Outcome.ENVIRONMENT_ERROR
    assert result.reason.startswith("browser: ")
    assert episode(browser, ClickOne()).outcome is Outcome.SUCCESS


def test_a_killed_driver_costs_the_episode_in_flight_and_not_the_next(
    browser: BrowserRuntime,
) -> None:
    before = descendants()
    agent = ClickOne(pause=1.0)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(episode, browser, agent)
        assert agent.thinking.wait(20)
        for process in psutil.Process().children():
            if process not in before:
                process.send_signal(signal.SIGKILL)
        result = running.result(timeout=45)

    assert result.outcome is Outcome.ENVIRONMENT_ERROR
    assert episode(browser, ClickOne()).outcome is Outcome.SUCCESS


def test_no_process_is_left_after_closing() -> None:
    before = descendants()
    browser = BrowserRuntime(contexts=2)
    assert browser.run(address, timeout=30) == "about:blank"
    started = [process for process in descendants() if process not in before]
    assert len(started) >= 3

    browser.close()

    _, alive = psutil.wait_procs(started, timeout=5)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE or p.ppid() == os.getpid()] == []
    with pytest.raises(BrowserError, match="closed"):
        browser.run(address, timeout=5)


def test_a_forked_process_starts_a_browser_of_its_own(browser: BrowserRuntime) -> None:
    browser.run(address, timeout=30)

    child = os.fork()
    if child == 0:
        signal.alarm(60)
        fine = browser.run(address, timeout=30) == "about:blank"
        browser.close()
        os._exit(0 if fine else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert browser.run(address, timeout=30) == "about:blank"


def test_chromium_is_recycled_and_the_old_one_ends() -> None:
    before = descendants()
    browser = BrowserRuntime(contexts=1, recycle_after=2)
    pids = []
    for _ in range(4):
        browser.run(address, timeout=30)
        # The context, and with the last one its Chromium, is closed after the work has ended.
        pids.append(max(chromiums(before), key=lambda process: process.create_time()).pid)
    browser.close()
    assert chromiums(before) == []

    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_only_so_many_contexts_are_open_at_once(browser: BrowserRuntime) -> None:
    open_now, most = 0, 0

    async def work(context: BrowserContext) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                while most < 2:
                    await asyncio.sleep(0.01)
        # A third one would come by now.
        await asyncio.sleep(0.1)
        open_now -= 1

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda _: browser.run(work, timeout=30), range(6)))

    assert most == 2


def test_work_that_takes_too_long_is_ended_and_failing_work_raises(
    browser: BrowserRuntime,
) -> None:
    ended = threading.Event()

    async def dawdle(context: BrowserContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def fail(context: BrowserContext) -> None:
        raise LookupError("mine")

    # The time counts from when there is a context to be had, and the first has to be launched.
    browser.run(address, timeout=30)
    with pytest.raises(TimeoutError):
        browser.run(dawdle, timeout=5)
    assert ended.is_set()
    with pytest.raises(LookupError, match="mine"):
        browser.run(fail, timeout=10)
    assert browser.run(address, timeout=10) == "about:blank"


def test_the_time_of_a_launch_is_not_the_works(tmp_path: Path) -> None:
    slow = tmp_path / "chromium"
    slow.write_text(f'#!/bin/sh\nsleep 6\nexec "{find_chromium().path}" "$@"\n')
    slow.chmod(0o755)
    browser = BrowserRuntime(contexts=1, executable=slow)
    try:
        assert browser.run(address, timeout=5) == "about:blank"
    finally:
        browser.close()


def test_closing_ends_work_in_flight(browser: BrowserRuntime) -> None:
    working = threading.Event()

    async def dawdle(context: BrowserContext) -> None:
        working.set()
        await asyncio.sleep(60)

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(browser.run, dawdle, 60)
        assert working.wait(20)
        browser.close()
        with pytest.raises(BrowserError, match="closed under its work"):
            running.result(timeout=5)


def test_a_program_that_is_no_chromium_is_one_clear_line() -> None:
    browser = BrowserRuntime(executable=Path("/bin/false"))
    try:
        with pytest.raises(BrowserError, match=r"Chromium at /bin/false does not start"):
            browser.run(address, timeout=30)
    finally:
        browser.close()


def test_a_context_is_ready_before_it_is_asked_for(browser: BrowserRuntime) -> None:
    async def pages(context: BrowserContext) -> tuple[BrowserContext, int]:
        return context, len(context.pages)

    first, _ = browser.run(pages, timeout=30)
    second, open_pages = browser.run(pages, timeout=30)

    assert first is not second
    assert open_pages == 1, "the page is part of what is ready"


def test_a_page_that_hogs_memory_is_ended_and_the_next_work_runs() -> None:
    browser = BrowserRuntime(contexts=1, page_memory_limit=300 * 2**20)
    try:

        async def hog(context: BrowserContext) -> str:
            page = context.pages[0]
            crashed = asyncio.Event()
            page.on("crash", lambda _: crashed.set())
            with suppress(PlaywrightError):
                await page.evaluate(
                    "() => { self.kept = new Uint8Array(5e8).fill(1); "
                    "return new Promise(() => {}); }"
                )
            await crashed.wait()
            return "crashed"

        assert browser.run(hog, timeout=60) == "crashed"
        assert browser.run(address, timeout=30) == "about:blank"
    finally:
        browser.close()


def test_one_look_at_the_memory_that_fails_is_not_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send = CDPSession.send
    failed = 0

    async def fails_once(self: CDPSession, method: str, *rest: object) -> object:
        nonlocal failed
        if method == "SystemInfo.getProcessInfo" and not failed:
            failed += 1
            raise PlaywrightError("in pieces")
        return await send(self, method, *rest)

    monkeypatch.setattr(CDPSession, "send", fails_once)
    browser = BrowserRuntime(contexts=1, memory_limit=1)
    try:

        async def until_replaced(context: BrowserContext) -> int:
            while browser._current is not None:
                await asyncio.sleep(0.1)
            return failed

        assert browser.run(until_replaced, timeout=30) == 1
    finally:
        browser.close()


def test_a_chromium_above_its_memory_is_replaced_after_its_work() -> None:
    before = descendants()
    browser = BrowserRuntime(contexts=1, memory_limit=1)
    try:

        async def until_seen(context: BrowserContext) -> int:
            newest = max(chromiums(before), key=lambda process: process.create_time())
            while browser._current is not None:  # The watch looks every two seconds.
                await asyncio.sleep(0.1)
            return newest.pid

        first = browser.run(until_seen, timeout=60)
        assert browser.run(until_seen, timeout=60) != first
    finally:
        browser.close()
