"""Where everything stands in the report's pictures: shapes and labels, for a template to draw.

Coordinates are SVG user units, y downwards, rounded to a tenth: the same values give the same text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from shared.drift.axes import Binned, BinnedWindow, binned, share_axis
from shared.drift.effects import Counts
from shared.drift.movement import furthest_apart
from shared.drift.quantities import MILLISECONDS, bare, number, percent, quantity, tick
from shared.drift.showing import (
    NOT_JUDGED,
    Category,
    Distribution,
    Gap,
    PastSweep,
    Quantiles,
    Tally,
    Volume,
    quantiles,
)
from shared.drift.verdicts import DriftState
from shared.drift.wording import said

WIDTH: Final = 460
HEIGHT: Final = 210
WIDE: Final = 940
"Of what is drawn over time."
LOW: Final = 110
ROW_WIDTH: Final = 300
ROW_HEIGHT: Final = 26
BINS: Final = 60
_LEFT: Final = 52
_RIGHT: Final = 14
_TOP: Final = 12
_STEPS: Final = 150
"Of each window's cumulative curve, at most: finer than can be seen."
_LETTER: Final = 6.6
"Width of a label's character; labels are kept apart by it."


class Label(NamedTuple):
    at: float
    text: str


class Whisker(NamedTuple):
    """5 %, median and 95 % of a window, at one height."""

    window: str
    y: float
    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Bars:
    """Histograms of both windows over each other; a window that is empty has no path."""

    title: str
    description: str
    baseline: str
    current: str
    whiskers: tuple[Whisker, ...]
    ticks: tuple[Label, ...]
    floor: float
    top: str
    "The share that the highest bar stands for."
    axis: str


@dataclass(frozen=True)
class Curves:
    """Cumulative shares of both windows, and where they are furthest apart."""

    title: str
    description: str
    baseline: str
    current: str
    gap: tuple[float, float, float] | None
    "x, and y of either curve."
    told: str
    ticks: tuple[Label, ...]
    shares: tuple[Label, ...]
    floor: float


class Dot(NamedTuple):
    x: float
    y: float
    state: DriftState
    told: str


@dataclass(frozen=True)
class Course:
    """The effect of every sweep; the line is broken where nothing is known."""

    title: str
    description: str
    lines: tuple[str, ...]
    calm: str
    "A point for each sweep that found nothing."
    dots: tuple[Dot, ...]
    "Of the other ones."
    unknown: tuple[Dot, ...]
    minimum: float
    minimum_told: str
    ticks: tuple[Label, Label]
    floor: float


@dataclass(frozen=True)
class Hours:
    """Requests by the hour: what came as columns, what was expected as a line; gaps are unknown.

    Around the line lies the band of what 19 of 20 such hours bring.
    """

    title: str
    description: str
    columns: tuple[tuple[float, float, float, float], ...]
    "x, y, width and height."
    expected: str
    band: str
    ticks: tuple[Label, Label]
    top: str
    floor: float


class Span(NamedTuple):
    """A share's place with those of its interval's ends."""

    low: float
    rate: float
    high: float


class Pair(NamedTuple):
    """A category or a bin of inputs in both windows; None where the window has nothing in it."""

    baseline: Span | None
    current: Span | None


def bars(distribution: Distribution, name: str) -> Bars | None:
    """Both windows' shares by bin; None if both are empty."""
    shown = binned(distribution, BINS)
    if shown is None:
        return None
    windows = (
        ("baseline", shown.baseline, distribution.baseline),
        ("current", shown.current, distribution.current),
    )
    floor = HEIGHT - 52.0
    top = max(float(window.shares.max()) for _, window, _ in windows if window is not None) or 1.0
    paths = [_outline(shown, window, top, floor) for _, window, _ in windows]
    marked = [(window, quantiles(distribution.positions, counts)) for window, _, counts in windows]
    whiskers = tuple(
        Whisker(window, floor + 9 + 9 * i, *(_x(shown, value) for value in values))
        for i, (window, values) in enumerate(marked)
        if values is not None
    )
    told = [
        _told(window, values, binned_window, counts, distribution.unit)
        for (window, binned_window, counts), (_, values) in zip(windows, marked, strict=True)
    ]
    return Bars(
        title=f"{name}: share of values by size",
        description=" ".join(told),
        baseline=paths[0],
        current=paths[1],
        whiskers=whiskers,
        ticks=_ticks(shown, distribution.unit),
        floor=floor,
        top=percent(top),
        axis=_axis(shown, distribution.unit),
    )


def curves(distribution: Distribution, name: str) -> Curves | None:
    """Both cumulative distributions on the axis of `bars`; None if a window is empty."""
    shown = binned(distribution, BINS)
    gap = distribution.gap
    if shown is None or gap is None:
        return None
    floor = HEIGHT - 34.0

    def y(share: float) -> float:
        return _round(floor - share * (floor - _TOP))

    told = furthest_apart(distribution)
    return Curves(
        title=f"{name}: share of values at most so large",
        description=told or "The curves are the same.",
        baseline=_steps(shown, distribution, distribution.baseline, gap, floor),
        current=_steps(shown, distribution, distribution.current, gap, floor),
        gap=(_x(shown, gap.value), y(gap.baseline), y(gap.current)) if told else None,
        told=told or "",
        ticks=_ticks(shown, distribution.unit),
        shares=tuple(Label(y(share), percent(share)) for share in (0.0, 0.5, 1.0)),
        floor=floor,
    )


def course(history: Sequence[PastSweep], minimum: float, name: str, told: str) -> Course | None:
    """The effect over time; None for fewer than two sweeps. `told` is the minimum in words."""
    if len(history) < 2:
        return None
    ordered = sorted(history, key=lambda one: one.at)
    begin, end = ordered[0].at, ordered[-1].at
    if begin == end:
        return None
    floor = LOW - 24.0
    known = [one.effect for one in ordered if one.effect is not None]
    # An effect can be endless, where there is nothing left of what was expected.
    top = max([minimum, *(size for size in known if math.isfinite(size))]) * 1.08

    def x(at: datetime) -> float:
        return _round(_LEFT + (at - begin) / (end - begin) * (WIDE - _LEFT - _RIGHT))

    def y(effect: float) -> float:
        return _round(floor - min(effect / top, 1.0) * (floor - _TOP))

    between = sorted(later.at - one.at for one, later in pairwise(ordered))
    usual = between[len(between) // 2]
    lines: list[list[str]] = [[]]
    before: datetime | None = None
    for one in ordered:
        # What was asked now and then is joined; a time without sweeps is a gap.
        if one.effect is None or (before is not None and one.at - before > 2 * usual):
            lines.append([])
        if one.effect is not None:
            lines[-1].append(f"{x(one.at):g} {y(one.effect):g}")
        before = one.at
    calm = "".join(
        f"M{x(one.at):g} {y(one.effect):g}h0"
        for one in ordered
        if one.effect is not None and one.state is DriftState.STABLE
    )
    dots = tuple(
        Dot(x(one.at), y(one.effect), one.state, f"{one.at:%Y-%m-%d %H:%M} {said(one.state)}")
        for one in ordered
        if one.effect is not None and one.state in (DriftState.DRIFT, DriftState.WARNING)
    )
    unknown = tuple(
        Dot(x(one.at), floor - 4, one.state, f"{one.at:%Y-%m-%d %H:%M} {said(one.state)}")
        for one in ordered
        if one.state in NOT_JUDGED
    )
    drifted = sum(one.state is DriftState.DRIFT for one in ordered)
    return Course(
        title=f"{name}: effect in each sweep",
        description=(
            f"{len(ordered)} sweeps, {drifted} of them with drift, {len(unknown)} not judged."
        ),
        lines=tuple("M" + "L".join(points) for points in lines if len(points) > 1),
        calm=calm,
        dots=dots,
        unknown=unknown,
        minimum=y(minimum),
        minimum_told=told,
        ticks=(
            Label(_LEFT, f"{begin:%Y-%m-%d %H:%M}"),
            Label(WIDE - _RIGHT, f"{end:%Y-%m-%d %H:%M} UTC"),
        ),
        floor=floor,
    )


def hours(volume: Volume, name: str, told: str) -> Hours | None:
    """None where no hour is known. `told` is the comparison in words."""
    known = [one for hour in volume.hours for one in hour[1:] if one is not None]
    if not known:
        return None
    floor = LOW - 24.0
    top = max(known) or 1.0
    width = (WIDE - _LEFT - _RIGHT) / len(volume.hours)

    def height(requests: float) -> float:
        return _round(requests / top * (floor - _TOP))

    columns, line, band = [], "", ""
    was_known = False
    for i, hour in enumerate(volume.hours):
        x = _LEFT + i * width
        if hour.observed is not None:
            tall = height(hour.observed)
            columns.append((_round(x), _round(floor - tall), _round(width * 0.9), tall))
        if hour.expected is not None:
            y = _round(floor - height(hour.expected))
            line += f"{'L' if was_known else 'M'}{_round(x):g} {y:g}H{_round(x + width):g}"
        if hour.low is not None and hour.high is not None:
            low, high = (_round(floor - height(bound)) for bound in (hour.low, hour.high))
            band += f"M{_round(x):g} {high:g}H{_round(x + width):g}V{low:g}H{_round(x):g}z"
        was_known = hour.expected is not None
    return Hours(
        title=f"{name}: requests by the hour",
        description=told,
        columns=tuple(columns),
        expected=line,
        band=band,
        ticks=(
            Label(_LEFT, f"{volume.hours[0].at:%Y-%m-%d %H:%M}"),
            Label(WIDE - _RIGHT, f"{volume.hours[-1].at:%Y-%m-%d %H:%M} UTC"),
        ),
        top=number(top),
        floor=floor,
    )


def spans(
    pairs: Sequence[tuple[Tally, Tally]],
) -> tuple[tuple[Pair, ...], tuple[Label, ...]]:
    """Rates with their 95 % intervals (Wilson) on one axis, and the axis' labels."""
    bounds = [
        bound
        for pair in pairs
        for tally in pair
        if tally.interval is not None
        for bound in tally.interval
    ]
    if not bounds:
        return tuple(Pair(None, None) for _ in pairs), ()
    ticks = share_axis(min(bounds), max(bounds))
    first, last = ticks[0], ticks[-1]

    def x(share: float) -> float:
        return _round(8 + (share - first) / (last - first) * (ROW_WIDTH - 40))

    def span(tally: Tally) -> Span | None:
        if tally.rate is None or tally.interval is None:
            return None
        return Span(x(tally.interval.low), x(tally.rate), x(tally.interval.high))

    placed = tuple(Pair(span(baseline), span(current)) for baseline, current in pairs)
    labels = [Label(x(share), f"{100 * share:.6g} %") for share in ticks]
    return placed, tuple(_apart(labels))


def category_bars(
    shown: Iterable[Category], n_baseline: int, n_current: int
) -> tuple[tuple[float, float], ...]:
    """Lengths of each category's two bars, the longest of all filling the row."""
    shares = [(one.baseline / max(n_baseline, 1), one.current / max(n_current, 1)) for one in shown]
    top = max((share for pair in shares for share in pair), default=0.0) or 1.0
    room = ROW_WIDTH - 10
    return tuple((_round(a / top * room), _round(b / top * room)) for a, b in shares)


def _outline(shown: Binned, window: BinnedWindow | None, top: float, floor: float) -> str:
    if window is None:
        return ""
    parts = [f"M{_LEFT} {floor:g}"]
    for i, share in enumerate(window.shares.tolist()):
        height = _round(floor - share / top * (floor - _TOP))
        parts.append(f"V{height:g}H{_column(shown, i + 1):g}")
    return "".join(parts) + f"V{floor:g}"


def _steps(
    shown: Binned, distribution: Distribution, counts: Counts, gap: Gap, floor: float
) -> str:
    """A cumulative curve: level until the next value and up at it, or straight between many."""
    cumulative = np.cumsum(counts) / counts.sum()
    held = np.flatnonzero(counts)
    are_many = held.size > _STEPS
    if are_many:
        # Evenly by share and by place: neither a steep part nor a long tail is lost.
        half = _STEPS // 2
        by_share = np.searchsorted(cumulative[held], np.arange(1, half) / half)
        places = np.linspace(shown.edges[0], shown.edges[-1], half)
        by_place = np.searchsorted(distribution.positions[held], places)
        at = int(np.searchsorted(distribution.positions[held], gap.value))
        chosen = np.concatenate(([0, at], by_share, by_place)).clip(max=held.size - 1)
        held = held[np.unique(chosen)]
    parts = [f"M{_LEFT} {floor:g}"]
    for value, share in zip(distribution.positions[held], cumulative[held], strict=True):
        if value > shown.edges[-1]:
            break
        x, y = _x(shown, float(value)), _round(floor - float(share) * (floor - _TOP))
        parts.append(f"L{x:g} {y:g}" if are_many else f"H{x:g}V{y:g}")
    return "".join(parts) + f"H{WIDTH - _RIGHT}"


def _told(
    window: str,
    values: Quantiles | None,
    shares: BinnedWindow | None,
    counts: Counts,
    unit: str,
) -> str:
    if values is None or shares is None:
        return f"The {window} window is empty."
    low, median, high = (bare(value, unit) for value in values)
    text = f"The {window} has {int(counts.sum()):,} values: 5 % {low}, median {median}, 95 % {high}"
    if shares.below:
        text += (
            f"; {percent(shares.below)} left of the axis, from {quantity(shares.smallest, unit)}"
        )
    if shares.above:
        text += (
            f"; {percent(shares.above)} right of the axis, up to {quantity(shares.largest, unit)}"
        )
    return text + "."


def _ticks(shown: Binned, unit: str) -> tuple[Label, ...]:
    kept: list[Label] = []
    for marked in shown.marks():
        labels = [Label(_column(shown, place), tick(value, unit)) for place, value in marked]
        kept = _apart(labels)
        if len(labels) > 1 and len(kept) == len(labels):
            break
    return tuple(kept)


def _apart(labels: Sequence[Label]) -> list[Label]:
    """Those labels, from the left, that do not touch the one before; they are centred."""
    kept: list[Label] = []
    reached = -math.inf
    for label in labels:
        half = len(label.text) * _LETTER / 2
        if label.at - half >= reached + _LETTER:
            kept.append(label)
            reached = label.at + half
    return kept


def _axis(shown: Binned, unit: str) -> str:
    words = [unit] if unit and unit != MILLISECONDS else []
    return ", ".join([*words, "logarithmic axis"] if shown.logarithmic else words)


def _x(shown: Binned, value: float) -> float:
    return _column(shown, shown.place(value))


def _column(shown: Binned, place: float) -> float:
    return _round(_LEFT + place / shown.bins * (WIDTH - _LEFT - _RIGHT))


def _round(value: float) -> float:
    return round(value, 1)
