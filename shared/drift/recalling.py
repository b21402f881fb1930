"""What sweeps have found together with what both windows held, for people to look at.

Sweeps keep figures and no distributions: those are read again from the rollups, which stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.drift.concept import compare_outcomes
from shared.drift.effects import Effect, magnitude
from shared.drift.hourly_requests import request_volumes
from shared.drift.monitored import CATEGORIES, RULES, SHARES, bin_names, outcomes
from shared.drift.reading import StoredFinding
from shared.drift.showing import (
    Categories,
    Distribution,
    FunctionDrift,
    OutcomeBin,
    PastSweep,
    Period,
    Proportion,
    Shape,
    ShownConcept,
    ShownMetric,
    Tally,
)
from shared.drift.showing import (
    Category as ShownCategory,
)
from shared.drift.showing import (
    Volume as ShownVolume,
)
from shared.drift.statistics import TestResult
from shared.drift.tables import DriftDetection
from shared.drift.verdicts import DEFAULT_RULE, DriftState, MetricVerdict
from shared.jobs.contracts import WindowOf
from shared.telemetry.features.built_in import BY_NAME
from shared.telemetry.histograms import Histogram
from shared.telemetry.metrics import Category, Metric, OfOutcome, Relation, Share, Volume
from shared.telemetry.reading import Seen, Window, by_function_and_model
from shared.telemetry.rollups import SHARE_UNIT

HISTORY: Final = timedelta(days=7)
"Of earlier sweeps that are shown beside the newest."

_SHARES_OF_ONE: Final = (Metric.CONFIDENCE, Metric.QUALITY)
"Counted in ten-thousandths."


def recalled(
    session: Session, findings: Sequence[StoredFinding], *, with_history: bool
) -> tuple[FunctionDrift, ...]:
    """The findings by function, each with what its windows held.

    Earlier sweeps of a metric are read where it drifts or is about to, and of all `with_history`.
    """
    functions: dict[str, tuple[list[ShownMetric], list[ShownConcept]]] = {}
    held = _Held(session)
    for finding in findings:
        metrics, concepts = functions.setdefault(finding.function, ([], []))
        moved = finding.state in (DriftState.DRIFT, DriftState.WARNING)
        past = _past(session, finding) if moved or with_history else ()
        if finding.metric in list(Relation):
            concepts.append(_concept(finding, held))
        else:
            metrics.append(_metric(finding, held, past))
    return tuple(
        FunctionDrift(function, metrics, concepts)
        for function, (metrics, concepts) in functions.items()
    )


class _Held:
    """What was seen in windows, each read once."""

    def __init__(self, session: Session) -> None:
        everything = (*Metric, *OfOutcome)

        @cache
        def seen(start: datetime, end: datetime) -> Mapping[tuple[str, str], Seen]:
            return by_function_and_model(session, Window(start, end), everything)

        @cache
        def requests(window: WindowOf) -> Mapping[tuple[str, str], ShownVolume]:
            found = request_volumes(session, window)
            return {
                (subject.function, subject.model): ShownVolume(
                    one.observed, one.expected, one.low, one.high, one.weeks
                )
                for subject, one in found.items()
            }

        self._seen, self._requests = seen, requests

    def seen(self, window: WindowOf, finding: StoredFinding) -> Seen | None:
        subject = window.function or finding.function, window.model or finding.model
        return self._seen(window.start, window.end).get(subject)

    def requests(self, finding: StoredFinding) -> ShownVolume | None:
        return self._requests(finding.current).get((finding.function, finding.model))


def _metric(finding: StoredFinding, held: _Held, history: tuple[PastSweep, ...]) -> ShownMetric:
    return ShownMetric(
        model=finding.model,
        verdict=_verdict(finding),
        baseline=_period(finding.baseline),
        current=_period(finding.current),
        shape=_shape(finding, held),
        history=history,
    )


def _shape(finding: StoredFinding, held: _Held) -> Shape | None:
    name = finding.metric
    if name == Volume.REQUESTS:
        return held.requests(finding)
    old, new = held.seen(finding.baseline, finding), held.seen(finding.current, finding)
    if name in list(Metric):
        metric = Metric(name)
        share = metric in _SHARES_OF_ONE
        return Distribution.of_histograms(
            Histogram.empty() if old is None else old.histograms[metric],
            Histogram.empty() if new is None else new.histograms[metric],
            "" if share else BY_NAME[name].unit,
            scale=1 / SHARE_UNIT if share else 1.0,
            largest=1.0 if share else float("inf"),
        )
    if name in list(Share):
        count = SHARES[Share(name)]
        return Proportion(*(Tally(had, without + had) for without, had in (count(old), count(new))))
    if name in list(Category):
        names = CATEGORIES[Category(name)]
        before, after = names(old), names(new)
        return Categories(
            tuple(
                ShownCategory(one, before.get(one, 0), after.get(one, 0))
                for one in sorted(before.keys() | after.keys())
            )
        )
    # The values of a tenant's own feature are not in the rollups.
    return None


def _concept(finding: StoredFinding, held: _Held) -> ShownConcept:
    relation = Relation(finding.metric)
    counted = outcomes(
        relation, held.seen(finding.baseline, finding), held.seen(finding.current, finding)
    )
    found = compare_outcomes(counted)
    bins = zip(
        bin_names(relation),
        counted.baseline_with.tolist(),
        counted.baseline.tolist(),
        counted.current_with.tolist(),
        counted.current.tolist(),
        strict=True,
    )
    return ShownConcept(
        model=finding.model,
        relation=relation.value.replace("_", " "),
        verdict=_verdict(finding),
        bins=tuple(
            OutcomeBin(name, Tally(old, n_old), Tally(new, n_new))
            for name, old, n_old, new, n_new in bins
            if n_old or n_new
        ),
        baseline=_period(finding.baseline),
        current=_period(finding.current),
        difference=found.difference,
        explained_by_inputs=found.explained_by_inputs,
    )


def _verdict(finding: StoredFinding) -> MetricVerdict:
    rule = RULES.get(finding.metric, DEFAULT_RULE)
    effect = rule.effect if finding.effect_name is None else Effect(finding.effect_name)
    judged = finding.state not in (DriftState.NO_DATA, DriftState.INSUFFICIENT)
    sizes = (finding.n_baseline, finding.n_current)
    return MetricVerdict(
        function_name=finding.function,
        metric_name=finding.metric,
        state=finding.state,
        tests=tuple(
            TestResult(
                test.name,
                test.statistic,
                test.p_value,
                effect if test.effect_name is None else Effect(test.effect_name),
                test.effect_size,
                *sizes,
            )
            for test in finding.tests
        ),
        adjusted_p_values=tuple(test.p_adjusted for test in finding.tests),
        p_value=finding.p_adjusted,
        threshold=finding.threshold,
        effect_name=effect,
        effect_size=finding.effect_size,
        minimum_effect=finding.minimum_effect or rule.minimum_effect,
        n_baseline=finding.n_baseline,
        n_current=finding.n_current,
        reason=None if judged else finding.reason,
        usual_effect=finding.usual_effect,
    )


def _past(session: Session, finding: StoredFinding) -> tuple[PastSweep, ...]:
    """What sweeps of the last days said of the metric, oldest first."""
    row = DriftDetection
    rows = session.execute(
        sa.select(row.created_at, row.verdict, row.effect_name, row.effect_size)
        .where(
            row.function == finding.function,
            row.model == finding.model,
            row.metric == finding.metric,
            row.created_at >= finding.created_at - HISTORY,
            row.created_at <= finding.created_at,
            # The one effect that decides has a minimum.
            row.minimum_effect.is_not(None),
        )
        .order_by(row.created_at)
    )
    return tuple(
        PastSweep(
            at.astimezone(UTC),
            DriftState(state),
            None if effect is None or size is None else magnitude(Effect(effect), size),
        )
        for at, state, effect, size in rows
    )


def _period(window: WindowOf) -> Period:
    words = [f"function {window.function}"] if window.function else []
    if window.model:
        words.append(f"model {window.model}")
    return Period(window.start.astimezone(UTC), window.end.astimezone(UTC), ", ".join(words))
