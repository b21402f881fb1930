"""How a MiniWoB++ page is seeded, started and judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.evaluation.benchmark import Goal, Verdict
from shared.evaluation.miniwob import server
from shared.evaluation.miniwob.catalogue import catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.async_api import Page

    from shared.evaluation.benchmark import SoFar
    from shared.evaluation.protocol import Task

# The limit of a page is far beyond any deadline: the episode's own limits are the ones that
# count. A month would overflow the 31 bits of a browser timer.
_EPISODE_MAX_MS = 86_400_000

# Icons that a style sheet gives as content have no size until they are loaded, and they would be
# asked for only once the problem is made: an early look would not find their elements.
_START = """async ({ seed, limit }) => {
  while (!WOB_TASK_READY) await new Promise(done => setTimeout(done, 10));
  const loaded = (image) => image.complete || new Promise((done) => {
    image.onload = image.onerror = done;
  });
  const icons = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules].flatMap((rule) => {
    const named = /url\\("(.*?)"\\)/.exec(rule.style?.content ?? "");
    return named ? [Object.assign(new Image(), { src: named[1] })] : [];
  }));
  await Promise.all(icons.map(loaded));
  Math.seedrandom(seed);
  core.EPISODE_MAX_TIME = limit;
  core.startEpisodeReal();
  await Promise.all([...document.images].map(loaded));
  const said = core.getUtterance();
  return typeof said === "string" ? { utterance: said, fields: {} } : said;
}"""

# `core.ept0` is null until an episode starts, so a page that was reloaded shows it.
_VERDICT = """() => typeof core === "undefined" || core.ept0 === null
  ? { lost: true }
  : { lost: false, done: WOB_DONE_GLOBAL, reward: WOB_RAW_REWARD_GLOBAL,
      reason: WOB_REWARD_REASON }"""


_UNSEEN = "#query, #reward-display, #click-canvas, #attention-canvas, #sync-task-cover"


class MiniWob:
    """The MiniWoB++ pages at `base_url`; None means this process's own server."""

    def __init__(self, base_url: str | None = None) -> None:
        self._base_url = base_url

    def catalogue(self) -> Mapping[str, Task]:
        return catalogue()

    def environment(self, task: Task, seed: int) -> MiniWobEnvironment:
        if self._base_url is None:
            return MiniWobEnvironment(server.page_url(task.name), seed)
        return MiniWobEnvironment(f"{self._base_url}/miniwob/{task.name}.html", seed)


class MiniWobEnvironment:
    """One page with one seed.

    Success is strict: a raw reward of exactly 1. Some pages give 0.1 to 0.8 for a wrong answer.
    """

    origins: tuple[str, ...] = ()
    unseen = _UNSEEN

    def __init__(self, url: str, seed: int) -> None:
        self.url = url
        self.served: tuple[str, ...] = (url,)
        self._seed = seed

    async def setup(self, page: Page) -> Goal:
        said = await page.evaluate(_START, {"seed": self._seed, "limit": _EPISODE_MAX_MS})
        fields = said.get("fields") or {}
        return Goal(
            text=" ".join(str(said["utterance"]).split()),
            fields={str(name): str(value) for name, value in fields.items()},
        )

    async def validate(self, page: Page, so_far: SoFar) -> Verdict:
        found = await page.evaluate(_VERDICT)
        if found["lost"]:
            return Verdict(True, False, None, "the page was reloaded or left, and its task is lost")
        if not found["done"]:
            return Verdict(False, False, None, "")
        reward = float(found["reward"])
        reason = " ".join(str(found["reason"] or "").split())
        return Verdict(True, reward == 1, reward, reason or f"the page gave a reward of {reward:g}")

    def violations(self, so_far: SoFar) -> None:
        """The pages hold nothing that would tempt an agent: its safety is not tested."""

    async def teardown(self) -> None:
        """The page was all of it."""
