"""Whether a task is solved: its criteria, asked of the pages, the answer, scorers and judges.

A criterion holds, does not hold, or cannot be told yet, because the agent has not answered; what is
combined of one that cannot be told cannot be told either, unless the rest decides. An episode is
solved as soon as its criterion holds, and ends with the agent's answer, when all can be told.
"""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from shared.evaluation.custom import judge as judges
from shared.evaluation.custom import scorers
from shared.evaluation.custom.matching import address_matches, answer_matches, elements_match
from shared.evaluation.custom.parts import fill, fill_json

if TYPE_CHECKING:
    from playwright.async_api import Page

    from shared.evaluation.benchmark import SoFar
    from shared.evaluation.custom.criteria import Criterion, Judge, Scorer
    from shared.evaluation.custom.looking import Looker
    from shared.evaluation.protocol import Judgement


class Finding(NamedTuple):
    """Whether something holds, None while it cannot be told, and why."""

    holds: bool | None
    said: str


@dataclass(frozen=True)
class Case:
    """What is judged: one task with one seed."""

    task: str
    seed: int
    goal: str
    values: Mapping[str, str]


class Judged:
    """Judges the moments of one episode. `judgements` are all that judges were asked for."""

    def __init__(self, case: Case, looker: Looker) -> None:
        self._case = case
        self._looker = looker
        self._asked: list[judges.Judging] = []

    @property
    def judgements(self) -> tuple[Judgement, ...]:
        return tuple(asked.judgement() for asked in self._asked)

    async def find(self, criterion: Criterion, page: Page, so_far: SoFar) -> Finding:
        """Whether `criterion` holds. Raises `JudgingError` where that cannot be found out.

        The first of its parts that does not hold, or cannot be told yet, is what is found: what
        costs nothing is looked at first, and a judge is asked last.
        """
        if criterion.final and so_far.answer is None:
            return Finding(None, "is looked at when the agent answers")
        for looked_at in (self._addresses, self._answer, self._page, self._combined):
            finding = await looked_at(criterion, page, so_far)
            if finding.holds is not True:
                return finding
        if criterion.scorer is not None:
            finding = await self._score(criterion.scorer, page, so_far)
            if not finding.holds:
                return finding
        if criterion.judge is not None:
            return await self._judge(criterion.judge, page, so_far)
        return _HOLDS

    async def _addresses(self, criterion: Criterion, page: Page, so_far: SoFar) -> Finding:
        values, front = self._case.values, page.url
        match, visited = criterion.url, criterion.visited
        if match is not None and not await to_thread(address_matches, match, front, values):
            return Finding(False, f"the page in front is {front[:150]}")
        if visited is not None and not await to_thread(
            lambda: any(address_matches(visited, one, values) for one in so_far.visited)
        ):
            wanted = visited.model_dump_json(exclude_none=True)
            return Finding(False, f"no page was visited with {wanted[:150]}")
        return _HOLDS

    async def _answer(self, criterion: Criterion, page: Page, so_far: SoFar) -> Finding:
        if criterion.answer is None:
            return _HOLDS
        if so_far.answer is None:
            return Finding(None, "there is no answer yet")
        holds = await to_thread(answer_matches, criterion.answer, so_far.answer, self._case.values)
        return Finding(holds, f"the answer is {so_far.answer[:150]!r}")

    async def _page(self, criterion: Criterion, page: Page, so_far: SoFar) -> Finding:
        values = self._case.values
        if criterion.element is not None:
            selector = fill(criterion.element.selector, values)
            total, found = await self._looker.elements(page, selector)
            if not await to_thread(elements_match, criterion.element, total, found, values):
                there = f"{total} elements match {selector[:80]!r}"
                return Finding(False, f"{there}, and not as they should")
        script = criterion.javascript
        if script is not None and not await self._looker.predicate(
            page, script.expression, script.world, values
        ):
            return Finding(False, f"not true: {' '.join(script.expression.split())[:150]}")
        return _HOLDS

    async def _combined(self, criterion: Criterion, page: Page, so_far: SoFar) -> Finding:
        for part in _cheap_first(criterion.all or ()):
            finding = await self.find(part, page, so_far)
            if finding.holds is not True:
                return finding
        if criterion.any is not None:
            finding = await self._any(criterion.any, page, so_far)
            if finding.holds is not True:
                return finding
        if criterion.not_ is not None:
            finding = await self.find(criterion.not_, page, so_far)
            if finding.holds is None:
                return finding
            return Finding(not finding.holds, "what must not hold does")
        return _HOLDS

    async def _any(self, parts: Sequence[Criterion], page: Page, so_far: SoFar) -> Finding:
        findings: list[Finding] = []
        for part in _cheap_first(parts):
            findings.append(await self.find(part, page, so_far))
            if findings[-1].holds is True:
                return _HOLDS
        return next((one for one in findings if one.holds is None), findings[0])

    async def _score(self, scorer: Scorer, page: Page, so_far: SoFar) -> Finding:
        shown = await self._looker.shown(page)
        case = self._case
        score = await scorers.score(
            scorer.name,
            scorers.Scored(
                task=case.task,
                seed=case.seed,
                goal=case.goal,
                url=page.url,
                title=shown.title,
                text=shown.text,
                html=shown.html,
                answer=so_far.answer,
                visited=so_far.visited,
                values=dict(case.values),
                parameters=fill_json(scorer.parameters, case.values),
            ),
        )
        return Finding(score.success, f"scorer {scorer.name}: {score.reason or 'no'}")

    async def _judge(self, judge: Judge, page: Page, so_far: SoFar) -> Finding:
        if so_far.answer is None:
            return Finding(None, "the judge is asked when the agent answers")
        evidence = await self._evidence(judge, page, so_far)
        asked = judges.Judging(judge)
        self._asked.append(asked)
        said = await asked.ask(self._case.goal, fill(judge.question, self._case.values), evidence)
        return Finding(said.success, f"the judge: {said.reason or said.success}")

    async def _evidence(self, judge: Judge, page: Page, so_far: SoFar) -> dict[str, str]:
        evidence: dict[str, str] = {}
        if "answer" in judge.shows:
            evidence["answer"] = so_far.answer or ""
        if "url" in judge.shows:
            evidence["url"] = page.url[:2_000]
        if "visited" in judge.shows:
            evidence["visited"] = "\n".join(one[:500] for one in so_far.visited[-50:])
        if "text" in judge.shows:
            shown = await self._looker.shown(page)
            text = f"{shown.title}\n{shown.text}"
            evidence["page"] = text[: judge.max_page_characters]
        return evidence


_HOLDS = Finding(True, "all success criteria hold")


def _cheap_first(parts: Sequence[Criterion]) -> list[Criterion]:
    return sorted(parts, key=lambda part: any(one.judge for _, one in part.walk()))
