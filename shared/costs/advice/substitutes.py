"""A cheaper model that loses no more successes than a margin allows.

Only from models that were tried on the same thing: the same benchmark tasks with the same seeds,
or units that an A/B test drew lots for. Averages of models that did different work say nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import permutations
from typing import Final

from shared.costs.advice.noninferiority import paired_loss_bounds, split_loss_bounds
from shared.costs.advice.observed import Arm, SplitTest, Traffic, Trial, Trials
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
from shared.evaluation.intervals import Interval
from shared.evaluation.results.clustering import Cluster, clustered_mean, student_quantile
from shared.money import call_count, dollars
from shared.telemetry.reading import Sums

MARGIN: Final = 0.05
"The loss of success that is still acceptable, unless another one is asked for."
LEAST_PAIRS: Final = 30
LEAST_TASKS: Final = 10
"With fewer, how much tasks differ cannot be told."
LEAST_UNITS: Final = 30
"Of each arm of an A/B test."
_CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Compared:
    """`other` instead of `base`, by one source of evidence."""

    base: str
    other: str
    source: str
    n: int
    base_rate: float
    other_rate: float
    least_loss: float
    most_loss: float
    "One-sided bounds, 95 % each."
    less_nanos: float
    "What a task costs less, by what is known of the base."
    less_interval: Interval
    "95 %."
    base_unpriced: int

    def acceptable(self, margin: float) -> bool:
        return self.most_loss < margin and self.less_interval.low > 0

    @property
    def worse(self) -> bool:
        return self.least_loss > 0


def cheaper_models(
    played: Mapping[str, Trials],
    tests: Sequence[SplitTest],
    traffic: Sequence[Traffic],
    span: timedelta,
    *,
    benchmark_functions: frozenset[str],
    simulated: frozenset[str],
    margin: float = MARGIN,
) -> Section:
    """For each model in `played` or `tests` the cheapest that can take its place, if there is one.

    `traffic` is what came in `span`; what `benchmark_functions` did is no use of a model, and
    nothing is saved there. `simulated` are models whose prices are. ValueError for a margin that
    is not between 0 and 1.
    """
    if not 0 < margin < 1:
        raise ValueError(f"margin {margin}; expected above 0 and below 1, such as 0.05")
    missing: list[str] = []
    compared = [*_in_benchmarks(played, missing), *_in_tests(tests, missing)]
    if len(played) < 2 and not tests:
        missing.append(
            "two models on the same benchmark tasks and seeds, or an A/B test between two models"
        )
    # What one source shows to be worse is not made good by another.
    worse = {(one.base, one.other) for one in compared if one.worse}
    best: dict[str, Compared] = {}
    for one in compared:
        if one.acceptable(margin) and (one.base, one.other) not in worse:
            chosen = best.get(one.base)
            if chosen is None or one.less_nanos > chosen.less_nanos:
                best[one.base] = one
    used = [each for each in traffic if each.function not in benchmark_functions]
    advice = tuple(_advise(one, used, span, margin, simulated) for one in best.values())
    pairs = len({frozenset((one.base, one.other)) for one in compared})
    looked_at = (
        f"{len(played)} models in benchmark runs and {len(tests)} A/B tests: {pairs} pairs of"
        f" models with enough in common, held to a loss of less than {100 * margin:g} points"
    )
    return Section(Kind.CHEAPER_MODEL, advice, looked_at, tuple(dict.fromkeys(missing)))


def _in_benchmarks(played: Mapping[str, Trials], missing: list[str]) -> Iterable[Compared]:
    for base, other in permutations(sorted(played), 2):
        units = sorted(played[base].keys() & played[other].keys())
        tasks = len({task for task, _ in units})
        if len(units) < LEAST_PAIRS or tasks < LEAST_TASKS:
            if base < other:
                missing.append(
                    f"{base} and {other} have {len(units)} scored episodes of {tasks} tasks in"
                    f" common; {LEAST_PAIRS} of {LEAST_TASKS} tasks are needed"
                )
            continue
        ours = [played[base][unit] for unit in units]
        theirs = [played[other][unit] for unit in units]
        if not _known(other, sum(t.calls for t in theirs), _unpriced(theirs), missing):
            continue
        success: dict[str, list[int]] = {}
        nanos: dict[str, list[int]] = {}
        for (task, _), one, two in zip(units, ours, theirs, strict=True):
            success.setdefault(task, []).append(int(one.success) - int(two.success))
            nanos.setdefault(task, []).append(one.nanos - two.nanos)
        bounds = paired_loss_bounds(list(success.values()))
        less = clustered_mean([Cluster(sum(some), len(some)) for some in nanos.values()])
        if bounds is None or less is None:
            continue
        half = student_quantile(less.degrees, _CONFIDENCE) * math.sqrt(less.variance)
        yield Compared(
            base,
            other,
            f"benchmark runs, {len(units)} pairs of the same task and seed, {tasks} tasks",
            len(units),
            sum(one.success for one in ours) / len(units),
            sum(two.success for two in theirs) / len(units),
            *bounds,
            less.mean,
            Interval(less.mean - half, less.mean + half),
            _unpriced(ours),
        )


def _unpriced(trials: Iterable[Trial]) -> int:
    return sum(trial.unpriced_calls for trial in trials)


def _in_tests(tests: Sequence[SplitTest], missing: list[str]) -> Iterable[Compared]:
    for test in tests:
        if test.mismatch:
            missing.append(
                f"the units of the A/B test {test.name} do not follow its weights, so that nothing"
                " can be told from it"
            )
            continue
        for base, other in permutations(test.arms, 2):
            if base.model == other.model:
                continue
            if min(base.scored, other.scored) < LEAST_UNITS:
                missing.append(
                    f"the A/B test {test.name} has {min(base.scored, other.scored)} scored units of"
                    f" a variant; {LEAST_UNITS} are needed"
                )
                continue
            if _known(other.model, other.calls, other.unpriced_calls, missing):
                yield _compared_arms(test.name, base, other)


def _compared_arms(test: str, base: Arm, other: Arm) -> Compared:
    """The costs' interval is that of B. L. Welch, Biometrika 34 (1947)."""
    errors = [arm.variance / arm.scored for arm in (base, other)]
    less, half = base.mean_nanos - other.mean_nanos, 0.0
    if sum(errors):
        degrees = sum(errors) ** 2 / sum(
            error**2 / (arm.scored - 1) for error, arm in zip(errors, (base, other), strict=True)
        )
        half = student_quantile(degrees, _CONFIDENCE) * math.sqrt(sum(errors))
    return Compared(
        base.model,
        other.model,
        f"A/B test {test}, {base.scored} units of {base.model} and {other.scored} of {other.model}",
        base.scored + other.scored,
        base.successes / base.scored,
        other.successes / other.scored,
        *split_loss_bounds(base.successes, base.scored, other.successes, other.scored),
        less,
        Interval(less - half, less + half),
        base.unpriced_calls,
    )


def _known(model: str, calls: int, unpriced: int, missing: list[str]) -> bool:
    """Whether it is known what a model costs: none is called cheap for want of a price."""
    if not calls:
        missing.append(f"{model} reported no model calls, so what it costs is not known")
    elif unpriced:
        missing.append(
            f"{model} has {call_count(unpriced)} without a price, so what it costs is unknown"
        )
    return bool(calls) and not unpriced


def _advise(
    found: Compared,
    used: Sequence[Traffic],
    span: timedelta,
    margin: float,
    simulated: frozenset[str],
) -> Advice:
    own = [each.sums for each in used if each.model == found.base]
    tasks = sum(sums.tasks for sums in own)
    rates = (
        Figure("success rate of the dearer", found.base_rate, "share", found.n, found.source),
        Figure("success rate of the cheaper", found.other_rate, "share", found.n, found.source),
        Figure(
            "loss of success, bounds one-sided at 95 %",
            found.base_rate - found.other_rate,
            "share",
            found.n,
            found.source,
            Interval(found.least_loss, found.most_loss),
        ),
        Figure(
            "a task costs less by", found.less_nanos, "nanos", found.n, found.source,
            found.less_interval,
        ),
        Figure(
            f"tasks of {found.base} outside of benchmark runs", tasks, "tasks", tasks, "rollups"
        ),
    )  # fmt: skip
    return Advice(
        Kind.CHEAPER_MODEL,
        found.base,
        None,
        _saving(found, own, span),
        rates,
        f"Give the tasks of {found.base} to {found.other}: a task costs"
        f" {dollars(round(found.less_nanos))} less, and at most"
        f" {100 * max(found.most_loss, 0.0):.1f} points of success are lost (one-sided, 95 %),"
        f" which is below the margin of {100 * margin:g}. Try it in an A/B test on your own tasks"
        " first.",
        bool({found.base, found.other} & simulated),
    )


def _saving(found: Compared, own: Sequence[Sums], span: timedelta) -> Saving:
    tasks = sum(sums.tasks for sums in own)
    if not tasks:
        return unknown(
            f"no task of {found.base} ended in the window outside of benchmark runs, so how many"
            " there will be is not known"
        )
    amounts = [
        tasks * value
        for value in (found.less_nanos, found.less_interval.low, found.less_interval.high)
    ]
    explanation = (
        f"{tasks:,} tasks of {found.base} in the window, if they differ in cost as in the evidence"
    )
    if not any(sums.unpriced_calls for sums in own):
        spent = sum(sums.cost_nanos for sums in own)
        if amounts[2] > spent:
            explanation += f"; no more than the {dollars(spent)} that they cost"
        amounts = [min(amount, spent) for amount in amounts]
    value, low, high = (in_a_month(amount, span) for amount in amounts)
    certainty = Certainty.ESTIMATE
    if found.base_unpriced:
        certainty = Certainty.AT_LEAST
        explanation += (
            f"; without a price: {call_count(found.base_unpriced)} of {found.base} in the evidence"
        )
    return Saving(certainty, value, Interval(low, high), explanation)
