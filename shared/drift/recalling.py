"""What sweeps have found together with what both windows held, for people to look at.

Sweeps keep figures and no distributions: those are read again from the rollups, which stay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.drift.concept import compare_outcomes
from shared.drift.effects import Effect, magnitude
from shared.drift.hourly_requests import request_volumes
from shared.drift.monitored import CATEGORIES, RULES, SHARES, bin_names, outcomes
from shared.drift.own_variation import LEAST_PIECES
from shared.drift.reading import StoredFinding
from shared.drift.several_windows import SeveralWindows, anderson_darling_several
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
from shared.drift.windows import piece_length
from shared.jobs.contracts import WindowOf
from shared.telemetry.features.built_in import BY_NAME
from shared.telemetry.histograms import Histogram
from shared.telemetry.metrics import Category, Metric, OfOutcome, Relation, Share, Volume
from shared.telemetry.reading import (
    DAY,
    Pieces,
    Seen,
    Window,
    by_function_and_model,
    in_pieces,
)
from shared.telemetry.rollups import SHARE_UNIT

HISTORY: Final = timedelta(days=7)
"Of earlier sweeps that are shown beside the newest."

_SHARES_OF_ONE: Final = (Metric.CONFIDENCE, Metric.QUALITY)
"Counted in ten-thousandths."


def recalled(
    session: Session, findings: Sequence[StoredFinding], *, with_history: bool
) -> tuple[FunctionDrift, ...]:
    """The findings by function, each with what its windows held.

    Earlier sweeps of a metric are read where it drifts or is about to, and of all `with_history`,
    which also says whether the days of a baseline hold one distribution.
    """
    functions: dict[str, tuple[list[ShownMetric], list[ShownConcept]]] = {}
    held = _Held(session, findings)
    pasts = _pasts(
        session,
        [
            finding
            for finding in findings
            if with_history or finding.state in (DriftState.DRIFT, DriftState.WARNING)
        ],
    )
    for finding in findings:
        metrics, concepts = functions.setdefault(finding.function, ([], []))
        past = pasts.get(_of(finding), ())
        days = held.days(finding) if with_history else None
        if finding.metric in list(Relation):
            concepts.append(_concept(finding, held))
        else:
            metrics.append(replace(_metric(finding, held, past), days=days))
    return tuple(
        FunctionDrift(function, metrics, concepts)
        for function, (metrics, concepts) in functions.items()
    )


class _Held:
    """What was seen in windows, each read once, of those that the findings are of."""

    def __init__(self, session: Session, findings: Sequence[StoredFinding]) -> None:
        everything = (*Metric, *OfOutcome)
        wanted: defaultdict[tuple[datetime, datetime], set[tuple[str, str]]] = defaultdict(set)
        for finding in findings:
            for window in (finding.baseline, finding.current):
                wanted[window.start, window.end].add(_seen_as(window, finding))

        @cache
        def seen(start: datetime, end: datetime) -> Mapping[tuple[str, str], Seen]:
            only = sorted(wanted[start, end])
            return by_function_and_model(session, Window(start, end), everything, only)

        @cache
        def requests(window: WindowOf) -> Mapping[tuple[str, str], ShownVolume]:
            found = request_volumes(session, window)
            return {
                (subject.function, subject.model): ShownVolume(
                    one.observed, one.expected, one.low, one.high, one.weeks
                )
                for subject, one in found.items()
            }

        @cache
        def days(
            start: datetime, end: datetime, metric: Metric
        ) -> Mapping[tuple[str, str], tuple[Seen, Pieces]]:
            only = sorted(wanted[start, end])
            return in_pieces(session, Window(start, end), (metric,), DAY, only)

        self._seen, self._requests, self._days = seen, requests, days

    def seen(self, window: WindowOf, finding: StoredFinding) -> Seen | None:
        return self._seen(window.start, window.end).get(_seen_as(window, finding))

    def days(self, finding: StoredFinding) -> SeveralWindows | None:
        """Whether the days of the baseline hold one distribution; None of what is none."""
        if finding.metric not in list(Metric):
            return None
        metric, window = Metric(finding.metric), finding.baseline
        if piece_length(window, finding.current) != DAY:
            return None
        found = self._days(window.start, window.end, metric).get(_seen_as(window, finding))
        if found is None:
            return None
        counts = found[1].counts[metric]
        held = counts[counts.sum(axis=1) > 0]
        return anderson_darling_several(held) if held.shape[0] >= LEAST_PIECES else None

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


def _seen_as(window: WindowOf, finding: StoredFinding) -> tuple[str, str]:
    """The function and model whose values a window of the finding holds."""
    return window.function or finding.function, window.model or finding.model


def _of(finding: StoredFinding) -> tuple[str, str, str]:
    return finding.function, finding.model, finding.metric


def _pasts(
    session: Session, findings: Sequence[StoredFinding]
) -> Mapping[tuple[str, str, str], tuple[PastSweep, ...]]:
    """What sweeps of the days before said of the metrics of `findings`, oldest first."""
    if not findings:
        return {}
    row = DriftDetection
    made = {_of(finding): finding.created_at for finding in findings}
    rows = session.execute(
        sa.select(
            row.function,
            row.model,
            row.metric,
            row.created_at,
            row.verdict,
            row.effect_name,
            row.effect_size,
        )
        .where(
            sa.tuple_(row.function, row.model, row.metric).in_(sorted(made)),
            row.created_at >= min(made.values()) - HISTORY,
            row.created_at <= max(made.values()),
            # The one effect that decides has a minimum.
            row.minimum_effect.is_not(None),
        )
        .order_by(row.created_at)
    )
    found: defaultdict[tuple[str, str, str], list[PastSweep]] = defaultdict(list)
    for function, model, metric, at, state, effect, size in rows:
        of = (function, model, metric)
        if made[of] - HISTORY <= at <= made[of]:
            extent = None if effect is None or size is None else magnitude(Effect(effect), size)
            found[of].append(PastSweep(at.astimezone(UTC), DriftState(state), extent))
    return {of: tuple(past) for of, past in found.items()}


def _period(window: WindowOf) -> Period:
    words = [f"function {window.function}"] if window.function else []
    if window.model:
        words.append(f"model {window.model}")
    return Period(window.start.astimezone(UTC), window.end.astimezone(UTC), ", ".join(words))
