from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.drift import own_variation
from shared.drift.comparison import compare, compare_categories, compare_shares
from shared.drift.concept import BinnedOutcomes, compare_outcomes
from shared.drift.effects import Effect
from shared.drift.own_variation import allowed_for, of_categories, of_outcomes, of_values
from shared.drift.verdicts import (
    ComparedMetric,
    DriftState,
    MetricRule,
    judge,
)
from shared.drift.window_pair import WindowPair

RULE = MetricRule(minimum_effect=0.05)


@pytest.fixture(scope="module")
def pieces() -> np.ndarray:
    return np.random.default_rng(1).poisson(20, (7, 9)) + np.arange(7)[:, None] * np.arange(9)


def test_each_piece_is_as_far_from_the_rest_as_two_windows_are(pieces: np.ndarray) -> None:
    whole = pieces.sum(axis=0) + 3
    for distances, effect, comparison in (
        (of_values(pieces, whole, 30), Effect.KS_DISTANCE, compare),
        (of_categories(pieces, whole, 30), Effect.TOTAL_VARIATION, compare_categories),
    ):
        expected = [
            comparison(WindowPair.from_counts(whole - piece, piece)).effects[effect]
            for piece in pieces
        ]
        assert distances == pytest.approx(expected, rel=1e-12)


def test_outcomes_of_each_piece_are_as_far_as_two_windows_are(pieces: np.ndarray) -> None:
    there = np.random.default_rng(2).binomial(pieces, 0.3)
    parts, whole = (pieces - there, there), ((pieces - there).sum(axis=0), there.sum(axis=0))
    expected = []
    for without, having in zip(*parts, strict=True):
        rest = whole[0] - without, whole[1] - having
        outcomes = BinnedOutcomes.from_counts(rest, (without, having))
        expected.append(compare_outcomes(outcomes).comparison.effects[Effect.OUTCOME_MOVEMENT])
    assert of_outcomes(parts, whole, 30) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_pieces_with_few_values_are_left_out() -> None:
    pieces = np.array([[50, 50], [10, 5], [60, 40], [0, 0]])
    assert of_values(pieces, pieces.sum(axis=0), 30).size == 2
    assert of_categories(pieces, pieces.sum(axis=0), 30).size == 2
    assert of_outcomes((pieces, pieces), (pieces.sum(axis=0),) * 2, 60).size == 2
    nothing = np.zeros((3, 0), dtype=np.int64)
    assert of_values(nothing, np.zeros(0, dtype=np.int64), 30).size == 0


def test_the_minimum_is_twice_the_second_furthest_piece() -> None:
    raised = allowed_for(RULE, np.array([0.01, 0.3, 0.04, 0.02, 0.03, 0.01]))
    assert (raised.usual_effect, raised.minimum_effect) == (0.04, 0.08)
    low = allowed_for(RULE, np.array([0.01, 0.3, 0.01, 0.02, 0.02, 0.01]))
    assert (low.usual_effect, low.minimum_effect) == (0.02, 0.05)


def test_of_many_pieces_one_in_ten_is_left_out() -> None:
    assert allowed_for(RULE, np.arange(28) / 100).usual_effect == 0.25


def test_of_four_pieces_nothing_follows() -> None:
    assert allowed_for(RULE, np.full(4, 0.4)) is RULE


def episodes(rates: np.ndarray, seed: int, *, rule: bool) -> int:
    """Alarms over four weeks of sweeps, four a day: 24 h against the week before them."""
    rng = np.random.default_rng(seed)
    events = rng.poisson(60, rates.size)
    errors = rng.binomial(events, rates)
    upto = np.vstack((np.zeros((1, 2), int), np.cumsum(np.stack((events - errors, errors), 1), 0)))
    alarms, is_open = 0, False
    for end in range(8 * 24 + 24, rates.size + 1, 6):
        middle, begin = end - 24, end - 8 * 24
        old, new = upto[middle] - upto[begin], upto[end] - upto[middle]
        days = np.arange(-(-begin // 24) * 24, middle - 23, 24)
        pieces = upto[days + 24] - upto[days]
        if len(days) < 7:
            pieces = np.vstack((pieces, old - pieces.sum(axis=0)))
        far = of_values(pieces, old, RULE.minimum_values)
        compared = ComparedMetric(
            "shop",
            "error_rate",
            compare_shares(tuple(old.tolist()), tuple(new.tolist())),
            allowed_for(RULE, far) if rule else RULE,
        )
        (verdict,) = judge([compared], 1 / 168)
        alarms += verdict.state is DriftState.DRIFT and not is_open
        if verdict.state in (DriftState.DRIFT, DriftState.STABLE):
            is_open = verdict.state is DriftState.DRIFT
    return alarms


HOURS = np.arange(36 * 24 + 24)


def test_weekends_that_differ_alarm_seldom() -> None:
    rates = np.where(HOURS // 24 % 7 >= 5, 0.15, 0.05)
    without = sum(episodes(rates, seed, rule=False) for seed in range(4))
    assert without >= 3 * 4
    assert sum(episodes(rates, seed, rule=True) for seed in range(4)) <= without / 4


def test_a_level_that_wanders_alarms_less_often() -> None:
    without = within = 0
    for seed in range(4):
        rng = np.random.default_rng([7, seed])
        level, wander = 0.0, []
        for step in rng.normal(0, 0.7 * np.sqrt(1 - 0.98**2), HOURS.size):
            level = 0.98 * level + step
            wander.append(level)
        rates = 1 / (1 + np.exp(2.2 - np.array(wander)))
        without += episodes(rates, seed, rule=False)
        within += episodes(rates, seed, rule=True)
    assert without >= 12
    assert within < 0.7 * without


def test_a_lasting_shift_is_found_where_days_are_alike() -> None:
    rates = np.where(HOURS >= 20 * 24, 0.15, 0.05)
    assert [episodes(rates, seed, rule=True) for seed in range(3)] == [1, 1, 1]


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    ties=st.floats(0, 1),
    small=st.integers(30, 200),
    large=st.integers(30, 5000),
)
def test_groups_of_values_miss_no_more_of_a_distance_than_the_rest_has_in_one(
    seed: int, ties: float, small: int, large: int
) -> None:
    """With days of any size, and days of which half is the value beside the others' half."""
    rng = np.random.default_rng(seed)
    pieces = np.zeros((9, 1500), dtype=np.int64)
    for day, n in enumerate([large] * 6 + [small] * 3):
        tied = int(ties * n)
        pieces[day, 700 if n == large else 699] += tied
        where = rng.integers(1500, size=n - tied) if day % 2 else rng.integers(710, 712, n - tied)
        pieces[day] += np.bincount(where, minlength=1500)
    whole = pieces.sum(axis=0)
    with pytest.MonkeyPatch.context() as patch:
        found = of_values(pieces, whole, 30)
        patch.setattr(own_variation, "_GROUPS", 10**9)
        exact = of_values(pieces, whole, 30)
    rests = (whole.sum() - pieces.sum(axis=1)) / whole.sum()
    assert (found <= exact + 1e-12).all()
    assert (exact - found <= 2 / 256 / rests + 1e-12).all()
