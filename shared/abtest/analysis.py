"""What a test has shown: counts, rates, differences to the control, and whether the split holds.

The intervals are for one look at the end of the test; whoever looks again and again until one
excludes zero is wrong more often than 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from statistics import NormalDist
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.history import split_changed
from shared.abtest.lifecycle import find
from shared.abtest.tables import AbTest
from shared.abtest.unit_analysis import judge_units
from shared.abtest.verdicts import MISMATCH_BELOW, AbState, Verdict, sample_ratio_p
from shared.evaluation.intervals import Interval, wilson
from shared.jobs.contracts import AnalyzeAbTest

LEAST_EPISODES: Final = 30
"Scored episodes that both sides of a comparison need before it is called anything."


@dataclass(frozen=True)
class VariantCounts:
    """`units` are distinct. `scored` are the units with an episode that ended, and that neither
    was cancelled nor broken by the environment; `successes` are of those, by the first such."""

    name: str
    model: str | None
    weight: float
    units: int
    episodes: int
    scored: int
    successes: int


@dataclass(frozen=True)
class VariantResult:
    counts: VariantCounts
    success_rate: float | None
    interval: Interval | None
    "Wilson, 95 %."


@dataclass(frozen=True)
class Difference:
    """A variant's success rate minus the control's, with Newcombe's 95 % interval."""

    variant: str
    state: AbState
    difference: float | None
    interval: Interval | None
    p_value: float | None


@dataclass(frozen=True)
class Analysis:
    """The first variant is the control. `sample_ratio_p` is None where the split cannot be told."""

    state: AbState
    verdict: str
    variants: tuple[VariantResult, ...]
    differences: tuple[Difference, ...]
    sample_ratio_p: float | None


# A unit that several runs have tried is still one trial: its first that can be scored. First is
# by when a run began and not by what ended first, which depends on how it ended.
_COUNTS: Final = sa.text(
    """
    WITH tried AS (
        SELECT e.variant, e.unit_id, e.scored, e.outcome = 'success' AS success,
               row_number() OVER (
                   PARTITION BY e.variant, e.unit_id
                   ORDER BY e.scored DESC, r.created_at, e.id
               ) AS place
        FROM mlops.episode_results e JOIN mlops.benchmark_runs r ON r.id = e.run_id
        WHERE r.specification->'ab'->>'test' = :name
          AND r.specification->'ab'->>'environment' = :environment
    )
    SELECT variant, count(DISTINCT unit_id) AS units, count(*) AS episodes,
           count(*) FILTER (WHERE scored AND place = 1) AS scored,
           count(*) FILTER (WHERE scored AND place = 1 AND success) AS successes
    FROM tried GROUP BY variant
    """
)


def step(session: Session, job: AnalyzeAbTest) -> dict[str, Any]:
    """The analysis of a test as the result of its job. Raises `AbTestError` for no such test."""
    return asdict(analysis_of(session, find(session, job.test, job.environment)))


def analysis_of(session: Session, test: AbTest) -> Analysis | Verdict:
    """Of a test of agents its benchmark episodes, of any other what its units did."""
    if all(variant["model"] for variant in test.variants):
        return analyze(session, test)
    return judge_units(session, test, datetime.now(UTC))


def analyze(session: Session, test: AbTest) -> Analysis:
    """Analyse the episodes that the test assigned."""
    found = {
        row.variant: row
        for row in session.execute(_COUNTS, {"name": test.name, "environment": test.environment})
    }
    counts = []
    for variant in test.variants:
        row = found.get(variant["name"])
        counts.append(
            VariantCounts(
                variant["name"],
                variant["model"],
                variant["weight"],
                *((row.units, row.episodes, row.scored, row.successes) if row else (0, 0, 0, 0)),
            )
        )
    return conclude(counts, split_changed=split_changed(session, test))


def conclude(variants: Sequence[VariantCounts], *, split_changed: bool = False) -> Analysis:
    """The analysis of counts. After a change of weights there is no one ratio to hold them to."""
    ratio_p = (
        None
        if split_changed
        else sample_ratio_p([v.units for v in variants], [v.weight for v in variants])
    )
    results = tuple(
        VariantResult(
            counts=v,
            success_rate=v.successes / v.scored if v.scored else None,
            interval=wilson(v.successes, v.scored),
        )
        for v in variants
    )
    control, *others = variants
    differences = tuple(compare_rates(control, other) for other in others)
    if ratio_p is not None and ratio_p < MISMATCH_BELOW:
        state = AbState.SAMPLE_RATIO_MISMATCH
        verdict = f"the units do not follow the weights (p = {ratio_p:.2g}): no rate can be trusted"
    else:
        state, verdict = _overall(control, differences)
    return Analysis(state, verdict, results, differences, ratio_p)


def compare_rates(control: VariantCounts, other: VariantCounts) -> Difference:
    """`other` against `control`: better or worse if the interval of the difference excludes 0.

    The p-value is that of the pooled two-proportion z-test.
    """
    if not control.scored or not other.scored:
        return Difference(other.name, AbState.COLLECTING, None, None, None)
    difference = other.successes / other.scored - control.successes / control.scored
    interval = newcombe(other.successes, other.scored, control.successes, control.scored)
    if min(control.scored, other.scored) < LEAST_EPISODES:
        state = AbState.COLLECTING
    elif interval.low > 0:
        state = AbState.BETTER
    elif interval.high < 0:
        state = AbState.WORSE
    else:
        state = AbState.NO_DIFFERENCE
    return Difference(other.name, state, difference, interval, _z_test_p(control, other))


def newcombe(successes_1: int, n_1: int, successes_2: int, n_2: int) -> Interval:
    """95 % interval of p1 - p2 from the Wilson intervals of both.

    R. G. Newcombe, Statistics in Medicine 17 (1998), 873-890, method 10. ValueError if a side
    has no trials.
    """
    one, two = wilson(successes_1, n_1), wilson(successes_2, n_2)
    if one is None or two is None:
        raise ValueError(f"{n_1} and {n_2} trials; expected at least 1 on each side")
    p_1, p_2 = successes_1 / n_1, successes_2 / n_2
    difference = p_1 - p_2
    return Interval(
        max(-1.0, difference - math.hypot(p_1 - one.low, two.high - p_2)),
        min(1.0, difference + math.hypot(one.high - p_1, p_2 - two.low)),
    )


def _overall(control: VariantCounts, differences: Sequence[Difference]) -> tuple[AbState, str]:
    if any(difference.state is AbState.COLLECTING for difference in differences):
        return AbState.COLLECTING, (
            f"collecting: every variant needs at least {LEAST_EPISODES} scored episodes"
        )
    told = [d for d in differences if d.state is not AbState.NO_DIFFERENCE]
    if not told:
        return AbState.NO_DIFFERENCE, f"no variant is told apart from {control.name}"
    # What is better comes first, then what is furthest away.
    best = max(told, key=lambda d: (d.state is AbState.BETTER, abs(d.difference or 0)))
    return best.state, _sentence(best, control.name)


def _sentence(difference: Difference, control: str) -> str:
    points = 100 * (difference.difference or 0)
    low, high = (100 * bound for bound in difference.interval or (0, 0))
    return (
        f"{difference.variant} is {difference.state.value} than {control}: {points:+.1f} points,"
        f" 95 % interval {low:+.1f} to {high:+.1f}"
    )


def _z_test_p(one: VariantCounts, two: VariantCounts) -> float:
    pooled = (one.successes + two.successes) / (one.scored + two.scored)
    variance = pooled * (1 - pooled) * (1 / one.scored + 1 / two.scored)
    if not variance:
        return 1.0
    z = (two.successes / two.scored - one.successes / one.scored) / math.sqrt(variance)
    return 2 * NormalDist().cdf(-abs(z))
