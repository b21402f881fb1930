"""What a sweep found, asked again of another baseline than the one it was compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.orm import Session

from shared.drift.features import NO_SUBJECT, compared_features
from shared.drift.hourly_requests import NO_REQUEST, RequestVolume, request_volumes_against
from shared.drift.minimum_effects import chosen_effects
from shared.drift.monitored import compared, compared_distributions, histograms_for
from shared.drift.query_words import NO_QUERY, compare_words
from shared.drift.sweep import MetricFinding
from shared.drift.verdicts import ComparedMetric, judge
from shared.drift.windows import Windows, look_at
from shared.jobs.contracts import DetectDrift, WindowOf
from shared.telemetry.features.watching import watched_features
from shared.telemetry.metrics import Volume, Words

Against = tuple[MetricFinding, WindowOf]
"""What was found, and the baseline to compare its current window with. Request volume is compared
with the weeks before that one's end."""


def found_against(
    session: Session, asked: Sequence[Against], alpha: float
) -> tuple[MetricFinding, ...]:
    """The same metrics against other baselines, in their order, each judged by itself at `alpha`.

    Nothing is stored. A feature that is not watched any more is as it was found.
    """
    windows = [replace(found.windows, baseline=baseline) for found, baseline in asked]
    metrics: dict[Windows, list[str]] = {}
    for (found, _), each in zip(asked, windows, strict=True):
        metrics.setdefault(each, []).append(found.metric)
    of_calls = {each: names for each, names in metrics.items() if each.subject != NO_SUBJECT}
    own = {each: names for each, names in metrics.items() if each.subject == NO_SUBJECT}
    effects = chosen_effects(session)
    again = {
        (each, metric.metric_name): metric
        for each, metric in (
            *_of_calls(session, of_calls, effects),
            *_of_features(session, own, effects),
        )
    }
    judged = []
    for (found, _), each in zip(asked, windows, strict=True):
        metric = again.get((each, found.metric))
        if metric is not None:
            found = MetricFinding(each, judge([metric], alpha)[0])
        judged.append(found)
    return tuple(judged)


Compared = Iterator[tuple[Windows, ComparedMetric]]


def _of_calls(
    session: Session, asked: Mapping[Windows, Sequence[str]], effects: Mapping[str, float]
) -> Compared:
    every = {name for names in asked.values() for name in names}
    seen = look_at(session, list(asked), histograms_for(every))
    volumes = _volumes(session, [each for each, names in asked.items() if Volume.REQUESTS in names])
    for one, distributions in zip(seen, compared_distributions(seen, every), strict=True):
        names = asked[one.windows]
        words = compare_words(session, [one]) if Words.QUERY_VOCABULARY in names else {}
        of_queries = words.get(one.windows.subject, NO_QUERY).comparison
        volume = volumes.get(one.windows, NO_REQUEST).compared.comparison
        for metric in compared(one, names, volume, of_queries, effects, distributions):
            yield one.windows, metric


def _volumes(session: Session, asked: Sequence[Windows]) -> Mapping[Windows, RequestVolume]:
    """Together what has the same windows, as alerts of one sweep have."""
    alike: dict[tuple[datetime, datetime, datetime], list[Windows]] = {}
    for each in asked:
        now = each.current
        alike.setdefault((now.start, now.end, each.baseline.end), []).append(each)
    found: dict[Windows, RequestVolume] = {}
    for (start, end, before), windows in alike.items():
        of = {each.subject: each for each in windows}
        volumes = request_volumes_against(session, WindowOf(start=start, end=end), before, of)
        found |= {of[subject]: volume for subject, volume in volumes.items()}
    return found


def _of_features(
    session: Session, asked: Mapping[Windows, Sequence[str]], effects: Mapping[str, float]
) -> Compared:
    features = watched_features(session) if asked else ()
    for windows, names in asked.items():
        job = DetectDrift(baseline=windows.baseline, current=windows.current)
        wanted = [feature for feature in features if feature.name in names]
        for _, metric in compared_features(session, job, wanted, effects):
            yield windows, metric
