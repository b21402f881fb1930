"""Whether a seed gives the same goal and page here as it did elsewhere: a stored digest per task.

    python -m shared.evaluation.miniwob.digests            compare this machine's pages with them
    python -m shared.evaluation.miniwob.digests --write    store those of this machine

The digest of a task and a seed is the SHA-256 of the goal and of what the page's document holds
when its problem is made: elements, attributes, texts and values, without boxes, fonts, pictures
and canvases. Where a page lays itself out by the size of its letters, or draws lots while it
loads, no digest can hold on every machine; such a task is tagged `not-reproducible`.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import yaml
from rich.console import Console
from rich.progress import Progress

from shared.evaluation import observing
from shared.evaluation.miniwob.benchmark import MiniWob
from shared.evaluation.miniwob.browsing import chromium, each
from shared.evaluation.miniwob.catalogue import catalogue, reproducible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from playwright.async_api import BrowserContext

    from shared.evaluation.benchmark import Goal

SEEDS: Final = (0, 1, 2)
"Those that digests are stored for."
_FILE: Final = "digests.yaml"
_CONTEXTS: Final = 8


class Page(NamedTuple):
    """A task's page as one seed makes it."""

    task: str
    seed: int


def digest(goal: Goal, page: str) -> str:
    """The SHA-256 of a goal and of the canonical text of a page."""
    canonical = json.dumps([goal.text, dict(sorted(goal.fields.items())), page])
    return hashlib.sha256(canonical.encode()).hexdigest()


@cache
def stored() -> Mapping[Page, str]:
    """The digests that came with the code."""
    tasks = yaml.safe_load(files(__package__).joinpath(_FILE).read_text("utf-8"))
    return {
        Page(task, seed): known for task, seeds in tasks.items() for seed, known in seeds.items()
    }


def pages(seeds: Iterable[int] = SEEDS) -> list[Page]:
    """Those that digests are stored for: of every reproducible task, with each of `seeds`."""
    tasks = [task for task in catalogue().values() if reproducible(task)]
    return [Page(task.name, seed) for seed in seeds for task in tasks]


async def found(
    wanted: Sequence[Page], seen: Callable[[Page, str], None] = lambda page, found: None
) -> dict[Page, str]:
    """The digests of pages as this machine's Chromium makes them; `seen` is told of each.

    Raises `ChromiumError`, `BenchmarkMissingError`, and Playwright's errors.
    """
    digests: dict[Page, str] = {}
    async with chromium() as browser:
        async for page, here in each(browser, wanted, _look, _CONTEXTS):
            digests[page] = here
            seen(page, here)
    return digests


async def _look(context: BrowserContext, wanted: Page) -> str:
    environment = MiniWob().environment(catalogue()[wanted.task], wanted.seed)
    await observing.prepare(context)
    page = await context.new_page()
    await page.goto(environment.url)
    await page.evaluate(files(__package__).joinpath("page_digest.js").read_text("utf-8"))
    goal = await environment.setup(page)
    return digest(goal, await page.evaluate("window.pageAtStart"))


def _write(digests: Mapping[Page, str]) -> None:
    tasks: dict[str, dict[int, str]] = {}
    for page in sorted(digests):
        tasks.setdefault(page.task, {})[page.seed] = digests[page]
    text = yaml.safe_dump(tasks, width=100)
    Path(str(files(__package__).joinpath(_FILE))).write_text(
        f"# Written by `python -m {__package__}.digests --write`.\n{text}", "utf-8"
    )


def main() -> int:
    """The command; the number of the process' end is 1 where a page differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="store this machine's digests")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    wanted = pages()
    with Progress(console=console) as progress:
        bar = progress.add_task("pages", total=len(wanted))
        here = asyncio.run(found(wanted, lambda page, found: progress.advance(bar)))
    if arguments.write:
        _write(here)
        console.print(f"stored {len(here)} digests")
        return 0
    known = stored()
    different = [page for page in wanted if here[page] != known.get(page)]
    for page in different:
        console.print(f"{page.task} with seed {page.seed} is another page than the stored one")
    console.print(f"{len(wanted) - len(different)} of {len(wanted)} pages are the stored ones")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
