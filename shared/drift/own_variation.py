"""How much the days of a baseline differ from each other, which a difference must exceed to matter.

A test asks whether two windows could be samples of one distribution. Where the level of a day
wanders by itself, or weekends are unlike the week, no two days are: each is significantly different
from the others, and none of them is drift. So what a baseline's own days do is what a current
window may do as well. Each day, or piece as long as the current window where that is shorter, is
compared with the rest of its baseline by the effect that decides; the smallest effect that matters
is then at least `TIMES` that of the second furthest piece. The furthest may have been a bad day,
which is no measure of the others; of many pieces one in ten is left out.

Pieces are (k, m): counts of k pieces over the m values that their whole window holds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from shared.drift.concept import LEAST_PER_BIN
from shared.drift.effects import Counts, Floats
from shared.drift.verdicts import MetricRule
from shared.drift.window_pair import LEAST_EXPECTED

LEAST_PIECES: Final = 5
"Fewer say too little of how much they differ."
TIMES: Final = 2.0
"Found by simulation: docs/drift-statistics.md has what less and more would do."
_GROUPS: Final = 256
_LEFT_OUT: Final = 10
"Of so many pieces one more is left out."


def allowed_for(rule: MetricRule, distances: Floats) -> MetricRule:
    """`rule` with its minimum raised to what the pieces of the baseline do by themselves.

    `distances` are those of the pieces that hold enough values; of fewer than five nothing follows.
    """
    if distances.size < LEAST_PIECES:
        return rule
    kept = distances.size - 1 - max(1, distances.size // _LEFT_OUT)
    usual = float(np.partition(distances, kept)[kept])
    least = max(rule.minimum_effect, TIMES * usual)
    return replace(rule, minimum_effect=least, usual_effect=usual)


def of_values(pieces: Counts, whole: Counts, least: int) -> Floats:
    """The Kolmogorov-Smirnov distance of each piece to the rest of its window.

    Pieces and rests of fewer than `least` values are left out. Where the window has many different
    values the distance is looked for between groups of them, see `_in_groups`: it may be that much
    too small, and its cost does not grow with how many values there are.
    """
    pieces, sizes, rests = _large_enough(pieces, whole, least)
    if not sizes.size:
        return np.empty(0)
    pieces, whole = _in_groups(pieces, whole)
    within = np.cumsum(pieces, axis=1, dtype=np.float64)
    total = float(whole.sum())
    # F_i - G_i with G_i = (T - C_i) / (n - n_i) needs one product instead of two quotients.
    within *= (total / (sizes * rests))[:, None]
    within -= np.cumsum(whole) / rests[:, None]
    return np.asarray(np.maximum(within.max(axis=1), -within.min(axis=1)))


def _in_groups(pieces: Counts, whole: Counts) -> tuple[Counts, Counts]:
    """Neighbouring values added up until each group holds up to two 256ths of the window.

    A value that holds more than one is a group of its own. Between the ends of a group a piece
    comes no further from its rest than at one of them and what the rest has in the group: that is
    how much too small a distance may be, however the piece itself lies in it.
    """
    if whole.size <= _GROUPS:
        return pieces, whole
    total = int(whole.sum())
    before = np.cumsum(whole) - whole
    group = before * _GROUPS // total
    large = whole * _GROUPS > total
    # What follows a large value begins in another 256th.
    starts = np.flatnonzero((np.diff(group, prepend=-1) != 0) | large)
    return np.add.reduceat(pieces, starts, axis=1), np.add.reduceat(whole, starts)


def of_categories(pieces: Counts, whole: Counts, least: int) -> Floats:
    """The share of values in another category, of each piece beside the rest of its window.

    Categories that the smallest piece is expected to hold fewer than five times are one, as where
    two windows are compared.
    """
    pieces, sizes, rests = _large_enough(pieces, whole, least)
    if not sizes.size:
        return np.empty(0)
    rare = whole * float(sizes.min()) < LEAST_EXPECTED * float(whole.sum())
    if rare.any():
        pieces = np.column_stack((pieces[:, ~rare], pieces[:, rare].sum(axis=1)))
        whole = np.append(whole[~rare], whole[rare].sum())
    moved = pieces / sizes[:, None] - (whole - pieces) / rests[:, None]
    return np.asarray(np.abs(moved).sum(axis=1) / 2)


def of_outcomes(pieces: tuple[Counts, Counts], whole: tuple[Counts, Counts], least: int) -> Floats:
    """How far the outcome's rate at the same input moves in each piece, noise taken off.

    Counts (without, with) the outcome by bin of the input; `OUTCOME_MOVEMENT` of each piece beside
    the rest, see `concept.compare_outcomes`, over the bins that it compares.
    """
    all_pieces, all_whole = pieces[0] + pieces[1], whole[0] + whole[1]
    sizes = all_pieces.sum(axis=1)
    kept = (sizes >= least) & (all_whole.sum() - sizes >= least)
    new, there_new = all_pieces[kept].astype(np.float64), pieces[1][kept].astype(np.float64)
    old, there_old = all_whole - new, whole[1] - there_new
    both = (new >= LEAST_PER_BIN) & (old >= LEAST_PER_BIN)
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = new + old
        rate = (there_new + there_old) / pooled
        change = there_new / new - there_old / old
        chance = rate * (1 - rate) * (pooled / (pooled - 1)) * (1 / old + 1 / new)
        weights = np.where(both, old * (new / pooled), 0.0)
        total = weights.sum(axis=1)
        terms = np.where(both, weights * (change**2 - chance), 0.0).sum(axis=1)
        moved = np.sqrt(np.maximum(terms / total, 0.0))
    return np.asarray(moved[total > 0])


def _large_enough(pieces: Counts, whole: Counts, least: int) -> tuple[Counts, Floats, Floats]:
    """The pieces that can be compared with the rest, and how many values both hold."""
    sizes = pieces.sum(axis=1)
    rests = whole.sum() - sizes
    kept = (sizes >= least) & (rests >= least)
    return pieces[kept], sizes[kept].astype(np.float64), rests[kept].astype(np.float64)
