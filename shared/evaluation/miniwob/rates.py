"""How often the rule-based agent solves each task, as a page of the documentation.

    python -m shared.evaluation.miniwob.rates --seeds 20

plays every task with the seeds 0 to 19 in one Chromium and writes `docs/miniwob.md`. Episodes are
noted in a file as they end: a run that was broken off goes on with what is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from shared.evaluation.agents.rule_based import RuleBasedAgent
from shared.evaluation.episode import run_episode
from shared.evaluation.intervals import wilson
from shared.evaluation.miniwob.browsing import chromium, each
from shared.evaluation.miniwob.catalogue import Tag, catalogue, unsupported
from shared.evaluation.protocol import Outcome
from shared.local.chromium import find_chromium

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext

    from shared.evaluation.protocol import Task

SOLVED: Final = 0.9
"A task counts as solved above this share of strict successes."
_PAGE: Final = Path("docs/miniwob.md")
_EPISODES: Final = Path(".mlops/miniwob-rates.jsonl")


class Played(BaseModel):
    """How one episode ended."""

    model_config = ConfigDict(frozen=True)

    task: str
    seed: int
    outcome: Outcome
    raw_reward: float | None

    @property
    def scored(self) -> bool:
        """Whether it says something of the agent."""
        return self.outcome.scored

    @property
    def strict(self) -> bool:
        """Solved with a raw reward of exactly 1."""
        return self.outcome == Outcome.SUCCESS

    @property
    def loose(self) -> bool:
        """The field's looser success: a raw reward above 0."""
        return self.scored and (self.raw_reward or 0) > 0


def solved(played: Iterable[Played]) -> set[str]:
    """The tasks of which more than `SOLVED` of the scored episodes are strict successes."""
    by_task = _by_task(played)
    return {
        task
        for task, episodes in by_task.items()
        if sum(e.strict for e in episodes) > SOLVED * len(episodes) > 0
    }


def page(played: Sequence[Played], made_with: str) -> str:
    """The page of the documentation, in Markdown."""
    seeds = sorted({e.seed for e in played})
    by_task = _by_task(played)
    tasks = catalogue()
    lines = [
        "# MiniWoB++: tasks, and what the rule-based agent makes of them",
        "",
        f"Written by `python -m {_module()} --seeds {len(seeds)}`; do not edit. {made_with}.",
        "",
        f"Each task was played with {len(seeds)} distinct seeds, {_spans(seeds)}. *Strict* is a",
        "raw reward of exactly 1, which is what counts as success here. *Loose* is a raw reward",
        "above 0, which is what most published results count: some pages give 0.1 to 0.8 for a",
        "wrong answer. The interval is Wilson's at 95 % for the strict rate. The agent follows",
        "written rules: it reads the goal and the page as any agent does, and knows neither the",
        "name of its task nor its reward. Tags are explained below.",
        "",
        f"**{len(solved(played))} of {len(tasks)} tasks are solved with more than "
        f"{SOLVED:.0%} of the seeds.**",
        "",
        "| task | category | difficulty | strict | 95 % interval | loose | tags |",
        "|---|---|---|---|---|---|---|",
        *(_row(task, by_task.get(task.name, [])) for task in tasks.values()),
        "",
        "## Tags",
        "",
        "- `vision`: what must be read is, at least with some seeds, in a picture and in no text",
        "- `timing`: success depends on when an action comes, so on the agent's speed as well",
        "- `chance`: the page goes on drawing lots while it is played, and may let nobody win",
        "- `no-strict`: a raw reward of exactly 1 cannot be had with actions on elements",
        "- `not-reproducible`: the same seed may give another page, between loads or with other",
        "  fonts; of all others a digest is stored, and"
        " `python -m shared.evaluation.miniwob.digests` compares this machine's pages with it",
        "",
        "## Pages that are no tasks here",
        "",
        "| page | why |",
        "|---|---|",
        *(f"| {name} | {reason} |" for name, reason in unsupported().items()),
        "",
        "The wheel's Flight pages are another benchmark and left out.",
        "",
    ]
    return "\n".join(lines)


def _by_task(played: Iterable[Played]) -> Mapping[str, list[Played]]:
    by_task: dict[str, list[Played]] = {}
    for episode in played:
        if episode.scored:
            by_task.setdefault(episode.task, []).append(episode)
    return by_task


def _row(task: Task, played: Sequence[Played]) -> str:
    n, strict, loose = len(played), sum(e.strict for e in played), sum(e.loose for e in played)
    interval = wilson(strict, n)
    cells = [
        task.name,
        task.category,
        task.difficulty,
        f"{strict}/{n}",
        f"{interval.low:.0%} to {interval.high:.0%}" if interval else "unknown",
        f"{loose}/{n}",
        ", ".join(task.tags),
    ]
    return f"| {' | '.join(cells)} |".replace("  |", " |")


def _spans(seeds: Sequence[int]) -> str:
    if list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _module() -> str:
    return "shared.evaluation.miniwob.rates"


def read(path: Path) -> list[Played]:
    """The episodes noted in a file, none where there is no file."""
    if not path.is_file():
        return []
    return [Played.model_validate_json(line) for line in path.read_text("utf-8").splitlines()]


async def _play(context: BrowserContext, wanted: tuple[str, int]) -> Played:
    task = catalogue()[wanted[0]]
    result = await run_episode(
        context,
        RuleBasedAgent(),
        task,
        wanted[1],
        deadline_seconds=task.timeout_seconds,
        cancelled=lambda: False,
    )
    return Played(
        task=task.name, seed=wanted[1], outcome=result.outcome, raw_reward=result.raw_reward
    )


async def _play_all(
    wanted: Sequence[tuple[str, int]], notes: Path, contexts: int, progress: Progress
) -> None:
    if not wanted:
        return
    bar = progress.add_task("episodes", total=len(wanted))
    notes.parent.mkdir(parents=True, exist_ok=True)
    with notes.open("a", encoding="utf-8") as file:
        async with chromium() as browser:
            async for _, played in each(browser, wanted, _play, contexts):
                # An error of the environment says nothing: the next run plays it again.
                if played.scored:
                    file.write(f"{played.model_dump_json()}\n")
                    file.flush()
                progress.advance(bar)


def main() -> int:
    """The command; the number of the process' end is 1 where episodes are missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="how many, from 0 on")
    parser.add_argument("--contexts", type=int, default=4, help="episodes at a time")
    parser.add_argument("--episodes", type=Path, default=_EPISODES, help="where they are noted")
    parser.add_argument("--page", type=Path, default=_PAGE, help="what is written")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    every = [(task, seed) for seed in range(arguments.seeds) for task in catalogue()]
    done = {(e.task, e.seed) for e in read(arguments.episodes)}
    missing = [wanted for wanted in every if wanted not in done]
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    # Beside others an agent is slow: where that matters it plays alone.
    alone = [wanted for wanted in missing if Tag.TIMING in catalogue()[wanted[0]].tags]
    together = [wanted for wanted in missing if wanted not in set(alone)]
    with Progress(*columns, console=console) as progress:
        asyncio.run(_play_all(together, arguments.episodes, arguments.contexts, progress))
        asyncio.run(_play_all(alone, arguments.episodes, 1, progress))
    wanted = set(every)
    played = [e for e in read(arguments.episodes) if (e.task, e.seed) in wanted]
    if len(played) < len(every):
        console.print(f"{len(every) - len(played)} episodes are missing; run it again")
        return 1
    made_with = f"miniwob {version('miniwob')}, {find_chromium().version()}"
    arguments.page.write_text(page(played, made_with), "utf-8")
    console.print(f"{arguments.page}: {len(solved(played))} of {len(catalogue())} tasks are solved")
    return 0


if __name__ == "__main__":
    sys.exit(main())
