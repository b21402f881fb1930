"""What of two windows is compared, metric by metric, and by which rule it is judged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Final

from shared.drift.comparison import Comparison, compare, compare_categories, compare_shares
from shared.drift.verdicts import CATEGORY_RULE, DEFAULT_RULE, ComparedMetric, MetricRule
from shared.drift.window_pair import WindowPair
from shared.drift.windows import LookedAt
from shared.telemetry.histograms import Histogram, aligned, representatives
from shared.telemetry.metrics import Category, Metric, Share
from shared.telemetry.reading import Seen, Sums

_RULES: Final[Mapping[str, MetricRule]] = {
    # Errors are rare: five in a hundred more is what people are woken for.
    Share.ERROR_RATE: MetricRule(minimum_effect=0.05),
    Category.ERROR_TYPES: CATEGORY_RULE,
}


def compared(looked_at: LookedAt, names: Collection[str]) -> list[ComparedMetric]:
    """Each of the metrics `names` of both windows, compared."""
    old, new = looked_at.baseline, looked_at.current
    comparisons = {
        metric.value: _distributions(metric, old, new) for metric in Metric if metric in names
    }
    comparisons |= {
        share.value: compare_shares(count(old), count(new))
        for share, count in _SHARES.items()
        if share in names
    }
    comparisons |= {
        category.value: compare_categories(WindowPair.from_categories(count(old), count(new)))
        for category, count in _CATEGORIES.items()
        if category in names
    }
    problem = looked_at.windows.problem
    return [
        ComparedMetric(
            function_name=looked_at.windows.subject.function,
            metric_name=name,
            comparison=untrusted(comparison, problem) if problem else comparison,
            rule=_RULES.get(name, DEFAULT_RULE),
        )
        for name, comparison in comparisons.items()
    ]


def _distributions(metric: Metric, old: Seen | None, new: Seen | None) -> Comparison:
    pair = [Histogram.empty() if seen is None else seen.histograms[metric] for seen in (old, new)]
    bins, before, after = aligned(*pair)
    return compare(WindowPair.from_counts(before, after, representatives(bins)))


def untrusted(comparison: Comparison, reason: str) -> Comparison:
    """The same without its results, which mean nothing for this reason."""
    tests = tuple(
        replace(test, statistic=None, p_value=None, effect_size=None, reason=reason)
        for test in comparison.tests
    )
    return replace(comparison, tests=tests, effects={}, reason=comparison.reason or reason)


def _successes(sums: Sums) -> tuple[int, int]:
    return sums.tasks - sums.successes, sums.successes


def _errors(sums: Sums) -> tuple[int, int]:
    errors = sums.action_errors + sums.llm_errors
    return sums.actions + sums.llm_calls - errors, errors


def _share(count: Callable[[Sums], tuple[int, int]]) -> Callable[[Seen | None], tuple[int, int]]:
    return lambda seen: (0, 0) if seen is None else count(seen.sums)


_SHARES: Final = {Share.SUCCESS: _share(_successes), Share.ERROR_RATE: _share(_errors)}
"How many there were without, and with."


def _error_types(seen: Seen | None) -> Mapping[str, int]:
    return {} if seen is None else seen.sums.errors_by_type


_CATEGORIES: Final[Mapping[Category, Callable[[Seen | None], Mapping[str, int]]]] = {
    Category.ERROR_TYPES: _error_types,
}
"How many there were of each."
