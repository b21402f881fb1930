"""Raw async Playwright, a fresh context per episode and nothing else: the peer of the queue."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import psutil
from playwright.async_api import async_playwright

from benchmarks import processes
from benchmarks.measure import MeasurementError
from benchmarks.oracle import moves
from shared.evaluation.miniwob import server
from shared.local.chromium import find_chromium, launch_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playwright.async_api import Browser

_START = """(seed) => {
  Math.seedrandom(seed);
  core.EPISODE_MAX_TIME = 1000000;
  core.startEpisodeReal();
  return core.getUtterance();
}"""


class RawPlaywright:
    """One browser that is kept; so many contexts at a time."""

    def __init__(self, contexts: int) -> None:
        self._contexts = contexts
        self._runner = asyncio.Runner()

    def __enter__(self) -> RawPlaywright:
        self._runner.run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._stop())
        self._runner.close()

    async def _start(self) -> None:
        before = set(psutil.Process().children())
        self._playwright = await async_playwright().start()
        self._browser = await self._playwright.chromium.launch(
            executable_path=find_chromium().path, args=launch_arguments(), chromium_sandbox=True
        )
        self._driver = set(psutil.Process().children()) - before

    async def _stop(self) -> None:
        await self._browser.close()
        await self._playwright.stop()

    def cpu_seconds(self) -> float:
        """Of this process and of what this started, browser included, since their start."""
        return time.process_time() + processes.cpu_seconds(self._driver)

    def run(self, tasks: Sequence[str], episodes: int) -> float:
        """Seconds for so many episodes."""
        return self._runner.run(self._run(tasks, episodes))

    async def _run(self, tasks: Sequence[str], episodes: int) -> float:
        pairs = ((tasks[n % len(tasks)], n // len(tasks)) for n in range(episodes))

        async def work() -> None:
            for task, seed in pairs:
                await _episode(self._browser, task, seed)

        begun = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(self._contexts)))
        return time.perf_counter() - begun


async def _episode(browser: Browser, task: str, seed: int) -> None:
    context = await browser.new_context(viewport={"width": 640, "height": 480})
    context.set_default_timeout(10_000)
    page = await context.new_page()
    await page.goto(server.page_url(task))
    goal = await page.evaluate(_START, seed)
    for move in moves(task, goal):
        if move.role == "text":
            target = page.locator("#area").get_by_text(move.name, exact=True)
        elif move.name:
            target = page.get_by_role(move.role, name=move.name, exact=True)
        else:
            target = page.get_by_role(move.role)
        if move.kind == "fill":
            await target.first.fill(move.text)
        else:
            await target.first.click()
    reward = await page.evaluate("WOB_RAW_REWARD_GLOBAL")
    await context.close()
    if reward != 1:
        raise MeasurementError(f"raw Playwright got a reward of {reward} for {task}")
