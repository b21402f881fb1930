"""The figures of an agent's episodes as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlops.console import print_table, say
from shared.money import NANOS, call_count

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from shared.evaluation.intervals import Interval
    from shared.evaluation.results.reading import ModelScores
    from shared.evaluation.results.repeats import RepeatedRate
    from shared.evaluation.results.scores import Amount, Rate, Scores, Slice

LEGEND = (
    "95 % intervals. These tasks: other seeds of the tasks that were tried. Tasks like these: seeds"
    " clustered by task"
)


COLUMNS = ("figure", "value", "these tasks", "tasks like these", "n")
"Of `rows`; the two in the middle are intervals."


def rows(scores: Scores, *, simulated: bool) -> list[Sequence[object]]:
    """Every figure over all of an agent's episodes in words, None where there is nothing to say."""
    return [*_rates(scores), *_repeats(scores), *_amounts(scores, simulated=simulated)]


def print_scores(found: ModelScores, *, simulated: bool, by_task: bool) -> None:
    """An agent's figures, then its rates by category and difficulty, and by task if wanted."""
    scores = found.scores
    print_table(
        COLUMNS,
        rows(scores, simulated=simulated),
        title=f"{found.model}: {scores.episodes:,} episodes, {scores.tasks:,} tasks with a score",
    )
    parts = [("category", scores.by_category), ("difficulty", scores.by_difficulty)]
    if by_task:
        parts.append(("task", scores.by_task))
    for name, slices in parts:
        _print_slices(name, slices)


def is_simulated(session: Session, model: str, llm_calls: int) -> bool:
    """Whether the price of these calls of an agent is a simulated one, by the price table."""
    if not llm_calls:
        return False
    from shared.costs.agents import price_of_nothing
    from shared.costs.prices import Price
    from shared.costs.pricing import tenant_prices
    from shared.registry.models import resolve

    price = price_of_nothing(tenant_prices(session), resolve(session, model))
    return isinstance(price, Price) and price.simulated


def percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f} %"


def bounds(interval: Interval | None, scale: float = 100, digits: int = 1) -> str | None:
    """`82.1 to 96.4`, by default in percent."""
    if interval is None:
        return None
    return f"{scale * interval.low:.{digits}f} to {scale * interval.high:.{digits}f}"


def _rates(scores: Scores) -> list[Sequence[object]]:
    ended = ", ".join(f"{count:,} {outcome}" for outcome, count in scores.outcomes.items())
    return [
        ("ended as", ended.replace("_", " ") or None, None, None, scores.episodes),
        _rate("success", scores.strict),
        _rate("raw reward above 0", scores.loose),
        ("environment errors", *_plain_rate(scores.environment_errors)),
        ("safety violations", *_plain_rate(scores.violations))
        if scores.violations.n
        else ("safety violations", "not tested", None, None, 0),
    ]


def _rate(name: str, rate: Rate) -> Sequence[object]:
    return (name, percent(rate.rate), bounds(rate.interval), bounds(rate.clustered), rate.n)


def _plain_rate(rate: Rate) -> Sequence[object]:
    return (percent(rate.rate), bounds(rate.interval), bounds(rate.clustered), rate.n)


def _repeats(scores: Scores) -> list[Sequence[object]]:
    """Without k = 1, which is the success rate."""
    return [
        _repeated(f"{name}{found.k}", found)
        for name, rates in (("pass@", scores.pass_at_k), ("pass^", scores.pass_hat_k))
        for found in rates
        if found.k > 1
    ]


def _repeated(name: str, found: RepeatedRate) -> Sequence[object]:
    few = f" ({found.left_out} have fewer seeds)" if found.left_out else ""
    return (
        name,
        percent(found.rate),
        None,
        bounds(found.interval),
        f"{found.tasks} tasks{few}",
    )


def _amounts(scores: Scores, *, simulated: bool) -> list[Sequence[object]]:
    marked = " (simulated)" if simulated else ""
    tokens, nanos = scores.tokens_per_success, scores.nanos_per_success
    return [
        _amount("steps", scores.steps, "{:.1f}", 1, 1),
        _amount("seconds", scores.seconds, "{:.2f}", 1, 2),
        _spending("tokens per success", scores, tokens, "{:,.0f}", 1, 0),
        _spending(f"dollars per success{marked}", scores, nanos, "${:.5f}", 1 / NANOS, 5),
    ]


def _spending(name: str, scores: Scores, amount: Amount, *form: Any) -> Sequence[object]:
    if not scores.llm_calls:
        return (name, "no calls", None, None, amount.n)
    if amount.unknown:
        return (name, f"unknown: {call_count(amount.unknown)}", None, None, amount.n)
    return _amount(name, amount, *form)


def _amount(name: str, amount: Amount, form: str, scale: float, digits: int) -> Sequence[object]:
    value = None if amount.value is None else form.format(scale * amount.value)
    return (name, value, None, bounds(amount.interval, scale, digits), amount.n)


def _print_slices(name: str, slices: Sequence[Slice]) -> None:
    say("")
    print_table(
        [name, "tasks", "success", "these tasks", "raw reward above 0", "steps", "n"],
        [
            (
                one.name,
                one.tasks,
                percent(one.strict.rate),
                bounds(one.strict.interval),
                percent(one.loose.rate),
                None if one.steps.value is None else f"{one.steps.value:.1f}",
                one.strict.n,
            )
            for one in slices
        ],
        empty=f"nothing is scored by {name}",
    )
