"""What is known of two windows of one metric: its tests, and every effect size that can be told."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from shared.drift.effects import (
    Effect,
    jensen_shannon,
    population_stability,
    total_variation,
    wasserstein,
)
from shared.drift.statistics import (
    TestResult,
    anderson_darling,
    chi_square,
    chi_square_grouped,
    fisher_exact,
    kolmogorov_smirnov,
    mann_whitney,
)
from shared.drift.window_pair import LEAST_EXPECTED, WindowPair, countable, pooled_categories


@dataclass(frozen=True)
class Comparison:
    """The tests of one pair of windows, and every effect size that can be told."""

    tests: tuple[TestResult, ...]
    effects: dict[Effect, float]
    n_baseline: int
    n_current: int
    reason: str | None
    problem: str | None = None
    "Why the windows themselves cannot be compared, whatever they hold; None if they can."


def compare(pair: WindowPair) -> Comparison:
    """All four tests and the effect sizes of ordered values; never raises, never NaN.

    Chi-square, Jensen-Shannon and PSI are over `pair.grouped`; Wasserstein needs positions.
    """
    tests = (
        kolmogorov_smirnov(pair),
        mann_whitney(pair),
        anderson_darling(pair),
        chi_square_grouped(pair),
    )
    effects = {test.effect_name: test.effect_size for test in tests if test.effect_size is not None}
    if pair.problem is None:
        if pair.grouped[0].size > 1:
            effects[Effect.PSI] = population_stability(*pair.grouped)
        if pair.positions is not None:
            shares = pair.steps / (float(pair.n_baseline) * pair.n_current)
            moved = wasserstein(pair.positions, shares)
            if math.isfinite(moved):
                effects[Effect.WASSERSTEIN] = moved
    return Comparison(tests, effects, pair.n_baseline, pair.n_current, pair.problem)


def compare_categories(pair: WindowPair) -> Comparison:
    """Two windows of categories, whose order means nothing; never raises, never NaN.

    Rare categories are pooled (see `pooled_categories`); then chi-square of homogeneity, or
    Fisher's exact test where two categories are left of which one is rare. The effect is the share
    of values that changed category, of the pooled ones: what rare categories do among themselves
    is not looked at.
    """
    if pair.problem is not None:
        return _untestable(chi_square(pair), pair, pair.problem)
    pooled = pooled_categories(pair)
    if pooled.pooled.size < 2:
        reason = f"no category is expected {LEAST_EXPECTED} times in both windows"
        return _untestable(chi_square(pair), pair, reason)
    smaller = min(pooled.n_baseline, pooled.n_current)
    rarest = float(pooled.pooled.min()) * smaller / pooled.total
    test = chi_square(pooled) if rarest >= LEAST_EXPECTED else fisher_exact(pooled)
    moved = total_variation(pooled.baseline, pooled.current)
    effects = {
        Effect.TOTAL_VARIATION: moved,
        Effect.JENSEN_SHANNON: jensen_shannon(pooled.baseline, pooled.current),
    }
    if test.effect_size is not None:
        effects[test.effect_name] = test.effect_size
    test = replace(test, effect_name=Effect.TOTAL_VARIATION, effect_size=moved)
    return Comparison((test,), effects, pair.n_baseline, pair.n_current, None)


def compare_shares(baseline: tuple[int, int], current: tuple[int, int]) -> Comparison:
    """Two (without, with) counts, by chi-square; by Fisher's exact test where one is rare.

    The effect is the difference of the shares, which for two categories is the Kolmogorov-Smirnov
    distance. ValueError for a count below 0.
    """
    pair = WindowPair.from_counts(countable(baseline), countable(current))
    found = compare_categories(pair)
    moved = found.effects.get(Effect.TOTAL_VARIATION)
    tests = tuple(replace(test, effect_name=Effect.KS_DISTANCE) for test in found.tests)
    effects = {} if moved is None else {Effect.KS_DISTANCE: moved}
    return replace(found, tests=tests, effects=effects)


def _untestable(test: TestResult, pair: WindowPair, reason: str) -> Comparison:
    test = replace(test, statistic=None, p_value=None, effect_size=None, reason=reason)
    return Comparison((test,), {}, pair.n_baseline, pair.n_current, reason)
