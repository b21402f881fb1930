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

from shared.drift.concept import CalibrationError, calibration_error, compare_outcomes
from shared.drift.effects import Effect, magnitude
from shared.drift.features import NO_SUBJECT, shape_of_feature
from shared.drift.hourly_requests import RequestVolume, request_volumes
from shared.drift.level_changes import SAME_CHANGE, Course, courses, level_said
from shared.drift.monitored import RELATIONS, RULES, bin_names, outcomes
from shared.drift.own_variation import LEAST_PIECES
from shared.drift.query_words import texts_of, vocabularies
from shared.drift.reading import StoredFinding
from shared.drift.sequential import ChangeReport
from shared.drift.several_windows import SeveralWindows, anderson_darling_several
from shared.drift.shapes import shape_of, shape_of_volume
from shared.drift.showing import (
    Categories,
    Distribution,
    FunctionDrift,
    NewWords,
    OutcomeBin,
    PastSweep,
    Period,
    Shape,
    ShownChange,
    ShownConcept,
    ShownMetric,
    Tally,
    VolumeHour,
    WordTally,
)
from shared.drift.showing import (
    Volume as ShownVolume,
)
from shared.drift.statistics import TestResult
from shared.drift.tables import DriftDetection
from shared.drift.verdicts import DEFAULT_RULE, DriftState, MetricVerdict
from shared.drift.vocabulary import Vocabulary, compare_vocabulary
from shared.drift.volume import MOST_WEEKS, expected_hours
from shared.drift.windows import Subject, piece_length
from shared.hours import next_hour
from shared.jobs.contracts import WindowOf
from shared.telemetry.features.registering import features
from shared.telemetry.metrics import (
    SHARE_UNIT,
    Metric,
    OfOutcome,
    Relation,
    Volume,
    Words,
)
from shared.telemetry.pieces import Pieces, in_pieces
from shared.telemetry.reading import DAY, Seen, Window, by_function_and_model

HISTORY: Final = timedelta(days=7)
"Of earlier sweeps that are shown beside the newest."

CHANGES: Final = timedelta(days=28)
"Within which changes of level are looked for."


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


def shown_changes(
    session: Session, findings: Sequence[StoredFinding], now: datetime
) -> tuple[ShownChange, ...]:
    """The newest change of level of what drifts or is about to, by each detector.

    By the one that saw it first where both place it within a few hours. Raises
    `DetectorUnavailableError` without `river`.
    """
    moved: dict[tuple[str, str], set[str]] = {}
    for finding in findings:
        if finding.state in (DriftState.DRIFT, DriftState.WARNING):
            moved.setdefault((finding.function, finding.model), set()).add(finding.metric)
    end = next_hour(now)
    found = []
    for (function, model), metrics in moved.items():
        for course in courses(session, Window(end - CHANGES, end), function, model, metrics):
            newest = [_change(course, report) for report in course.reports if report.changes]
            newest.sort(key=lambda change: change.detected_at)
            found += [
                change
                for n, change in enumerate(newest)
                if n == 0 or abs(change.changed_at - newest[0].changed_at) > SAME_CHANGE
            ]
    return tuple(found)


def _change(course: Course, report: ChangeReport) -> ShownChange:
    newest = report.changes[-1]

    return ShownChange(
        course.subject.function,
        course.subject.model,
        course.metric,
        report.detector.value.replace("_", "-"),
        newest.changed_at,
        newest.detected_at,
        level_said(course.metric, newest.before),
        level_said(course.metric, newest.after),
    )


class _Held:
    """What was seen in windows, each read once, of those that the findings are of."""

    def __init__(self, session: Session, findings: Sequence[StoredFinding]) -> None:
        everything = (*Metric, *OfOutcome)
        wanted: defaultdict[tuple[datetime, datetime], set[tuple[str, str]]] = defaultdict(set)
        for finding in findings:
            if _is_own(finding):
                continue
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
                (subject.function, subject.model): _volume(one) for subject, one in found.items()
            }

        @cache
        def days(
            start: datetime, end: datetime, metric: Metric
        ) -> Mapping[tuple[str, str], tuple[Seen, Pieces]]:
            only = sorted(wanted[start, end])
            return in_pieces(session, Window(start, end), (metric,), DAY, only)

        self._session = session
        self._own = (
            {feature.name: feature for feature in features(session)}
            if any(map(_is_own, findings))
            else {}
        )
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

    def vocabulary(self, window: WindowOf, finding: StoredFinding) -> Vocabulary:
        """Read each time: words take more room than all else that is held."""
        key = _seen_as(window, finding)
        texts = {key: texts_of(self.seen(window, finding))}
        return vocabularies(self._session, Window(window.start, window.end), texts)[key]

    def own(self, finding: StoredFinding) -> Distribution | Categories | None:
        """A tenant's own feature, by its newest version; None where neither window has values."""
        feature = self._own.get(finding.metric)
        if feature is None:
            return None
        shape = shape_of_feature(self._session, feature, finding.baseline, finding.current)
        return shape if shape.n_baseline or shape.n_current else None

    def requests(self, finding: StoredFinding) -> ShownVolume | None:
        return self._requests(finding.current).get((finding.function, finding.model))


def _volume(requests: RequestVolume) -> ShownVolume:
    found = requests.compared
    hours = () if found.expected is None else expected_hours(requests.series, requests.hours)
    return shape_of_volume(found, tuple(VolumeHour(*hour) for hour in hours))


def _metric(finding: StoredFinding, held: _Held, history: tuple[PastSweep, ...]) -> ShownMetric:
    shape, current = _shape(finding, held), _period(finding.current)
    baseline = _period(finding.baseline)
    if finding.metric == Volume.REQUESTS:
        baseline = _same_hours(current, shape.weeks if isinstance(shape, ShownVolume) else 0)
    return ShownMetric(
        model=finding.model,
        verdict=_verdict(finding),
        baseline=baseline,
        current=current,
        shape=shape,
        history=history,
        change=finding.change,
    )


def _shape(finding: StoredFinding, held: _Held) -> Shape | None:
    name = finding.metric
    if _is_own(finding):
        return held.own(finding)
    if name == Volume.REQUESTS:
        return held.requests(finding)
    if name == Words.QUERY_VOCABULARY:
        return _new_words(finding, held)
    return shape_of(name, held.seen(finding.baseline, finding), held.seen(finding.current, finding))


def _new_words(finding: StoredFinding, held: _Held) -> NewWords:
    old, new = (held.vocabulary(one, finding) for one in (finding.baseline, finding.current))
    found = compare_vocabulary(old, new)
    return NewWords(_tally(old), _tally(new), found.unseen_rate, found.expected_rate)


def _tally(words: Vocabulary) -> WordTally:
    return WordTally(words.texts, words.words, words.hashes.size)


def _concept(finding: StoredFinding, held: _Held) -> ShownConcept:
    relation = Relation(finding.metric)
    windows = (held.seen(finding.baseline, finding), held.seen(finding.current, finding))
    counted = outcomes(relation, *windows)
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
        calibration=(_calibration(windows[0]), _calibration(windows[1]))
        if relation is Relation.SUCCESS_GIVEN_CONFIDENCE
        else None,
    )


def _calibration(seen: Seen | None) -> CalibrationError:
    """How far agents' confidence is from how often they succeed, over the bins that are shown."""
    binned = RELATIONS[Relation.SUCCESS_GIVEN_CONFIDENCE]
    without, having = binned.counts(seen)
    held = without + having > 0
    confidence = binned.means(seen)[held] / SHARE_UNIT
    return calibration_error(without[held], having[held], confidence.clip(0, 1))


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


def _is_own(finding: StoredFinding) -> bool:
    """Whether it is of a tenant's own feature, whose values are not in the rollups."""
    return Subject(finding.function, finding.model) == NO_SUBJECT


def _seen_as(window: WindowOf, finding: StoredFinding) -> tuple[str, str]:
    """The function and model whose values a window of the finding holds."""
    return window.function or finding.function, window.model or finding.model


def _of(finding: StoredFinding) -> tuple[str, str, str]:
    return finding.function, finding.model, finding.metric


def _pasts(
    session: Session, findings: Sequence[StoredFinding]
) -> Mapping[tuple[str, str, str], tuple[PastSweep, ...]]:
    """What sweeps of the days before said of the metrics of `findings`, oldest first.

    Of those whose window was as long: the effect of six hours is no earlier one of a day.
    """
    if not findings:
        return {}
    row = DriftDetection
    made = {_of(finding): finding.created_at for finding in findings}
    lengths = {_of(finding): finding.current.end - finding.current.start for finding in findings}
    rows = session.execute(
        sa.select(
            row.function,
            row.model,
            row.metric,
            row.created_at,
            row.verdict,
            row.effect_name,
            row.effect_size,
            row.current["start"].astext,
            row.current["end"].astext,
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
    for function, model, metric, at, state, effect, size, start, end in rows:
        of = (function, model, metric)
        length = datetime.fromisoformat(end) - datetime.fromisoformat(start)
        if length == lengths[of] and made[of] - HISTORY <= at <= made[of]:
            extent = None if effect is None or size is None else magnitude(Effect(effect), size)
            found[of].append(PastSweep(at.astimezone(UTC), DriftState(state), extent))
    return {of: tuple(past) for of, past in found.items()}


def _same_hours(current: Period, weeks: int) -> Period:
    """What request volume is compared with, whatever other metrics are."""
    back = timedelta(weeks=weeks or MOST_WEEKS)
    words = f"the same hours of {weeks} earlier weeks" if weeks else "the same hours of each week"
    return Period(current.start - back, current.end - timedelta(weeks=1), words)


def _period(window: WindowOf) -> Period:
    words = [f"function {window.function}"] if window.function else []
    if window.model:
        words.append(f"model {window.model}")
    return Period(window.start.astimezone(UTC), window.end.astimezone(UTC), ", ".join(words))
