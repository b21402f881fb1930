"""The interval of a cost per success is told from how days differ, or said not to be known."""

from __future__ import annotations

import random

import pytest

from shared.costs.ratios import LEAST_UNITS, Moments, NoInterval, fieller_interval
from shared.evaluation.intervals import Interval


def moments(sums: list[tuple[int, int]]) -> Moments:
    return Moments(
        len(sums),
        sum(cost for cost, _ in sums),
        sum(successes for _, successes in sums),
        sum(cost * cost for cost, _ in sums),
        sum(successes * successes for _, successes in sums),
        sum(cost * successes for cost, successes in sums),
    )


def test_it_is_fiellers() -> None:
    # By hand: means 20 and 4, variances of the means 1, 0.1 and covariance 0.2; Student's quantile
    # of 4 degrees is 2.776445.
    found = fieller_interval(
        Moments(5, 100, 20, 100**2 // 5 + 20, 20**2 // 5 + 2, 100 * 20 // 5 + 4), "day"
    )
    assert isinstance(found, Interval)
    assert found.low == pytest.approx(4.267361, abs=1e-6)
    assert found.high == pytest.approx(6.036345, abs=1e-6)


def test_it_holds_the_ratio_and_scales_with_the_money() -> None:
    rng = random.Random(3)
    sums = [(rng.randrange(1, 10**12), rng.randrange(5, 60)) for _ in range(30)]
    found = moments(sums)
    interval = fieller_interval(found, "day")
    assert isinstance(interval, Interval)
    assert interval.low < found.cost / found.successes < interval.high
    tenfold = fieller_interval(moments([(10 * cost, n) for cost, n in sums]), "day")
    assert tenfold == pytest.approx([10 * end for end in interval])


def test_days_that_are_all_alike_leave_no_doubt() -> None:
    assert fieller_interval(moments([(700, 7)] * 6), "day") == (100, 100)


def test_where_there_is_none_it_says_why() -> None:
    few = fieller_interval(moments([(1, 1)] * (LEAST_UNITS - 1)), "hour")
    assert few == NoInterval("4 hours of 5 that it takes")
    rare = fieller_interval(moments([(5, 0)] * 6 + [(9, 1)]), "day")
    assert rare == NoInterval("the successes of the days differ too much")
    with pytest.raises(ValueError, match="expected 1 or more"):
        fieller_interval(moments([(5, 0)] * 6), "day")
