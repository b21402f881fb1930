"""All that is known of one metric or relation, for somebody who has just been woken."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from shared.drift.drawing.categories import draw_categories
from shared.drift.drawing.distribution import draw_distribution
from shared.drift.drawing.history import draw_history
from shared.drift.drawing.proportion import draw_outcomes, draw_proportion
from shared.drift.drawing.signs import BLOCKS, DIM, Signs, require_width, wrapped
from shared.drift.drawing.volume import draw_volume
from shared.drift.drawing.words import draw_words
from shared.drift.movement import calibration, change, change_at_same_inputs
from shared.drift.quantities import number, period, probability
from shared.drift.showing import (
    NOT_JUDGED,
    Categories,
    Distribution,
    NewWords,
    Period,
    Proportion,
    ShownConcept,
    ShownMetric,
    Volume,
)
from shared.drift.verdicts import DriftState, MetricVerdict
from shared.drift.wording import (
    FEATURE_STORE,
    counted_said,
    days_said,
    effect_said,
    matters_from,
    said,
)

_STATES: Final = {
    DriftState.DRIFT: "bold red",
    DriftState.WARNING: "bold yellow",
    DriftState.STABLE: "green",
    DriftState.NO_DATA: "bold",
    DriftState.INSUFFICIENT: "bold",
}


def draw_metric(metric: ShownMetric, width: int, signs: Signs = BLOCKS) -> list[Text]:
    """The verdict in words, what both windows held, and what earlier sweeps said."""
    require_width(width)
    name = metric.verdict.metric_name
    changed = change(metric.shape) or metric.change
    lines = _verdict(name, metric, metric.effect, changed, width, signs)
    if (told := days_said(metric.days)) is not None:
        lines[-1:] = [*wrapped([told], width), Text()]
    if isinstance(metric.shape, Distribution):
        lines += draw_distribution(metric.shape, width, signs)
    elif isinstance(metric.shape, Categories):
        lines += draw_categories(metric.shape, width, signs)
    elif isinstance(metric.shape, Proportion):
        lines += draw_proportion(metric.shape, width, signs)
    elif isinstance(metric.shape, Volume):
        lines += draw_volume(metric.shape, width, signs)
    elif isinstance(metric.shape, NewWords):
        lines += draw_words(metric.shape, width)
    else:
        lines += wrapped(["what the windows held is not known"], width)
    if metric.history:
        verdict = metric.verdict
        lines.append(Text())
        lines += draw_history(
            metric.history, verdict.minimum_effect, verdict.effect_name.value, width, signs
        )
    return lines


def draw_concept(concept: ShownConcept, width: int, signs: Signs = BLOCKS) -> list[Text]:
    """The verdict in words, and the outcome's rates in both windows for each bin of the input."""
    require_width(width)
    changed = change_at_same_inputs(concept)
    lines = _verdict(concept.relation, concept, concept.effect, changed, width, signs)
    told = calibration(concept)
    if told is not None:
        lines += [*wrapped([told], width), Text()]
    return lines + draw_outcomes(concept.bins, width, signs)


def _verdict(
    name: str,
    shown: ShownMetric | ShownConcept,
    effect: float | None,
    changed: str | None,
    width: int,
    signs: Signs,
) -> list[Text]:
    verdict = shown.verdict
    words = said(verdict.state.value).upper()
    whose = f"by {signs.text(shown.model)}" if shown.model else f"of {FEATURE_STORE}"
    subject = [signs.text(name), whose]
    if verdict.function_name:
        subject.insert(1, f"of {signs.text(verdict.function_name)}")
    lines = wrapped([words, *subject], width)
    lines[0].stylize(_STATES[verdict.state], 0, min(len(words), len(lines[0])))
    if changed is not None:
        lines += wrapped([signs.text(changed)], width)
    lines += wrapped(_grounds(verdict, effect), width)
    if verdict.reason is not None:
        lines += wrapped([f"why: {signs.text(verdict.reason)}"], width)
    lines += wrapped([f"baseline {_period(shown.baseline, signs)}"], width, DIM)
    lines += wrapped([f"current {_period(shown.current, signs)}"], width, DIM)
    return [*lines, Text()]


def _grounds(verdict: MetricVerdict, effect: float | None) -> list[str]:
    """The numbers that a verdict rests on."""
    name = verdict.effect_name.value
    parts = []
    if effect is not None and verdict.state not in NOT_JUDGED:
        parts.append(f"{effect_said(name, effect)} ({matters_from(verdict)})")
    if verdict.p_value is not None:
        parts.append(
            f"adjusted p {probability(verdict.p_value)}"
            f" (significant to {number(verdict.threshold)})"
        )
    sizes = verdict.n_baseline, verdict.n_current
    told = (
        f"{size:,}{counted_said(verdict.metric_name, size)} {window}"
        for size, window in zip(sizes, ("baseline", "current"), strict=True)
    )
    return [*parts, f"n {', '.join(told)}"]


def _period(of: Period, signs: Signs) -> str:
    words = f" ({signs.text(of.words)})" if of.words else ""
    return f"{period(of.start, of.end)} UTC{words}"
