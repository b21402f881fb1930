"""The two windows of every watched metric of every model, compared, from the rollups alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.orm import Session

from shared.drift.comparison import Comparison, compare, compare_shares
from shared.drift.verdicts import DEFAULT_RULE, ComparedMetric, MetricRule
from shared.drift.window_pair import WindowPair
from shared.jobs.contracts import DetectDrift, WindowOf
from shared.registry.models import key, resolve
from shared.telemetry.features.watching import watched_features
from shared.telemetry.histograms import Histogram, aligned, representatives
from shared.telemetry.metrics import Metric, Share
from shared.telemetry.reading import Sums, Window, histograms, sums

_RULES: Final[Mapping[str, MetricRule]] = {
    # Errors are rare: five in a hundred more is what people are woken for.
    Share.ERROR_RATE: MetricRule(minimum_effect=0.05),
}


@dataclass(frozen=True)
class WatchedMetric:
    model: str
    compared: ComparedMetric


def read_metrics(session: Session, job: DetectDrift) -> list[WatchedMetric]:
    """Every watched feature of every model that has rows in either window, or of the job's models.

    Raises `RegistryError` for a model of the job that has no rows and is not registered.
    """
    mistrust = _mistrust(job.baseline, job.current)
    before, after = _sums(session, job.baseline), _sums(session, job.current)
    models = _models(session, job.models, before.keys() | after.keys())
    names = [feature.source.name for feature in watched_features(session)]
    by_metric = {
        metric: (
            _histograms(session, job.baseline, metric),
            _histograms(session, job.current, metric),
        )
        for metric in Metric
        if metric in names
    }
    watched = []
    for model in models:
        comparisons = {
            metric.value: _compared(old.get(model), new.get(model))
            for metric, (old, new) in by_metric.items()
        }
        old_sums, new_sums = before.get(model), after.get(model)
        comparisons |= {
            share.value: compare_shares(count(old_sums), count(new_sums))
            for share, count in _SHARES.items()
            if share in names
        }
        watched += [
            WatchedMetric(
                model,
                ComparedMetric(
                    function_name=job.current.function or "",
                    metric_name=metric,
                    comparison=_untrusted(comparison, mistrust) if mistrust else comparison,
                    rule=_RULES.get(metric, DEFAULT_RULE),
                ),
            )
            for metric, comparison in comparisons.items()
        ]
    return watched


def _compared(baseline: Histogram | None, current: Histogram | None) -> Comparison:
    bins, old, new = aligned(baseline or Histogram.empty(), current or Histogram.empty())
    return compare(WindowPair.from_counts(old, new, representatives(bins)))


def _untrusted(comparison: Comparison, reason: str) -> Comparison:
    tests = tuple(
        replace(test, statistic=None, p_value=None, effect_size=None, reason=reason)
        for test in comparison.tests
    )
    return replace(comparison, tests=tests, effects={}, reason=comparison.reason or reason)


def _mistrust(baseline: WindowOf, current: WindowOf) -> str | None:
    """Why the windows, of the same function or of all, say nothing of drift; None if they do.

    What is in both makes them alike, and what came later was never the usual.
    """
    if (
        baseline.function is not None
        and current.function is not None
        and baseline.function != current.function
    ):
        return None
    if baseline.start >= current.end:
        return "the baseline is later than the current window"
    return "the windows overlap" if current.start < baseline.end else None


def _models(session: Session, wanted: Sequence[str], present: Iterable[str]) -> list[str]:
    if not wanted:
        return sorted(present)
    known = set(present)
    return list(
        dict.fromkeys(name if name in known else key(resolve(session, name)) for name in wanted)
    )


def _sums(session: Session, window: WindowOf) -> dict[str, Sums]:
    return sums(session, Window(window.start, window.end), function=window.function)


def _histograms(session: Session, window: WindowOf, metric: Metric) -> dict[str, Histogram]:
    span = Window(window.start, window.end)
    return histograms(session, span, metric, function=window.function)


def _successes(found: Sums | None) -> tuple[int, int]:
    return (found.tasks - found.successes, found.successes) if found else (0, 0)


def _errors(found: Sums | None) -> tuple[int, int]:
    if found is None:
        return (0, 0)
    errors = found.action_errors + found.llm_errors
    return (found.actions + found.llm_calls - errors, errors)


_SHARES: Final[Mapping[Share, Callable[[Sums | None], tuple[int, int]]]] = {
    Share.SUCCESS: _successes,
    Share.ERROR_RATE: _errors,
}
"How many there were without, and with."
