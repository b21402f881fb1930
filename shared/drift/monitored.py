"""What of two windows is compared, metric by metric, and by which rule it is judged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np

from shared.drift import own_variation
from shared.drift.comparison import Comparison, compare_shares
from shared.drift.concept import OUTCOME_RULE, BinnedOutcomes, compare_outcomes
from shared.drift.cut_names import compare_names
from shared.drift.effects import Counts, Floats
from shared.drift.many_pairs import compare_all
from shared.drift.query_words import COUNTED_TEXTS
from shared.drift.verdicts import CATEGORY_RULE, DEFAULT_RULE, ComparedMetric, MetricRule
from shared.drift.vocabulary import VOCABULARY_RULE
from shared.drift.volume import VOLUME_RULE
from shared.drift.windows import LookedAt
from shared.telemetry.histograms import LARGEST_VALUE, Histogram, representatives
from shared.telemetry.metrics import (
    SHARE_UNIT,
    Category,
    Metric,
    OfOutcome,
    Relation,
    Share,
    Volume,
    Words,
)
from shared.telemetry.pieces import Pieces
from shared.telemetry.reading import Seen, Sums

LEAST_OF_A_SHARE: Final = 10
"Tasks, or calls and actions, that each window needs."

RULES: Final[Mapping[str, MetricRule]] = {
    # Of few tasks the exact test still knows, and some functions have no more in a day.
    Share.SUCCESS: MetricRule(minimum_values=LEAST_OF_A_SHARE),
    # Errors are rare: five in a hundred more is what people are woken for.
    Share.ERROR_RATE: MetricRule(minimum_effect=0.05, minimum_values=LEAST_OF_A_SHARE),
    **dict.fromkeys(Category, CATEGORY_RULE),
    **dict.fromkeys(Relation, OUTCOME_RULE),
    Volume.REQUESTS: VOLUME_RULE,
    **dict.fromkeys(Words, VOCABULARY_RULE),
}


def histograms_for(names: Collection[str]) -> list[Metric | OfOutcome]:
    """Those that must be read to compare the metrics `names`."""
    needed: set[str] = {metric for metric in Metric if metric in names}
    for relation, binned in RELATIONS.items():
        if relation in names:
            needed |= {binned.having, binned.without}
    if Words.QUERY_VOCABULARY in names:
        needed.add(COUNTED_TEXTS)
    return [name for name in (*Metric, *OfOutcome) if name in needed]


def compared(
    looked_at: LookedAt,
    names: Collection[str],
    volume: Comparison,
    words: Comparison,
    minimum_effects: Mapping[str, float],
    distributions: Mapping[str, Comparison],
) -> list[ComparedMetric]:
    """Each of the metrics `names` of both windows, compared.

    `volume` is how the current window's requests compare with earlier weeks, `words` how those of
    its queries do with the baseline's, `minimum_effects` are those of a tenant's own choice, by
    metric, `distributions` what `compared_distributions` says.
    """
    old, new = looked_at.baseline, looked_at.current
    own = _OwnVariation(looked_at.baseline, looked_at.pieces)
    comparisons = dict(distributions)
    comparisons |= {
        share.value: compare_shares(count(old), count(new))
        for share, count in SHARES.items()
        if share in names
    }
    comparisons |= {
        category.value: compare_names(count(old), count(new))
        for category, count in CATEGORIES.items()
        if category in names
    }
    comparisons |= {
        relation.value: compare_outcomes(outcomes(relation, old, new)).comparison
        for relation in Relation
        if relation in names
    }
    if Words.QUERY_VOCABULARY in names:
        comparisons[Words.QUERY_VOCABULARY.value] = words
    problem = looked_at.windows.problem
    if problem is not None:
        comparisons = {name: untrusted(one, problem) for name, one in comparisons.items()}
    if Volume.REQUESTS in names:
        # It has a baseline of its own.
        comparisons[Volume.REQUESTS.value] = volume
    return [
        ComparedMetric(
            function_name=looked_at.windows.subject.function,
            metric_name=name,
            comparison=comparison,
            rule=own.allowed_for(
                name,
                RULES.get(name, DEFAULT_RULE).from_where(minimum_effects.get(name)),
                comparison,
            ),
        )
        for name, comparison in comparisons.items()
    ]


class _OwnVariation:
    """How much the pieces of a baseline differ from each other, metric by metric."""

    def __init__(self, whole: Seen | None, pieces: Pieces) -> None:
        self._whole, self._pieces = whole, pieces
        self._seen = [Seen(sums, {}) for sums in pieces.sums]

    def allowed_for(self, name: str, rule: MetricRule, comparison: Comparison) -> MetricRule:
        """The rule of a metric that was compared, with its minimum raised if need be."""
        few = len(self._seen) < own_variation.LEAST_PIECES
        if self._whole is None or few or comparison.reason is not None:
            return rule
        # The shares of a handful differ by chance alone.
        least = max(rule.minimum_values, DEFAULT_RULE.minimum_values)
        distances = self._distances(name, self._whole, least)
        return rule if distances is None else own_variation.allowed_for(rule, distances)

    def _distances(self, name: str, whole: Seen, least: int) -> Floats | None:
        if name in _METRICS:
            metric = Metric(name)
            counts = whole.histograms[metric].counts
            return own_variation.of_values(self._pieces.counts[metric], counts, least)
        if name in SHARES:
            count = SHARES[Share(name)]
            table = np.array([count(one) for one in self._seen], dtype=np.int64)
            return own_variation.of_values(table, np.array(count(whole)), least)
        if name in CATEGORIES:
            names = CATEGORIES[Category(name)]
            in_all = names(whole)
            rows = [names(one) for one in self._seen]
            table = np.array([[row.get(one, 0) for one in in_all] for row in rows], dtype=np.int64)
            held = np.array(list(in_all.values()), dtype=np.int64)
            return own_variation.of_categories(table, held, least)
        if name in RELATIONS:
            binned = RELATIONS[Relation(name)]
            return own_variation.of_outcomes(
                binned.counts_of_pieces(whole, self._pieces), binned.counts(whole), least
            )
        # Request volume knows its seasons by itself.
        return None


_METRICS: Final = frozenset(Metric)


def compared_distributions(
    looked_at: Sequence[LookedAt], names: Collection[str]
) -> list[dict[str, Comparison]]:
    """The metrics among `names` that are distributions, compared for each of `looked_at`.

    Metric by metric, as the bins of one metric are alike in all of them.
    """
    found: list[dict[str, Comparison]] = [{} for _ in looked_at]
    for metric in Metric:
        if metric in names:
            pairs = [
                (_histogram(metric, one.baseline), _histogram(metric, one.current))
                for one in looked_at
            ]
            for of_subject, comparison in zip(found, compare_all(pairs), strict=True):
                of_subject[metric.value] = comparison
    return found


def untrusted(comparison: Comparison, reason: str) -> Comparison:
    """The same without its results: windows that for this reason cannot be compared."""
    tests = tuple(
        replace(test, statistic=None, p_value=None, effect_size=None, reason=reason)
        for test in comparison.tests
    )
    return replace(comparison, tests=tests, effects={}, reason=reason, problem=reason)


def _histogram(name: Metric | OfOutcome, seen: Seen | None) -> Histogram:
    return Histogram.empty() if seen is None else seen.histograms[name]


def _successes(sums: Sums) -> tuple[int, int]:
    return sums.tasks - sums.successes, sums.successes


def _errors(sums: Sums) -> tuple[int, int]:
    errors = sums.action_errors + sums.llm_errors
    return sums.actions + sums.llm_calls - errors, errors


def _share(count: Callable[[Sums], tuple[int, int]]) -> Callable[[Seen | None], tuple[int, int]]:
    return lambda seen: (0, 0) if seen is None else count(seen.sums)


SHARES: Final = {Share.SUCCESS: _share(_successes), Share.ERROR_RATE: _share(_errors)}
"How many there were without, and with."


def _error_types(seen: Seen | None) -> Mapping[str, int]:
    return {} if seen is None else seen.sums.errors_by_type


def _named(kind: str) -> Callable[[Seen | None], Mapping[str, int]]:
    def names(seen: Seen | None) -> Mapping[str, int]:
        found = {} if seen is None else seen.sums.names
        return {
            name.removeprefix(kind): number
            for name, number in found.items()
            if name.startswith(kind)
        }

    return names


CATEGORIES: Final[Mapping[Category, Callable[[Seen | None], Mapping[str, int]]]] = {
    Category.ERROR_TYPES: _error_types,
    Category.ACTIONS: _named("action."),
    Category.LLM_MODELS: _named("llm_call."),
}
"How many there were of each."


@dataclass(frozen=True)
class Binned:
    """How an outcome is counted by bins of its input, from histograms.

    `edges` are the bins' lowest values, rising, in the unit of the histograms; what is at least the
    last of them is one bin.
    """

    having: OfOutcome
    without: OfOutcome
    edges: tuple[int, ...]

    def counts(self, seen: Seen | None) -> tuple[Counts, Counts]:
        """(without, with) the outcome, by bin."""
        return self._by_bin(_histogram(self.without, seen)), self._by_bin(
            _histogram(self.having, seen)
        )

    def means(self, seen: Seen | None) -> Floats:
        """The mean input of each bin, in the unit of the histograms; NaN of an empty one."""
        sums: Floats = np.zeros(len(self.edges))
        for name in (self.having, self.without):
            held = _histogram(name, seen)
            values = representatives(held.bins)
            where = np.searchsorted(self.edges, values, side="right") - 1
            sums += np.bincount(where, weights=values * held.counts, minlength=len(self.edges))
        counted = np.add(*self.counts(seen)).astype(np.float64)
        return np.divide(sums, counted, out=np.full_like(sums, np.nan), where=counted > 0)

    def counts_of_pieces(self, seen: Seen, pieces: Pieces) -> tuple[Counts, Counts]:
        """The same of k pieces of what was seen: (k, bins) each."""
        without, having = (
            self._rows_by_bin(seen.histograms[name], pieces.counts[name])
            for name in (self.without, self.having)
        )
        return without, having

    def _rows_by_bin(self, histogram: Histogram, rows: Counts) -> Counts:
        where = np.searchsorted(self.edges, representatives(histogram.bins), side="right") - 1
        in_bin = np.zeros((len(self.edges), where.size))
        in_bin[where, np.arange(where.size)] = 1
        return np.asarray(np.rint(rows @ in_bin.T), dtype=np.int64)

    def _by_bin(self, histogram: Histogram) -> Counts:
        where = np.searchsorted(self.edges, representatives(histogram.bins), side="right") - 1
        counted = np.bincount(where, weights=histogram.counts, minlength=len(self.edges))
        return np.asarray(np.rint(counted), dtype=np.int64)


RELATIONS: Final[Mapping[Relation, Binned]] = {
    Relation.SUCCESS_GIVEN_CONFIDENCE: Binned(
        OfOutcome.CONFIDENCE_OF_SUCCESSES,
        OfOutcome.CONFIDENCE_OF_FAILURES,
        # Agents say 0.8 and 0.9: no edge is there, where a histogram's bin would straddle it.
        (0, *(SHARE_UNIT * n // 100 for n in range(8, 100, 10))),
    ),
    Relation.ERROR_GIVEN_QUERY_LENGTH: Binned(
        OfOutcome.QUERY_LENGTH_OF_ERRORS,
        OfOutcome.QUERY_LENGTH_OF_SUCCESSES,
        (0, *(2**n for n in range(5, 18))),
    ),
}


def outcomes(relation: Relation, old: Seen | None, new: Seen | None) -> BinnedOutcomes:
    """The outcome by bins of its input, in both windows."""
    binned = RELATIONS[relation]
    return BinnedOutcomes.from_counts(binned.counts(old), binned.counts(new))


def bin_names(relation: Relation) -> tuple[str, ...]:
    """`0.28 to 0.38` of a confidence, `64 to 127 characters` of a length."""
    edges = RELATIONS[relation].edges
    if relation is Relation.SUCCESS_GIVEN_CONFIDENCE:
        ends = (*(edge / SHARE_UNIT for edge in edges), 1.0)
        return tuple(f"{low:g} to {high:g}" for low, high in pairwise(ends))
    return tuple(
        f"{low} to {high - 1} characters" if high < LARGEST_VALUE else f"{low} characters and more"
        for low, high in pairwise((*edges, LARGEST_VALUE))
    )
