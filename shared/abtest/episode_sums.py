"""What the benchmark episodes of a test of agents come to: sums over units, as of any other test.

Episodes are exact and there as soon as they have ended, where the events of a run are still on
their way. A unit is a task with its seed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.capping import capped
from shared.abtest.judging import judge
from shared.abtest.metrics import AbMetric, Kind
from shared.abtest.plan import DEFAULT_UNITS, Plan
from shared.abtest.shares import Share, shares_of
from shared.abtest.tables import AbTest
from shared.abtest.unit_analysis import moments_of, plan_of, units_a_day
from shared.abtest.verdicts import MetricSums, VariantSums, Verdict

PLANNED_UNITS: Final = 1_000
"Of a test whose author planned no number: an episode costs more than a page view."

_COMPONENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tasks": "1",
        "successes": "CAST(outcome = 'success' AS integer)",
        "llm_calls": "llm_calls",
        "task_latency_ms": "coalesce(duration_ms, 0)",
        "timed_tasks": "CAST(duration_ms IS NOT NULL AS integer)",
        "cost_nanos": "cost_nanos",
        "unpriced_calls": "unpriced_calls",
        "tokens": "input_tokens + output_tokens",
        "uncounted_calls": "uncounted_calls",
    }
)
"What is known of an episode, as `metrics.COMPONENTS` name it."


def is_known(metric: AbMetric) -> bool:
    """Whether episodes tell it."""
    needed = (metric.numerator, metric.denominator, *metric.needs_none_of)
    kept = metric.kind is not Kind.QUANTILE
    return kept and all(name is None or name in _COMPONENTS for name in needed)


def is_of_agents(test: AbTest) -> bool:
    """Whether benchmark episodes say what its units did: each of its variants names a model."""
    return all(variant["model"] for variant in test.variants)


def plan_of_agents(test: AbTest) -> Plan:
    """Its plan as far as episodes tell it, with units as they come where it names no number."""
    plan = plan_of(test)
    needed = (plan.success_metric, *(name for name in plan.compared if is_known(plan.metric(name))))
    return plan.model_copy(
        update={
            "guardrails": tuple(one for one in plan.guardrails if one.metric in needed),
            "metrics": tuple(one for one in plan.metrics if one.name in needed),
            "units": PLANNED_UNITS if plan.units == DEFAULT_UNITS else plan.units,
        }
    )


def judge_episodes(session: Session, test: AbTest, now: datetime) -> Verdict:
    """The verdict of the episodes that the test has assigned so far.

    What its plan compares and episodes do not tell is remarked.
    """
    plan = plan_of_agents(test)
    shares, earlier = shares_of(session, test)
    variants = _sums(session, test, plan, shares)
    found = judge(
        plan,
        variants,
        split_changed=test.split_changed_at is not None,
        units_by_other_shares=earlier,
        units_a_day=units_a_day(session, test, variants, now),
    )
    wanted = plan_of(test)
    untold = [name for name in wanted.compared if not is_known(wanted.metric(name))]
    if not untold:
        return found
    remark = f"benchmark episodes do not tell {', '.join(untold)}, so that is not compared"
    return replace(found, remarks=(*found.remarks, remark))


def _sums(session: Session, test: AbTest, plan: Plan, shares: Sequence[Share]) -> list[VariantSums]:
    named = {"name": test.name, "environment": test.environment}
    units = {row.variant: row.units for row in session.execute(_UNITS, named)}
    sums: defaultdict[str, dict[str, MetricSums]] = defaultdict(dict)
    metrics = [plan.metric(name) for name in plan.compared]
    known = [metric for metric in metrics if is_known(metric)]
    for row in session.execute(_summed(plan, known), named) if known else ():
        sums[row.variant][row.metric] = MetricSums(moments_of(row), row.unknown, capped=row.capped)
    # No unit is `mixed`: an episode begins in a browser of its own, whoever tried its task before.
    return [
        VariantSums(
            variant["name"],
            share.now,
            units.get(variant["name"], 0),
            metrics=sums[variant["name"]],
            most=share.most,
        )
        for variant, share in zip(test.variants, shares, strict=True)
    ]


_UNITS: Final = sa.text(
    """
    SELECT e.variant, count(DISTINCT e.unit_id) AS units
    FROM mlops.episode_results e JOIN mlops.benchmark_runs r ON r.id = e.run_id
    WHERE r.specification->'ab'->>'test' = :name
      AND r.specification->'ab'->>'environment' = :environment
      AND e.variant IS NOT NULL
    GROUP BY e.variant
    """
)

# A unit that several runs have tried is still one trial: its first that can be scored. First is
# by when a run began and not by what ended first, which depends on how it ended.
TRIALS: Final = """
    trials AS (
        SELECT DISTINCT ON (e.variant, e.unit_id) e.*
        FROM mlops.episode_results e JOIN mlops.benchmark_runs r ON r.id = e.run_id
        WHERE r.specification->'ab'->>'test' = :name
          AND r.specification->'ab'->>'environment' = :environment
          AND e.variant IS NOT NULL AND e.scored
        ORDER BY e.variant, e.unit_id, r.created_at, e.id
    )
"""
"The scored episodes that count, of the test of :name in :environment."


def _values_of(metric: AbMetric, cap: int | None) -> str:
    """(metric, known or not, y, x, above its cap or not) of an episode."""
    known = " AND ".join(f"{_COMPONENTS[name]} = 0" for name in metric.needs_none_of) or "true"
    y = f"CAST({_COMPONENTS[metric.numerator]} AS numeric)"
    x = "0" if metric.denominator is None else f"CAST({_COMPONENTS[metric.denominator]} AS numeric)"
    above = "false"
    if cap is not None:
        y, above = capped(metric, cap, y, x)
    return f"('{metric.name}', {known}, {y}, {x}, {above})"


def _summed(plan: Plan, metrics: Sequence[AbMetric]) -> sa.TextClause:
    """What `tables.AbSum` has, of the trials of each variant."""
    caps = {name: cap.at for name, cap in plan.winsorize.items()}
    sums = {"y": "y", "x": "x", "yy": "y * y", "xx": "x * x", "xy": "x * y"}
    return sa.text(
        f"""
        WITH {TRIALS}
        SELECT variant, metric, count(*) FILTER (WHERE known) AS units,
            count(*) FILTER (WHERE NOT known) AS unknown,
            count(*) FILTER (WHERE known AND above) AS capped,
            {", ".join(f"sum({of}) FILTER (WHERE known) AS {name}" for name, of in sums.items())}
        FROM trials CROSS JOIN LATERAL (
            VALUES {", ".join(_values_of(metric, caps.get(metric.name)) for metric in metrics)}
        ) AS of_metric (metric, known, y, x, above)
        GROUP BY variant, metric
        """  # noqa: S608 (names of columns, and whole numbers)
    )
