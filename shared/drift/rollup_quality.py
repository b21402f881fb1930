"""What rollups say of the data of each function and model, for the checks of its quality."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Self

from sqlalchemy.orm import Session

from shared.drift.baselines import BaselineKind, SetBaseline, baseline_of, baselines
from shared.drift.monitored import CATEGORIES
from shared.drift.quality import (
    LEAST_VALUES,
    ColumnCounts,
    FunctionCounts,
    QualityCheck,
    QualityFinding,
    QualityState,
    check_quality,
)
from shared.drift.quality_by_hour import confirmed, found_late
from shared.drift.windows import Subject, normal_windows
from shared.telemetry.arrivals import FaultsOfHour, faults
from shared.telemetry.histograms import Histogram
from shared.telemetry.hours_of_many import hours_of_many
from shared.telemetry.metrics import Category, Metric
from shared.telemetry.reading import (
    NOTHING_SEEN,
    Seen,
    Sums,
    Window,
    by_function_and_model,
)

OF_CALLS: Final = (
    Metric.LLM_LATENCY,
    Metric.FIRST_TOKEN,
    Metric.QUERY_LENGTH,
    Metric.QUERY_WORDS,
    Metric.CONFIDENCE,
    Metric.QUALITY,
    Metric.TOKENS,
)
"Fields of a model call; the step's latency is one of an action."

CHECKED: Final = (*OF_CALLS, Metric.STEP_LATENCY, Metric.PAGE_LOAD, Metric.DOM_NODES)

FIELDS: Final[Mapping[str, str]] = {
    "llm_call.latency_ms": Metric.LLM_LATENCY,
    "llm_call.query_measures": Metric.QUERY_WORDS,
    "action.latency_ms": Metric.STEP_LATENCY,
    "page_load.latency_ms": Metric.PAGE_LOAD,
    "action.dom_nodes": Metric.DOM_NODES,
    "page_load.dom_nodes": Metric.DOM_NODES,
    **{
        f"llm_call.{metric}": metric
        for metric in (Metric.FIRST_TOKEN, Metric.QUERY_LENGTH, Metric.CONFIDENCE, Metric.QUALITY)
    },
    **{
        f"llm_call.{name}_tokens": Metric.TOKENS
        for name in (
            "input", "cached_input", "cache_write", "cache_write_1h", "output", "reasoning",
            "total",
        )
    },
}  # fmt: skip
"In which column a field is whose value was out of range; another has one of its own name."

LONGEST_BY_HOUR: Final = timedelta(days=28)
"So much of a baseline is looked at hour by hour, its end."


@dataclass(frozen=True)
class Checked:
    """The checks of one function and model, and of which windows.

    `current` is less than the window that was asked for where part of that was accepted as normal.
    """

    current: Window
    baseline: Window
    set_by_hand: bool
    "Whether somebody said that this baseline is normal; otherwise it moves on with time."
    findings: tuple[QualityFinding, ...]


Lost = Mapping[Subject, Mapping[str, float]]
"Fields that were told to be missing and are not back yet, with the share that was usual before."


def check_functions(
    session: Session,
    current: Window,
    lost: Lost | None = None,
    function: str | None = None,
    model: str | None = None,
) -> Mapping[Subject, Checked]:
    """Each function and model of which anything came in the window, against its baseline.

    A filter that is None is none. Windows are those that a sweep compares (`normal_windows`); where
    they overlap, or the baseline is later, every check that had data is `insufficient` and says so.

    Fields that neither window has are not asked for, unless they were `lost`. A share is broken
    only if it is certain though the events of an hour hang together (`quality_by_hour`). What was
    lost while nobody looked is found as long as the baseline has a day of before. What was
    lost was certain, and is measured against what was usual then: a baseline that moves on with
    time has soon lost it as well, or is so uneven by that that nothing is certain.
    """
    own = baselines(session)
    held = _Held(session)
    came = held.seen(current).keys() | (held.faults(current) or {}).keys()
    subjects = sorted(
        subject
        for subject in (Subject(*key) for key in came)
        if function in (None, subject.function) and model in (None, subject.model)
    )
    compared = [_Compared.of(own, subject, current) for subject in subjects]
    held.expect(compared)
    looks = [_FirstLook.at(one, held, (lost or {}).get(one.subject, {})) for one in compared]
    said = {look.compared.subject: look.findings(None) for look in looks if not look.by_hour}
    for some in _parts([look for look in looks if look.by_hour]):
        hours = held.hours(some)
        said |= {(one := look.compared.subject): look.findings(hours[one]) for look in some}
    return {
        one.subject: Checked(
            one.current,
            one.baseline,
            one.set_by_hand,
            (*(_NOT_COUNTED if held.faults(one.current) is None else ()), *said[one.subject]),
        )
        for one in compared
    }


Hours = tuple[Mapping[datetime, FunctionCounts], Mapping[datetime, FunctionCounts]]
"Of the baseline and of the current window."


@dataclass(frozen=True)
class _Compared:
    """The windows of one function and model."""

    subject: Subject
    usual: Subject
    "Whose baseline it is."
    baseline: Window
    current: Window
    set_by_hand: bool
    problem: str | None

    @classmethod
    def of(cls, own: Sequence[SetBaseline], subject: Subject, current: Window) -> Self:
        windows = normal_windows(own, subject, current)
        before, now = windows.baseline, windows.current
        return cls(
            subject=subject,
            usual=Subject(subject.function, before.model or subject.model),
            baseline=Window(before.start, before.end),
            current=Window(now.start, now.end),
            set_by_hand=baseline_of(own, subject.function, subject.model).kind
            is not BaselineKind.PREVIOUS,
            problem=windows.problem,
        )

    @property
    def end_of_baseline(self) -> Window:
        """What of the baseline is looked at hour by hour."""
        first = max(self.baseline.start, self.baseline.end - LONGEST_BY_HOUR)
        return Window(first, self.baseline.end)


@dataclass(frozen=True)
class _FirstLook:
    """What the sums of both windows say, and of which columns their hours must be asked."""

    compared: _Compared
    named: frozenset[str]
    totals: tuple[FunctionCounts, FunctionCounts]
    plain: tuple[QualityFinding, ...]
    broken: frozenset[str | None]
    gone: frozenset[str]
    lost: Mapping[str, float]

    @classmethod
    def at(cls, one: _Compared, held: _Held, lost: Mapping[str, float]) -> Self:
        before, now = (one.usual, one.baseline), (one.subject, one.current)
        named = held.refused_fields(*before) | held.refused_fields(*now)
        totals = held.counts(*before, named), held.counts(*now, named)
        old, new = _held_by_either(*totals)
        plain = check_quality(old if old.events else None, new)
        broken: frozenset[str | None] = frozenset(
            finding.column for finding in plain if finding.state is QualityState.BROKEN
        )
        # Of what an alert is open it is known when it was lost, and what somebody set is normal.
        gone = frozenset() if one.set_by_hand else _gone(*totals) - lost.keys()
        return cls(one, named, totals, plain, broken, gone, lost)

    @property
    def by_hour(self) -> bool:
        return self.compared.problem is None and bool(self.broken or self.gone)

    @property
    def metrics(self) -> list[Metric]:
        """No more histograms than are asked for: hours are many."""
        return [metric for metric in CHECKED if metric.value in self.broken | self.gone]

    def findings(self, hours: Hours | None) -> tuple[QualityFinding, ...]:
        """What is said of it; `hours` are needed if it is to be asked `by_hour`."""
        findings = self.plain
        if hours is not None:
            findings = tuple(
                _or_found_late(one, hours) if one.column in self.gone else one
                for one in confirmed(findings, _held_by_either(*self.totals), hours)
            )
        for field, share in self.lost.items():
            usual = None if self.compared.set_by_hand else share
            still = _missing(field, usual, *self.totals)
            others = (one for one in findings if _of(one) != (field, QualityCheck.MISSING))
            findings = (*others, *still)
        problem = self.compared.problem
        if problem is None:
            return findings
        return tuple(_untrusted(one, problem) for one in findings)


_AT_ONCE: Final = 200
"Functions and models whose hours are held together."


def _parts(looks: Sequence[_FirstLook]) -> Iterator[Sequence[_FirstLook]]:
    for first in range(0, len(looks), _AT_ONCE):
        yield looks[first : first + _AT_ONCE]


def _gone(old: FunctionCounts, new: FunctionCounts) -> frozenset[str]:
    """The columns of which the baseline has values, and the current window none in its events."""
    return frozenset(
        name
        for name, column in new.columns.items()
        if column.missing == column.events >= LEAST_VALUES
        and (before := old.columns.get(name)) is not None
        and before.values
    )


def _or_found_late(finding: QualityFinding, hours: Hours) -> QualityFinding:
    """The finding, or that its field was lost long ago, where that is certain and this is not."""
    if finding.check is not QualityCheck.MISSING or finding.state is QualityState.BROKEN:
        return finding
    return found_late(str(finding.column), hours) or finding


def _untrusted(finding: QualityFinding, problem: str) -> QualityFinding:
    """What was counted, without what it was compared with, which means nothing."""
    if finding.state in (QualityState.NO_DATA, QualityState.INSUFFICIENT):
        return finding
    return replace(
        finding, baseline=None, allowed=None, state=QualityState.INSUFFICIENT, reason=problem
    )


def _of(finding: QualityFinding) -> tuple[str | None, QualityCheck]:
    return finding.column, finding.check


def _missing(
    field: str, usual: float | None, old: FunctionCounts, new: FunctionCounts
) -> tuple[QualityFinding, ...]:
    """How much of a field is missing, against the share that was usual, or the baseline's own."""
    before, now = (one.columns.get(field) for one in (old, new))
    if before is None or now is None:
        # One of the windows has no events at all.
        return ()
    share = before.missing or 0
    if usual is not None:
        share = round(usual * before.events)
    counts = (
        FunctionCounts(of.events, {field: ColumnCounts(column.events, missing)})
        for of, column, missing in ((old, before, share), (new, now, now.missing))
    )
    return check_quality(next(counts), next(counts))


_NOT_COUNTED: Final = tuple(
    QualityFinding(
        None, check, None, None, None, QualityState.NO_DATA, "not counted in the whole window yet"
    )
    for check in (QualityCheck.DUPLICATES, QualityCheck.LATE, QualityCheck.OUT_OF_RANGE)
)


class _Held:
    """What windows hold, each read once; of few functions and models alone where few have it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._seen: dict[Window, Mapping[tuple[str, str], Seen]] = {}
        self._faults: dict[
            Window, Mapping[tuple[str, str], Mapping[datetime, FaultsOfHour]] | None
        ] = {}
        self._wanted: defaultdict[Window, set[tuple[str, str]]] = defaultdict(set)
        self._few = 0

    def expect(self, compared: Sequence[_Compared]) -> None:
        """Say for whom windows that were not read yet will be asked."""
        # Of more than half of all, all are read, as they are for a window that nobody expects.
        self._few = max(map(len, self._seen.values()), default=0) // 2
        for one in compared:
            self._wanted[one.baseline].add(_key(one.usual))
            self._wanted[one.current].add(_key(one.subject))

    def seen(self, window: Window) -> Mapping[tuple[str, str], Seen]:
        if window not in self._seen:
            wanted = self._wanted.get(window)
            only = sorted(wanted) if wanted is not None and len(wanted) <= self._few else None
            self._seen[window] = by_function_and_model(self._session, window, CHECKED, only)
        return self._seen[window]

    def faults(
        self, window: Window
    ) -> Mapping[tuple[str, str], Mapping[datetime, FaultsOfHour]] | None:
        if window not in self._faults:
            self._faults[window] = faults(self._session, window)
        return self._faults[window]

    def refused_fields(self, subject: Subject, window: Window) -> frozenset[str]:
        """Fields with values out of range of which no rollup says how often they were there."""
        hours = (self.faults(window) or {}).get((subject.function, subject.model), {})
        return frozenset(
            field for hour in hours.values() for field in hour.out_of_range if field not in FIELDS
        )

    def counts(self, subject: Subject, window: Window, named: Collection[str]) -> FunctionCounts:
        key = subject.function, subject.model
        came = self.faults(window)
        if came is None:
            return _counted(self.seen(window).get(key), None, named)
        wrong = FaultsOfHour()
        for hour in came.get(key, {}).values():
            wrong.add(hour)
        return _counted(self.seen(window).get(key), wrong, named)

    def hours(self, looks: Sequence[_FirstLook]) -> Mapping[Subject, Hours]:
        """Of each both windows by the hour: one statement for all that have the same window."""
        together: defaultdict[Window, list[tuple[Subject, _FirstLook]]] = defaultdict(list)
        for look in looks:
            one = look.compared
            together[one.end_of_baseline].append((one.usual, look))
            together[one.current].append((one.subject, look))
        found: dict[tuple[Subject, Window], dict[datetime, FunctionCounts]] = {}
        for window, asked in together.items():
            wanted = {metric for _, look in asked for metric in look.metrics}
            metrics = [metric for metric in CHECKED if metric in wanted]
            keys = {_key(whose) for whose, _ in asked}
            seen = hours_of_many(self._session, window, metrics, keys)
            for whose, look in asked:
                counts = self._by_hour(whose, window, seen.get(_key(whose), {}), look.named)
                found[look.compared.subject, window] = counts
        return {
            one.subject: (found[one.subject, one.end_of_baseline], found[one.subject, one.current])
            for one in (look.compared for look in looks)
        }

    def _by_hour(
        self,
        subject: Subject,
        window: Window,
        seen: Mapping[datetime, Seen],
        named: Collection[str],
    ) -> dict[datetime, FunctionCounts]:
        came = self.faults(window)
        wrong = {} if came is None else came.get(_key(subject), {})
        nothing = None if came is None else FaultsOfHour()
        return {
            hour: _counted(seen.get(hour), wrong.get(hour, nothing), named)
            for hour in sorted(seen.keys() | wrong.keys())
        }


def _key(subject: Subject) -> tuple[str, str]:
    return subject.function, subject.model


def _held_by_either(
    old: FunctionCounts, new: FunctionCounts
) -> tuple[FunctionCounts, FunctionCounts]:
    """Without the columns that nobody ever reports, which are none."""
    held = {name for one in (old, new) for name, column in one.columns.items() if column.values}
    columns = ({name: one.columns[name] for name in sorted(held)} for one in (old, new))
    return replace(old, columns=next(columns)), replace(new, columns=next(columns))


def _counted(
    seen: Seen | None, wrong: FaultsOfHour | None, named: Collection[str]
) -> FunctionCounts:
    """`wrong` is None where faults were not counted; `named` are fields without a histogram."""
    seen = seen or NOTHING_SEEN
    refused: Counter[str] | None = None
    if wrong is not None:
        refused = Counter()
        for field, n in wrong.out_of_range.items():
            refused[FIELDS.get(field, field)] += n
    columns = _columns(seen, refused)
    for name in named:
        # Of all events of their kind.
        n = 0 if refused is None else refused[name]
        sent = _of_kind(seen.sums, name.partition(".")[0]) + n
        columns[name] = ColumnCounts(sent, None, out_of_range=None if refused is None else n)
    events = _events(seen.sums)
    if wrong is None:
        return FunctionCounts(events, columns)
    # Ends of tasks that say nothing of the agent are events, and in no sum.
    came = max(events + wrong.late_from_before, wrong.late)
    return FunctionCounts(events, columns, wrong.again, wrong.late, came)


def _events(sums: Sums) -> int:
    return sums.tasks_started + sums.tasks + sums.actions + sums.page_loads + sums.llm_calls


def _of_kind(sums: Sums, kind: str) -> int:
    counts = {
        "llm_call": sums.llm_calls,
        "action": sums.actions,
        "page_load": sums.page_loads,
        "task_start": sums.tasks_started,
        "task_end": sums.tasks,
    }
    return counts.get(kind, 0)


def _columns(seen: Seen, refused: Mapping[str, int] | None) -> dict[str, ColumnCounts]:
    sums = seen.sums
    columns = {
        metric.value: _of_histogram(
            seen.histograms[metric], events, None if refused is None else refused.get(metric, 0)
        )
        for metric, events in (
            *((metric, sums.llm_calls) for metric in OF_CALLS),
            (Metric.STEP_LATENCY, sums.actions),
            (Metric.PAGE_LOAD, sums.page_loads),
            (Metric.DOM_NODES, sums.actions + sums.page_loads),
        )
        if metric in seen.histograms
    }
    for category, events in (
        (Category.ACTIONS, sums.actions),
        (Category.LLM_MODELS, sums.llm_calls),
    ):
        names = CATEGORIES[category](seen)
        missing = max(events - sum(names.values()), 0)
        columns[category.value] = ColumnCounts(events, missing, categories=names)
    return columns


def _of_histogram(histogram: Histogram, events: int, refused: int | None) -> ColumnCounts:
    there = min(histogram.total, events)
    return ColumnCounts(
        events + (refused or 0),
        events - there,
        out_of_range=refused,
        distinct=histogram.bins.size,
        commonest=int(histogram.counts.max(initial=0)),
    )
