"""What is known of drift as one HTML file that needs neither network nor scripts.

What has drifted stands first, then what could not be judged and why: no finding is no all-clear.
Names come from telemetry and are escaped. The same report gives the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Final

from shared.drift import quantities
from shared.drift.movement import calibration, change, change_at_same_inputs
from shared.drift.quality import QualityCheck, QualityState
from shared.drift.report import plots
from shared.drift.showing import (
    NOT_JUDGED,
    Categories,
    Category,
    Distribution,
    DriftReport,
    FunctionDrift,
    NewWords,
    OpenAlert,
    Period,
    Proportion,
    ShownChange,
    ShownConcept,
    ShownMetric,
    ShownQuality,
    Tally,
    Volume,
)
from shared.drift.verdicts import DriftState, MetricVerdict
from shared.drift.wording import (
    FEATURE_STORE,
    check_said,
    checked_said,
    counted_said,
    effect_said,
    magnitude_said,
    matters_from,
    quality_said,
    said,
)
from shared.standalone import Style, page_environment, write_whole

TEMPLATE: Final = "drift.html.j2"
STYLE: Final = "drift.css.j2"
DRAWN: Final = 400
"Metrics with pictures, those with findings first; the tables have all."
CATEGORIES: Final = 20
METER: Final = 72
"Width of the bar beside an effect; its middle is the minimum."

State = DriftState | QualityState
_FOUND: Final = ("drift", "broken", "warning")
_NOT_JUDGED: Final = tuple(state.value for state in NOT_JUDGED)
_ORDER: Final = (*_FOUND, *_NOT_JUDGED, "stable", "good")


@dataclass(frozen=True)
class Grounds:
    """The numbers of a verdict in words; None where it has none."""

    effect: str | None
    "Of what was seen, also where it could not be judged."
    minimum: str
    sentence: str
    meter: float | None
    p_value: str | None


@dataclass(frozen=True)
class CategoryRow:
    category: Category
    baseline: str
    current: str
    bars: tuple[float, float]
    remark: str


@dataclass(frozen=True)
class RateRow:
    name: str
    baseline: str
    current: str
    pair: plots.Pair


@dataclass(frozen=True)
class Rates:
    """Rows of rates with intervals, drawn on one axis."""

    rows: tuple[RateRow, ...]
    axis: tuple[plots.Label, ...]


@dataclass(frozen=True)
class MetricView:
    anchor: str
    of: ShownMetric
    grounds: Grounds
    drawn: bool
    bars: plots.Bars | None = None
    curves: plots.Curves | None = None
    categories: tuple[CategoryRow, ...] | None = None
    rates: Rates | None = None
    hours: plots.Hours | None = None
    words: NewWords | None = None
    course: plots.Course | None = None

    @property
    def drawn_of_more(self) -> str | None:
        """The sizes of its windows, where those are of what was drawn from more values."""
        verdict = self.of.verdict
        name, sizes = verdict.metric_name, (verdict.n_baseline, verdict.n_current)
        told = counted_said(name, *sizes)
        if told == counted_said(name):
            return None
        return f"n {sizes[0]:,} and {sizes[1]:,}{told}"

    @property
    def never_sent(self) -> bool:
        return self.of.never_sent


@dataclass(frozen=True)
class ConceptView:
    anchor: str
    of: ShownConcept
    grounds: Grounds
    rates: Rates
    calibration: str | None

    @property
    def never_sent(self) -> bool:
        return self.of.never_sent


@dataclass(frozen=True)
class QualityView:
    of: ShownQuality
    check: str
    value: str | None
    baseline: str | None


@dataclass(frozen=True)
class FunctionView:
    anchor: str
    name: str
    metrics: tuple[MetricView, ...]
    concepts: tuple[ConceptView, ...]
    quality: tuple[QualityView, ...]
    "Findings, and what could not be checked."
    quality_passed: tuple[str, ...]
    "What was checked and found nothing, by model."
    quality_of: Period | None

    @property
    def title(self) -> str:
        """The function, or what else its metrics are of."""
        if self.name:
            return self.name
        of_no_model = self.metrics and not any(view.of.model for view in self.metrics)
        return f"{FEATURE_STORE[0].upper()}{FEATURE_STORE[1:]}" if of_no_model else "Every function"

    @property
    def never_sent(self) -> int:
        """Metrics that neither window has anything of: they are only counted."""
        metrics = sum(view.never_sent for view in self.metrics)
        return metrics + sum(view.never_sent for view in self.concepts)

    @property
    def rank(self) -> int:
        """Of the worst that was found; nothing found ranks last."""
        states: list[State] = [view.of.state for view in self.metrics]
        states += [view.of.state for view in self.concepts]
        states += [view.of.state for view in self.quality]
        return min(map(_rank, states), default=len(_ORDER))

    @property
    def size(self) -> float:
        """Of what is as bad as its worst, the largest."""
        shown: list[ShownMetric | ShownConcept] = [view.of for view in self.metrics]
        shown += [view.of for view in self.concepts]
        return max((_size(one) for one in shown if _rank(one.state) == self.rank), default=0.0)


@dataclass(frozen=True)
class Line:
    """One thing that needs a look, or one that was not judged."""

    state: State
    anchor: str
    name: str
    model: str
    function: str
    told: str
    size: float = 0.0
    "How far it moved, in minima; of a check the share that was found."
    metric: str = ""
    "As sweeps call it; empty of a check."
    alert: OpenAlert | None = None
    changes: tuple[ShownChange, ...] = ()

    @property
    def subject(self) -> tuple[str, str | None]:
        """The function and the model; of what has neither, where it is from."""
        if not self.function and not self.model:
            return FEATURE_STORE, None
        return self.function or "every function", self.model


def render(report: DriftReport) -> str:
    """The page. Raises `PageError` without jinja2."""
    return "".join(_parts(report))


def write_report(report: DriftReport, target: Path) -> None:
    """Write the page to `target`, whole or not at all.

    Raises `OSError` when it cannot be written, `PageError` without jinja2.
    """
    write_whole(target, _parts(report))


def _parts(report: DriftReport) -> Iterator[str]:
    environment = page_environment(
        __package__,
        {
            "said": _words,
            # A number and its sign stay on one line.
            "kept": lambda text: text.replace(" %", "\N{NO-BREAK SPACE}%"),
            "percent": quantities.percent,
            "number": quantities.number,
            "probability": quantities.probability,
            "minute": quantities.minute,
            "period": lambda of: quantities.period(of.start, of.end),
        },
        extra="drift",
    )
    functions = _functions(report.functions)
    lines = _with_alerts(chain.from_iterable(_lines(function) for function in functions), report)
    found = [line for line in lines if line.state.value in _FOUND]
    among = {line.alert for line in found}
    judged = Counter(metric.state for function in report.functions for metric in function.metrics)
    judged.update(concept.state for function in report.functions for concept in function.concepts)
    checked = Counter(one.state for function in report.functions for one in function.quality)
    parts: Iterator[str] = environment.get_template(TEMPLATE).generate(
        style=Style.of(__package__, STYLE),
        report=report,
        functions=functions,
        judged=sorted(judged.items(), key=lambda found: _rank(found[0])),
        checked=sorted(checked.items(), key=lambda found: _rank(found[0])),
        looked_at=judged.total() + checked.total(),
        found=sorted(found, key=lambda one: (_rank(one.state), -one.size)),
        alerts=[alert for alert in report.alerts if alert not in among],
        not_judged=_by_reason([line for line in lines if line.state.value in _NOT_JUDGED]),
        never_sent=sum(function.never_sent for function in functions),
        left_out=sum(
            not view.drawn and not view.never_sent
            for function in functions
            for view in function.metrics
        ),
        drawn_most=DRAWN,
        plots=plots,
        meter_width=METER,
    )
    return parts


def _rank(state: State) -> int:
    return _ORDER.index(state.value)


def _words(state: State) -> str:
    return quality_said(state) if isinstance(state, QualityState) else said(state)


def _functions(functions: Sequence[FunctionDrift]) -> list[FunctionView]:
    every = sorted(
        (metric for function in functions for metric in function.metrics if not metric.never_sent),
        key=lambda metric: (_rank(metric.state), -_size(metric)),
    )
    drawn = {id(metric) for metric in every[:DRAWN]}
    views = []
    for i, function in enumerate(functions):
        checks = sorted(
            function.quality,
            key=lambda one: (_rank(one.state), one.finding.column or "", one.finding.check),
        )
        views.append(
            FunctionView(
                anchor=f"f{i}",
                name=function.function,
                metrics=tuple(
                    _metric(metric, f"f{i}m{j}", id(metric) in drawn)
                    for j, metric in enumerate(_worst_first(function.metrics))
                ),
                concepts=tuple(
                    _concept(concept, f"f{i}c{j}") for j, concept in enumerate(function.concepts)
                ),
                quality=tuple(_quality(c) for c in checks if c.state is not QualityState.GOOD),
                quality_passed=_passed(checks),
                quality_of=function.quality_of,
            )
        )
    return sorted(views, key=lambda view: (view.rank, -view.size, view.name))


def _worst_first(metrics: Sequence[ShownMetric]) -> list[ShownMetric]:
    return sorted(
        metrics,
        key=lambda one: (_rank(one.state), -_size(one), one.verdict.metric_name, one.model),
    )


def _metric(metric: ShownMetric, anchor: str, drawn: bool) -> MetricView:
    verdict = metric.verdict
    shape = metric.shape
    changed = change(shape) or metric.change
    grounds = _grounds(verdict, metric.effect, changed)
    if not drawn:
        return MetricView(anchor, metric, grounds, drawn)
    name = f"{verdict.metric_name} of {metric.model or FEATURE_STORE}"
    return MetricView(
        anchor,
        metric,
        grounds,
        drawn,
        bars=plots.bars(shape, name) if isinstance(shape, Distribution) else None,
        curves=plots.curves(shape, name) if isinstance(shape, Distribution) else None,
        categories=_categories(shape) if isinstance(shape, Categories) else None,
        rates=_rates([("", shape.baseline, shape.current)])
        if isinstance(shape, Proportion)
        else None,
        hours=plots.hours(shape, name, changed or "") if isinstance(shape, Volume) else None,
        words=shape if isinstance(shape, NewWords) else None,
        course=plots.course(metric.history, verdict.minimum_effect, name, grounds.minimum),
    )


def _concept(concept: ShownConcept, anchor: str) -> ConceptView:
    return ConceptView(
        anchor,
        concept,
        _grounds(concept.verdict, concept.effect, change_at_same_inputs(concept)),
        _rates([(one.name, one.baseline, one.current) for one in concept.bins]),
        calibration(concept),
    )


def _grounds(verdict: MetricVerdict, effect: float | None, changed: str | None) -> Grounds:
    name = verdict.effect_name.value
    minimum = magnitude_said(name, verdict.minimum_effect)
    words = None if effect is None else effect_said(name, effect)
    return Grounds(
        effect=None if effect is None else magnitude_said(name, effect),
        minimum=minimum,
        sentence=verdict.reason
        or "; ".join(
            part
            for part in (changed, f"{words or 'effect unknown'} ({matters_from(verdict)})")
            if part is not None
        ),
        meter=None if effect is None else round(min(effect / verdict.minimum_effect / 2, 1), 3),
        p_value=None if verdict.p_value is None else quantities.probability(verdict.p_value),
    )


def _categories(categories: Categories) -> tuple[CategoryRow, ...]:
    largest, other = categories.largest(CATEGORIES)
    shown = [*largest, *([other] if other else [])]
    sizes = categories.n_baseline, categories.n_current
    rows = []
    for one, lengths in zip(shown, plots.category_bars(shown, *sizes), strict=True):
        told = [
            quantities.percent(count / size) if size else "-"
            for count, size in zip((one.baseline, one.current), sizes, strict=True)
        ]
        remark = ""
        if all(sizes) and not (one.baseline and one.current):
            remark = "new" if one.current else "gone"
        rows.append(CategoryRow(one, told[0], told[1], lengths, remark))
    return tuple(rows)


def _rates(rows: Sequence[tuple[str, Tally, Tally]]) -> Rates:
    pairs, axis = plots.spans([(baseline, current) for _, baseline, current in rows])
    return Rates(
        tuple(
            RateRow(name, _rate(baseline), _rate(current), pair)
            for (name, baseline, current), pair in zip(rows, pairs, strict=True)
        ),
        axis,
    )


def _rate(tally: Tally) -> str:
    if tally.rate is None or tally.interval is None:
        return "no data"
    return (
        f"{quantities.percent(tally.rate)} ({quantities.interval(*tally.interval)}) of {tally.n:,}"
    )


def _passed(checks: Sequence[ShownQuality]) -> tuple[str, ...]:
    return tuple(
        f"{checked_said(one.finding.column, one.finding.check)} ({one.model})"
        for one in checks
        if one.state is QualityState.GOOD
    )


def _quality(check: ShownQuality) -> QualityView:
    finding = check.finding

    def told(value: float | None) -> str | None:
        if value is None:
            return None
        if finding.check is QualityCheck.CONSTANT:
            return quantities.number(value)
        return quantities.percent(value)

    value = told(finding.value)
    if value is not None and finding.interval is not None:
        value += f" ({quantities.interval(*finding.interval)})"
    return QualityView(check, check_said(finding.check), value, told(finding.baseline))


def _lines(function: FunctionView) -> Iterator[Line]:
    for view in function.metrics:
        if view.never_sent:
            continue
        yield Line(
            view.of.state,
            view.anchor if view.drawn else function.anchor,
            view.of.verdict.metric_name,
            view.of.model,
            function.name,
            view.grounds.sentence,
            _size(view.of),
            metric=view.of.verdict.metric_name,
        )
    for concept in function.concepts:
        if concept.never_sent:
            continue
        yield Line(
            concept.of.state,
            concept.anchor,
            concept.of.relation,
            concept.of.model,
            function.name,
            concept.grounds.sentence,
            _size(concept.of),
            metric=concept.of.verdict.metric_name,
        )
    for check in function.quality:
        column = check.of.finding.column
        yield Line(
            check.of.state,
            f"{function.anchor}q",
            checked_said(column, check.of.finding.check),
            check.of.model,
            function.name,
            check.of.finding.reason,
            check.of.finding.value or 0.0,
        )


def _with_alerts(lines: Iterable[Line], report: DriftReport) -> list[Line]:
    """Each with the alert that is open of it, and when its level changed."""
    alerts = {(one.function, one.model, one.metric): one for one in report.alerts}
    changes: dict[tuple[str, str, str], list[ShownChange]] = {}
    for one in report.changes:
        changes.setdefault((one.function, one.model, one.metric), []).append(one)
    return [
        replace(
            line,
            alert=alerts.get((line.function, line.model, line.metric)),
            changes=tuple(changes.get((line.function, line.model, line.metric), ())),
        )
        for line in lines
    ]


def _size(shown: ShownMetric | ShownConcept) -> float:
    return 0.0 if shown.effect is None else shown.effect / shown.verdict.minimum_effect


def _by_reason(lines: Sequence[Line]) -> Mapping[tuple[State, str], list[Line]]:
    """Many share one reason."""
    found: dict[tuple[State, str], list[Line]] = {}
    for line in sorted(lines, key=lambda line: _rank(line.state)):
        found.setdefault((line.state, line.told), []).append(line)
    return found
