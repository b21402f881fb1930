"""What became of a metric, in one phrase: what somebody woken by an alert asks first."""

from __future__ import annotations

from shared.drift.quantities import MILLISECONDS, bare, interval, number, percent, quantity
from shared.drift.showing import (
    Categories,
    Distribution,
    NewWords,
    Proportion,
    Shape,
    ShownConcept,
    Volume,
    quantiles,
)


def change(shape: Shape | None) -> str | None:
    """`median 402 ms to 666 ms, 95 % 914 ms to 1.55 s`, `4.1 % to 7.9 %`, `click 64 % to 43 %`,
    `90 requests, 210 expected`, `12.3 % of words are new, 4.1 % expected`.

    Of categories, the one whose share changed most. None where a window is empty or not known.
    """
    if isinstance(shape, Distribution):
        return _of_distribution(shape)
    if isinstance(shape, Categories):
        return _of_categories(shape)
    if isinstance(shape, Proportion):
        before, after = shape.baseline.rate, shape.current.rate
        return (
            None if before is None or after is None else _from_to(percent(before), percent(after))
        )
    if isinstance(shape, Volume):
        return _of_volume(shape)
    if isinstance(shape, NewWords):
        return new_words(shape.unseen, shape.expected)
    return None


def furthest_apart(shape: Distribution) -> str | None:
    """Where the distributions differ most, in words; None if they do not or a window is empty."""
    gap = shape.gap
    if gap is None or gap.baseline == gap.current:
        return None
    return (
        f"furthest apart at {quantity(gap.value, shape.unit)}: {percent(gap.baseline)} of the"
        f" baseline are at most that, {percent(gap.current)} of the current window"
    )


def change_at_same_inputs(concept: ShownConcept) -> str | None:
    """`-12.0 points at the same inputs; other inputs explain -3.1 points more`, or None."""
    return points(concept.difference, concept.explained_by_inputs)


def points(difference: float | None, explained_by_inputs: float | None) -> str | None:
    """`change_at_same_inputs` of its two numbers, which are shares."""
    if difference is None:
        return None
    told = f"{100 * difference:+.1f} points at the same inputs"
    if explained_by_inputs is None:
        return told
    return f"{told}; other inputs explain {100 * explained_by_inputs:+.1f} points more"


def new_words(unseen: float | None, expected: float | None) -> str | None:
    """`12.3 % of words are new, 4.1 % expected` of two shares, or None."""
    if unseen is None or expected is None:
        return None
    return f"{percent(unseen)} of words are new, {percent(expected)} expected"


def calibration(concept: ShownConcept) -> str | None:
    """`confidence off success by 1.2 % (0.4 to 2.0 %) before, 15 % (12.1 to 17.9 %) now`, or None.

    The expected calibration error of both windows. None where one of them is not known.
    """
    if concept.calibration is None:
        return None
    told = [
        None
        if one.error is None or one.low is None or one.high is None
        else f"{percent(one.error)} ({interval(one.low, one.high)})"
        for one in concept.calibration
    ]
    if None in told:
        return None
    return f"confidence off success by {told[0]} before, {told[1]} now"


def _of_distribution(shape: Distribution) -> str | None:
    before = quantiles(shape.positions, shape.baseline)
    after = quantiles(shape.positions, shape.current)
    if before is None or after is None:
        return None
    pairs = (("median", before.median, after.median), ("95 %", before.high, after.high))
    told = ", ".join(
        f"{name} {_from_to(bare(old, shape.unit), bare(new, shape.unit))}"
        for name, old, new in pairs
    )
    return told if shape.unit in ("", MILLISECONDS) else f"{told} {shape.unit}"


def _of_volume(shape: Volume) -> str | None:
    if shape.observed is None or shape.expected is None:
        return None
    told = f"{shape.observed:,} requests, {number(shape.expected)} expected"
    if shape.low is None or shape.high is None:
        return told
    return f"{told} ({number(shape.low)} to {number(shape.high)} in 19 of 20 weeks)"


def _of_categories(shape: Categories) -> str | None:
    if not shape.n_baseline or not shape.n_current:
        return None
    moved = min(
        shape.all,
        key=lambda one: (
            -abs(one.current / shape.n_current - one.baseline / shape.n_baseline),
            one.name,
        ),
    )
    before = percent(moved.baseline / shape.n_baseline)
    return f"{moved.name} {_from_to(before, percent(moved.current / shape.n_current))}"


def _from_to(before: str, after: str) -> str:
    return f"still {after}" if before == after else f"{before} to {after}"
