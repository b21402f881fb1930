"""Every number that a card shows, each with how it was made. Nothing else may be shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from pydantic import AwareDatetime, BaseModel, ConfigDict
from sqlalchemy.orm import Session

from shared.cards.queries import STATEMENTS, Query
from shared.evaluation.intervals import Interval, quantile_interval, wilson
from shared.evaluation.results.clustering import Cluster, rate_interval
from shared.money import call_count, known_nanos
from shared.registry.models import key
from shared.registry.tables import ModelVersion
from shared.telemetry.histograms import Histogram

LEAST_FOR_A_RATE: Final = 3
LEAST_FOR_A_QUANTILE: Final = 10
FEW_EPISODES: Final = 10
"A task with fewer is named among the limitations."

_UNKNOWN_STATES: Final = frozenset({"no_data", "insufficient"})


class Unit(StrEnum):
    SHARE = "share"
    POINTS = "percentage points"
    MILLISECONDS = "ms"
    STEPS = "steps"
    EPISODES = "episodes"
    TASKS = "tasks"
    METRICS = "metrics"
    CALLS = "calls"
    TOKENS = "tokens"
    NANO_DOLLARS = "nano-dollars"
    STATE = "state"
    P_VALUE = "p-value"
    EFFECT = "effect size"


class DataWindow(BaseModel):
    """The first and the last moment that the data of a figure is of."""

    model_config = ConfigDict(frozen=True)

    first: AwareDatetime
    last: AwareDatetime


class Figure(BaseModel):
    """A value with its origin. A value of None is unknown, and `note` or `n` says why."""

    model_config = ConfigDict(frozen=True)

    name: str
    value: int | float | str | None
    unit: Unit
    n: int
    interval: tuple[float, float] | None = None
    method: str
    query: Query
    parameters: dict[str, str]
    window: DataWindow | None = None
    computed_at: AwareDatetime
    note: str = ""


@dataclass(frozen=True)
class TaskFigures:
    benchmark: str
    task: str
    difficulty: str
    success_rate: Figure


@dataclass(frozen=True)
class DriftFigures:
    function: str
    metric: str
    verdict: Figure
    effect: Figure
    p_value: Figure
    reason: str


@dataclass(frozen=True)
class CardFigures:
    """All figures of one card, by the section that shows them."""

    success_rate: Figure
    by_benchmark: tuple[tuple[str, Figure], ...]
    by_task: tuple[TaskFigures, ...]
    mean_steps: Figure
    environment_errors: Figure
    latency: tuple[Figure, ...]
    tokens: tuple[Figure, ...]
    llm_calls: Figure
    cost: Figure
    cost_per_success: Figure
    unpriced_calls: Figure
    simulated_calls: Figure
    drift: tuple[DriftFigures, ...]
    tasks_with_few_episodes: Figure
    few_episodes: Figure
    interval_width: Figure
    metrics_without_verdict: Figure

    def __iter__(self) -> Iterator[Figure]:
        """Every figure once, in the order of the card."""
        yield self.success_rate
        yield from (figure for _, figure in self.by_benchmark)
        yield from (task.success_rate for task in self.by_task)
        yield from (self.mean_steps, self.environment_errors)
        yield from self.latency
        yield from (self.llm_calls, *self.tokens)
        yield from (self.cost, self.cost_per_success, self.unpriced_calls, self.simulated_calls)
        for metric in self.drift:
            yield from (metric.verdict, metric.effect, metric.p_value)
        yield from (self.tasks_with_few_episodes, self.few_episodes)
        yield from (self.interval_width, self.metrics_without_verdict)


def compute_figures(session: Session, version: ModelVersion, computed_at: datetime) -> CardFigures:
    """The figures of a model's version as the tables are now; `computed_at` is aware."""
    by_id, by_key = {"model_version_id": str(version.id)}, {"model": key(version)}
    episodes = _Source(session, Query.EPISODES_BY_TASK, by_id, computed_at)
    performance = _Source(session, Query.PERFORMANCE, by_key, computed_at)
    cost = _Source(session, Query.COST, by_key, computed_at)
    sweep = _Source(session, Query.NEWEST_SWEEP, by_key, computed_at)

    success_rate = _rate(episodes, "success rate", episodes.rows)
    benchmarks = dict.fromkeys(row.benchmark for row in episodes.rows)
    [used], [spent] = performance.rows, cost.rows
    steps = Histogram.from_bytes(used.step_latency_ms)
    calls = Histogram.from_bytes(used.llm_latency_ms)
    drift = tuple(_drift(sweep, row) for row in sweep.rows)
    return CardFigures(
        success_rate=success_rate,
        by_benchmark=tuple(
            (
                name,
                _rate(
                    episodes,
                    f"success rate / {name}",
                    [row for row in episodes.rows if row.benchmark == name],
                ),
            )
            for name in benchmarks
        ),
        by_task=tuple(
            TaskFigures(
                row.benchmark,
                row.task,
                row.difficulty,
                _rate(episodes, f"success rate / {row.benchmark} / {row.task}", [row]),
            )
            for row in episodes.rows
        ),
        mean_steps=_mean_steps(episodes),
        environment_errors=episodes.figure(
            "episodes that the environment broke",
            sum(row.environment_errors for row in episodes.rows),
            Unit.EPISODES,
            n=sum(row.environment_errors + row.scored for row in episodes.rows),
            method="count; they are in no rate",
        ),
        latency=tuple(
            _quantile(performance, f"{what} latency p{round(100 * q)}", histogram, q)
            for what, histogram in (("step", steps), ("model call", calls))
            for q in (0.5, 0.95)
        ),
        llm_calls=_counted(performance, "model calls", used.llm_calls, Unit.CALLS, used),
        tokens=(
            _tokens(performance, "input tokens", used.input_tokens, used),
            _tokens(performance, "output tokens", used.output_tokens, used),
        ),
        **_cost_figures(cost, spent),
        drift=drift,
        tasks_with_few_episodes=episodes.figure(
            "tasks with few episodes",
            sum(row.scored < FEW_EPISODES for row in episodes.rows),
            Unit.TASKS,
            n=len(episodes.rows),
            method="count of tasks",
        ),
        few_episodes=Figure(
            name="few episodes",
            value=FEW_EPISODES,
            unit=Unit.EPISODES,
            n=1,
            method="rule of this card",
            query=Query.NONE,
            parameters={},
            computed_at=computed_at,
        ),
        interval_width=episodes.figure(
            "width of the interval of the success rate",
            success_rate.interval and 100 * (success_rate.interval[1] - success_rate.interval[0]),
            Unit.POINTS,
            n=success_rate.n,
            method="upper less lower bound",
        ),
        metrics_without_verdict=sweep.figure(
            "metrics whose drift is unknown",
            sum(metric.verdict.value in _UNKNOWN_STATES for metric in drift),
            Unit.METRICS,
            n=len(drift),
            method="count of metrics",
        ),
    )


class _Source:
    """The rows of one named query, and figures that say they come from it."""

    def __init__(
        self, session: Session, query: Query, parameters: dict[str, str], computed_at: datetime
    ) -> None:
        self._query, self._parameters, self._computed_at = query, parameters, computed_at
        self.rows: Sequence[sa.Row[*tuple[Any, ...]]] = session.execute(
            STATEMENTS[query], parameters
        ).all()

    def figure(
        self,
        name: str,
        value: int | float | str | None,
        unit: Unit,
        *,
        n: int,
        method: str,
        interval: Interval | None = None,
        note: str = "",
    ) -> Figure:
        moments = [row.first for row in self.rows if row.first is not None]
        moments += [row.last for row in self.rows if row.last is not None]
        return Figure(
            name=name,
            value=value,
            unit=unit,
            n=n,
            interval=interval,
            method=method,
            query=self._query,
            parameters=self._parameters,
            window=DataWindow(first=min(moments), last=max(moments)) if moments else None,
            computed_at=self._computed_at,
            note=note,
        )


def _rate(source: _Source, name: str, rows: Sequence[Any]) -> Figure:
    """Of one task with Wilson's interval, of several with one that clusters seeds by task."""
    tried = [row for row in rows if row.scored]
    n, successes = sum(row.scored for row in tried), sum(row.successes for row in tried)
    enough = n >= LEAST_FOR_A_RATE
    clustered = rate_interval([Cluster(row.successes, row.scored) for row in tried])
    how = "Wilson interval" if clustered is None else "interval with seeds clustered by task"
    return source.figure(
        name,
        successes / n if enough else None,
        Unit.SHARE,
        n=n,
        interval=(clustered or wilson(successes, n)) if enough else None,
        method=f"successes / scored episodes; {how}, 95 %",
    )


def _mean_steps(source: _Source) -> Figure:
    n, steps = (sum(getattr(row, name) for row in source.rows) for name in ("scored", "steps"))
    value = steps / n if n >= LEAST_FOR_A_RATE else None
    return source.figure("steps per episode", value, Unit.STEPS, n=n, method="mean")


def _quantile(source: _Source, name: str, histogram: Histogram, q: float) -> Figure:
    # Of fewer than 1 / (1 - q) values the quantile is merely the largest.
    enough = histogram.total >= max(LEAST_FOR_A_QUANTILE, round(1 / (1 - q)))
    return source.figure(
        name,
        histogram.quantile(q) if enough else None,
        Unit.MILLISECONDS,
        n=histogram.total,
        interval=quantile_interval(histogram, q) if enough else None,
        method="quantile of the hourly histograms; interval of order statistics, 95 %",
    )


def _counted(source: _Source, name: str, value: int, unit: Unit, used: Any) -> Figure:
    return source.figure(
        name, value if used.rollups else None, unit, n=used.llm_calls, method="sum of the hours"
    )


def _tokens(source: _Source, name: str, value: int, used: Any) -> Figure:
    """Tokens that no endpoint reported are said to be unknown, not zero."""
    # The histogram holds the calls whose tokens are known.
    counted = Histogram.from_bytes(used.tokens).total
    uncounted = used.llm_calls - counted
    known = used.rollups and not 0 < used.llm_calls == uncounted
    return source.figure(
        name,
        value if known else None,
        Unit.TOKENS,
        n=counted,
        method="sum of the hours",
        note=f"uncounted: {call_count(uncounted)}" if uncounted else "",
    )


def _cost_figures(source: _Source, spent: Any) -> dict[str, Figure]:
    """Unknown cost is never shown as none: without rollups, or without a price, there is no sum."""
    calls, unpriced, simulated = spent.llm_calls, spent.unpriced_calls, spent.simulated_calls
    # A sum may be beyond PostgreSQL's integers.
    nanos = int(spent.cost_nanos)
    known = spent.days > 0 and known_nanos(nanos, calls, unpriced) is not None
    without = f"unpriced: {call_count(unpriced)}" if unpriced else ""
    assumed = f"simulated prices: {call_count(simulated)}" if simulated else ""
    note = "; ".join(part for part in (without, assumed) if part)

    def counted(name: str, value: int | None, n: int) -> Figure:
        return source.figure(name, value, Unit.CALLS, n=n, method="sum of the days")

    def money(name: str, amount: float | None, n: int, method: str) -> Figure:
        why = without if amount is None else note
        return source.figure(name, amount, Unit.NANO_DOLLARS, n=n, method=method, note=why)

    per_success = (
        nanos / spent.successes
        # A part of the cost over all of the successes would be too low.
        if known and not unpriced and spent.successes >= LEAST_FOR_A_RATE
        else None
    )
    return {
        "cost": money("cost", nanos if known else None, calls, "sum of the days"),
        "cost_per_success": money(
            "cost per success", per_success, spent.successes, "cost / successes"
        ),
        "unpriced_calls": counted(
            "calls without a known price",
            unpriced if spent.days else None,
            calls,
        ),
        "simulated_calls": counted(
            "calls at a simulated price",
            simulated if spent.days else None,
            calls,
        ),
    }


def _drift(source: _Source, row: Any) -> DriftFigures:
    n = min(row.n_baseline, row.n_current)
    name = f"drift of {row.metric} in {row.function}"
    return DriftFigures(
        function=row.function,
        metric=row.metric,
        verdict=source.figure(
            name, row.verdict, Unit.STATE, n=n, method="significant and large enough"
        ),
        effect=source.figure(
            f"{name}, effect",
            row.effect_size,
            Unit.EFFECT,
            n=n,
            method=row.effect_name or "none could be told",
        ),
        p_value=source.figure(
            f"{name}, p-value",
            row.p_adjusted,
            Unit.P_VALUE,
            n=n,
            method="smallest of the metric's tests, Benjamini-Hochberg over the sweep",
        ),
        reason=row.reason,
    )
