"""Work that is paid for and never succeeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shared.costs.advice.observed import TaskCost, Traffic
from shared.costs.advice.pieces import (
    Advice,
    Certainty,
    Figure,
    Kind,
    Saving,
    Section,
    in_a_month,
    unknown,
)
from shared.evaluation.intervals import wilson
from shared.money import call_count, dollars

HOPELESS: Final = 0.05
"What the upper bound of a success rate must be below."


def never_succeeding(
    traffic: Sequence[Traffic],
    tasks: Sequence[TaskCost],
    simulated: frozenset[str],
    span: timedelta,
) -> Section:
    """Functions of a model, and benchmark tasks, whose success rate is below 5 % for sure.

    That is Wilson's 95 % interval, so even without one success it takes 73 tasks. A benchmark task
    is looked at over all models, and by model where only some of them fail. `simulated` are models
    whose prices are.
    """
    advice: list[Advice] = []
    told: set[tuple[str, str]] = set()
    for each in traffic:
        sums = each.sums
        if hopeless(sums.successes, sums.tasks) and sums.llm_calls:
            told.add((each.model, each.function))
            spent = _Spent(sums.cost_nanos, sums.llm_calls, sums.unpriced_calls)
            advice += _advise(
                each.model, each.function, f"tasks of {each.model} in {each.function}", "rollups",
                sums.successes, sums.tasks, spent, span, is_simulated=sums.simulated_calls > 0,
            )  # fmt: skip
    by_task: defaultdict[str, list[TaskCost]] = defaultdict(list)
    for task in tasks:
        if (task.model, task.function) not in told:
            by_task[task.task].append(task)
    for name, group in by_task.items():
        together = hopeless(sum(t.successes for t in group), sum(t.scored for t in group))
        alone = [[one] for one in group if hopeless(one.successes, one.scored)]
        for some in [group] if together else alone:
            advice += _advise_task(name, some, simulated, span)
    looked_at = (
        f"{sum(each.sums.tasks > 0 for each in traffic)} pairs of model and function with tasks,"
        f" and {len(by_task)} benchmark tasks"
    )
    missing = []
    if not any(each.sums.tasks for each in traffic) and any(e.sums.llm_calls for e in traffic):
        missing.append("calls were reported, and no end of a task (`task_end`): nothing succeeds")
    return Section(Kind.NEVER_SUCCEEDS, tuple(advice), looked_at, tuple(missing))


def hopeless(successes: int, n: int) -> bool:
    interval = wilson(successes, n)
    return interval is not None and interval.high < HOPELESS


@dataclass(frozen=True)
class _Spent:
    nanos: int
    calls: int
    unpriced: int


def _advise_task(
    name: str, group: Sequence[TaskCost], simulated: frozenset[str], span: timedelta
) -> list[Advice]:
    spent = _Spent(
        sum(one.nanos for one in group),
        sum(one.calls for one in group),
        sum(one.unpriced_calls for one in group),
    )
    models = sorted({one.model for one in group})
    functions = sorted({one.function for one in group})
    by = models[0] if len(models) == 1 else f"{len(models)} models"
    return _advise(
        models[0] if len(models) == 1 else None,
        functions[0] if len(functions) == 1 else None,
        f"episodes of the benchmark task {name} by {by}",
        "benchmark runs",
        sum(one.successes for one in group),
        sum(one.scored for one in group),
        spent,
        span,
        is_simulated=bool(simulated & set(models)),
    )


def _advise(
    model: str | None,
    function: str | None,
    what: str,
    source: str,
    successes: int,
    n: int,
    spent: _Spent,
    span: timedelta,
    *,
    is_simulated: bool,
) -> list[Advice]:
    if not (spent.nanos or spent.unpriced):
        return []
    interval = wilson(successes, n)
    high = 100 * (interval.high if interval else 1.0)
    return [
        Advice(
            Kind.NEVER_SUCCEEDS,
            model,
            function,
            _saving(spent, span),
            (
                Figure("success rate", successes / n, "share", n, source, interval),
                Figure("known cost", spent.nanos, "nanos", spent.calls, source),
            ),
            f"Stop or change the {what}: {successes} of {n:,} succeeded, at most {high:.1f} % (95"
            f" %), and {dollars(spent.nanos)} is known to have been spent on them.",
            is_simulated,
        )
    ]


def _saving(spent: _Spent, span: timedelta) -> Saving:
    if spent.calls == spent.unpriced:
        return unknown(f"unpriced: {call_count(spent.unpriced)}; none of them has a price")
    nanos = in_a_month(spent.nanos, span)
    said = "all that these cost, if they are no longer tried"
    if spent.unpriced:
        return Saving(
            Certainty.AT_LEAST, nanos, None, f"{said}; unpriced: {call_count(spent.unpriced)}"
        )
    return Saving(Certainty.ESTIMATE, nanos, None, said)
