"""How often A/B tests are wrong, and how often they find what is there, by simulation.

The sums are those of simulated units; all else is the verdict itself. Short forms run with every
test run, the long ones as proofs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from shared.abtest.inference import bayes
from shared.abtest.inference.estimates import (
    Estimate,
    Moments,
    adjusted,
    cautious,
    cautious_share,
    difference,
    mean,
    ratio,
)
from shared.abtest.inference.fixed_horizon import two_proportions_p
from shared.abtest.inference.power import always_valid_units, required_units
from shared.abtest.inference.quantiles import (
    confidence_sequence_of_quantile,
    difference_of_quantiles,
)
from shared.abtest.inference.sample_ratio import sequential_sample_ratio_p
from shared.abtest.inference.sequential import mixture_scale, reach
from shared.abtest.judging import judge
from shared.abtest.metrics import METRICS
from shared.abtest.plan import LEAST_UNITS, Plan
from shared.abtest.verdicts import (
    MISMATCH_BELOW,
    AbState,
    MetricSums,
    VariantSums,
    Verdict,
)
from shared.telemetry.histograms import Histogram, bin_of
from tests.shared.abtest.units import of_share as one_trial_each

Floats = npt.NDArray[np.float64]
Values = tuple[Floats, Floats]
"(y, x) of units: arrays of one shape."
Draw = Callable[[np.random.Generator, tuple[int, ...]], Values]
SUMS: Final = ("y", "x", "yy", "xx", "xy")


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is probably the best decides nothing here, and takes most of a verdict's time."""
    monkeypatch.setattr(bayes, "DRAWS", 10)


def once(y: Floats) -> Values:
    return y, np.ones_like(y)


def share(rate: float) -> Draw:
    """Units with one task each."""
    return lambda rng, shape: once((rng.random(shape) < rate).astype(float))


def clustered_share(rate: float) -> Draw:
    """Units with one to many tasks, each unit with a rate of its own."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
        tasks = 1 + rng.poisson(2, shape)
        own = rng.beta(10 * rate, 10 * (1 - rate), shape)
        return rng.binomial(tasks, own).astype(float), tasks.astype(float)

    return draw


def lognormal(sigma: float, times: float = 1.0) -> Draw:
    """A mean: x, what was known before, is the same for all."""
    return lambda rng, shape: (
        times * np.exp(sigma * rng.standard_normal(shape)),
        np.zeros(shape),
    )


def known_before(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """A skewed mean of which much was known."""
    before = np.exp(rng.standard_normal(shape))
    return before * np.exp(0.5 * rng.standard_normal(shape)), before


def latency(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """A ratio of skewed sums over units with different numbers of calls."""
    calls = 1.0 + rng.poisson(3, shape)
    return calls * np.exp(0.8 * rng.standard_normal(shape)), calls


def cost_per_success(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    return np.exp(rng.standard_normal(shape)), (rng.random(shape) < 0.3).astype(float)


def running(y: Floats, x: Floats, starts: npt.NDArray[np.int64]) -> Floats:
    """Sums up to each look, (..., 5, looks), of units (..., n) of which looks end at `starts`."""
    products = (y, x, y * y, x * x, x * y)
    return np.stack(
        [np.add.reduceat(one, starts, axis=-1).cumsum(axis=-1) for one in products], axis=-2
    )


def moments(n: int, sums: Floats) -> Moments:
    """Of (y, x, yy, xx, xy) as they add up."""
    y, x, yy, xx, xy = sums.tolist()
    return Moments(n, y / n, yy - y * y / n, x / n, xx - x * x / n, xy - x * y / n)


# --- wrong calls -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    """Tests of two variants: units (tests, 2, looks), sums by metric (tests, 2, 5, looks)."""

    units: npt.NDArray[np.int64]
    sums: dict[str, Floats]
    weights: tuple[float, float]

    def at(self, test: int, look: int) -> list[VariantSums]:
        there = []
        for side, name in enumerate(("control", "treatment")):
            n = int(self.units[test, side, look])
            metrics = {
                metric: MetricSums(
                    moments(n, sums[test, side, :, look]) if n else Moments(0, 0.0, 0.0)
                )
                for metric, sums in self.sums.items()
            }
            there.append(VariantSums(name, self.weights[side], n, metrics=metrics))
        return there

    def worth_a_look(self, plan: Plan) -> npt.NDArray[np.bool_]:
        """The (tests, looks) at which a verdict could tell anything; at all others none can.

        A difference is told where its p-value is at most alpha divided by a number, so where its
        interval at alpha leaves 0 out, and so would one with the plain variance, which is no wider.
        """
        n = self.units
        total = n.sum(axis=1)
        rho = mixture_scale(plan.units, plan.alpha)
        errors = np.array([reach(one, rho, plan.alpha) for one in total[0].tolist()])
        possible = np.zeros(total.shape, dtype=bool)
        for name, sums in self.sums.items():
            y, x, yy, xx, xy = np.moveaxis(sums, 2, 0)
            of_ratio = METRICS[name].denominator is not None
            with np.errstate(invalid="ignore", divide="ignore"):
                value = y / x if of_ratio else y / n
                spread = yy - 2 * value * xy + value**2 * xx if of_ratio else yy - value * y
                variance = spread / (n - 1) / n / ((x / n) ** 2 if of_ratio else 1)
                apart = np.abs(value[:, 1] - value[:, 0])
                possible |= apart >= 0.999 * errors * np.sqrt(np.maximum(variance.sum(axis=1), 0))
        return (possible & (n.min(axis=1) >= LEAST_UNITS)) | self._split_seems_off()

    def _split_seems_off(self) -> npt.NDArray[np.bool_]:
        counts = np.moveaxis(self.units, 1, 2).reshape(-1, 2).tolist()
        found = [sequential_sample_ratio_p(one, self.weights) < MISMATCH_BELOW for one in counts]
        return np.array(found).reshape(self.units.shape[0], -1)


BATCH: Final = 50
LOOK_EVERY: Final = 100


def batches(
    rng: np.random.Generator,
    tests: int,
    units: int,
    of_metrics: dict[str, tuple[Draw, Draw]],
    treated: float = 0.5,
):
    """`tests` tests in which units come one by one and are assigned by chance."""
    for begin in range(0, tests, BATCH):
        shape = (min(BATCH, tests - begin), units)
        starts = np.arange(0, units, LOOK_EVERY)
        in_treatment = (rng.random(shape) < treated).astype(float)
        sides = np.stack([1 - in_treatment, in_treatment], axis=1)
        counts = np.add.reduceat(sides, starts, axis=-1).cumsum(axis=-1).astype(np.int64)
        sums = {}
        for name, draws in of_metrics.items():
            values = [
                draw(rng, shape) for draw in (draws if draws[0] is not draws[1] else draws[:1])
            ]
            (y0, x0), (y1, x1) = values[0], values[-1]
            y = np.where(in_treatment, y1, y0)
            x = np.where(in_treatment, x1, x0)
            sums[name] = running(sides * y[:, None], sides * x[:, None], starts)
        yield Batch(counts, sums, (1 - treated, treated))


@dataclass
class Wrong:
    tests: int = 0
    decided: int = 0
    "Tests in which any look calls the variant better or worse."
    harmed: int = 0
    "... a guardrail harmed."
    told: int = 0
    "... any metric better or worse."
    mismatched: int = 0

    def add(self, verdicts: list[Verdict]) -> None:
        apart = (AbState.BETTER, AbState.WORSE)
        self.tests += 1
        self.decided += any(one.state in apart for one in verdicts)
        self.harmed += any(one.harmed for one in verdicts)
        self.told += any(each.state in apart for one in verdicts for each in one.comparisons)
        self.mismatched += any(one.state is AbState.SAMPLE_RATIO_MISMATCH for one in verdicts)


GUARDED: Final[dict[str, tuple[Draw, Draw]]] = {
    "error_rate": (clustered_share(0.02),) * 2,
    "llm_latency": (latency,) * 2,
    "cost_per_unit": (lognormal(1.0),) * 2,
}
KINDS: Final[dict[str, tuple[Plan, dict[str, tuple[Draw, Draw]]]]] = {
    "rate of 50 %": (Plan(), GUARDED | {"task_completion_rate": (share(0.5),) * 2}),
    "rate of 2 %": (Plan(), GUARDED | {"task_completion_rate": (share(0.02),) * 2}),
    "lognormal cost": (
        Plan(success_metric="cost_per_unit", guardrails=("error_rate", "llm_latency")),
        GUARDED,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("tests", "treated"),
    [
        (60, 0.1),
        pytest.param(2000, 0.1, marks=pytest.mark.proof),
        pytest.param(2000, 0.5, marks=pytest.mark.proof),
    ],
)
def test_a_look_after_every_hundred_units_is_wrong_in_five_of_a_hundred_tests_at_most(
    tests: int, kind: str, treated: float
) -> None:
    """A/A with the whole verdict: of 2,000 tests as measured, of fewer as chance allows."""
    plan, of_metrics = KINDS[kind]
    rng = np.random.default_rng([15, list(KINDS).index(kind), int(10 * treated)])
    wrong = Wrong()
    for batch in batches(rng, tests, 5_000, of_metrics, treated):
        for test, looks in enumerate(batch.worth_a_look(plan)):
            wrong.add([judge(plan, batch.at(test, look)) for look in np.flatnonzero(looks)])
    most = 0.05 * tests if tests >= 2000 else stats.binom.isf(1e-4, tests, 0.05)
    assert wrong.tests == tests
    assert wrong.told <= most, wrong
    assert max(wrong.decided, wrong.harmed) <= wrong.told
    # A split is told not to hold at p < 0.001.
    assert wrong.mismatched <= stats.binom.isf(1e-4, tests, 0.001), wrong


# --- power -------------------------------------------------------------------------------------

RATES: Final = (0.10, 0.12)
VARIANCES: Final = tuple(rate * (1 - rate) for rate in RATES)


def test_one_look_at_the_required_units_has_the_stated_power() -> None:
    rng = np.random.default_rng(16)
    n, runs = required_units(*VARIANCES, RATES[1] - RATES[0]), 4000
    found = 0
    for control, treatment in rng.binomial(n, RATES, (runs, 2)).tolist():
        found += two_proportions_p(one_trial_each(treatment, n), one_trial_each(control, n)) < 0.05
    assert abs(found / runs - 0.8) < 4 * math.sqrt(0.8 * 0.2 / runs)


@pytest.mark.parametrize("guardrails", [(), Plan().guarded], ids=["alone", "guarded"])
@pytest.mark.parametrize("tests", [20, pytest.param(2000, marks=pytest.mark.proof)])
def test_a_test_that_is_looked_at_again_and_again_has_the_stated_power_too(
    tests: int, guardrails: tuple[str, ...]
) -> None:
    """10 % against 12 %, a look after every hundred units, until what the outlook asks for."""
    rng = np.random.default_rng([17, len(guardrails)])
    each = always_valid_units(
        *VARIANCES, RATES[1] - RATES[0], planned=15_000, comparisons=1 + len(guardrails)
    )
    plan = Plan(guardrails=guardrails, units=15_000)
    of_metrics = {name: GUARDED[name] for name in guardrails}
    of_metrics["task_completion_rate"] = (share(RATES[0]), share(RATES[1]))
    units = 2 * each // LOOK_EVERY * LOOK_EVERY
    looks = []
    for batch in batches(rng, tests, units, of_metrics):
        for test, possible in enumerate(batch.worth_a_look(plan)):
            looks.append(_first_better(plan, batch, test, np.flatnonzero(possible).tolist()))
    told = np.array(looks) * LOOK_EVERY
    # Beyond the stated power by what earlier looks find; of few tests as chance allows.
    least = 0.8 * tests if tests >= 2000 else stats.binom.isf(1 - 1e-4, tests, 0.8)
    assert (told <= units).sum() >= least
    # One look's units are not enough for it.
    assert tests < 2000 or 0.2 < (told <= 2 * 3838).mean() < 0.6


def _first_better(plan: Plan, batch: Batch, test: int, looks: list[int]) -> float:
    """After how many looks; infinity for none."""
    for look in looks:
        if judge(plan, batch.at(test, look)).state is AbState.BETTER:
            return look + 1
    return math.inf


# --- coverage ----------------------------------------------------------------------------------

PLANNED: Final = (60, 500, 5_000, 50_000)
"Units for which intervals are made narrowest: the least that a plan may have, and others."


def of_share(treatment: Moments, control: Moments) -> tuple[Estimate | None, Estimate | None]:
    return cautious_share(treatment), cautious_share(control)


def of_mean(treatment: Moments, control: Moments) -> tuple[Estimate | None, Estimate | None]:
    return _cautious(mean(treatment)), _cautious(mean(control))


def of_ratio(treatment: Moments, control: Moments) -> tuple[Estimate | None, Estimate | None]:
    return _cautious(ratio(treatment)), _cautious(ratio(control))


def of_adjusted(treatment: Moments, control: Moments) -> tuple[Estimate | None, Estimate | None]:
    return of_mean(*adjusted(treatment, control))


def _cautious(found: Estimate | None) -> Estimate | None:
    return None if found is None else cautious(found)


Both = Callable[[Moments, Moments], tuple[Estimate | None, Estimate | None]]
COVERED: Final[dict[str, tuple[Draw, float, Draw, float, Both]]] = {
    "50 %": (share(0.5), 0.5, share(0.5), 0.5, of_share),
    "2 %": (share(0.02), 0.02, share(0.02), 0.02, of_share),
    "4 % and 2 %": (share(0.04), 0.04, share(0.02), 0.02, of_share),
    "2 % of clustered tasks": (clustered_share(0.02), 0.02) * 2 + (of_share,),
    "lognormal mean": (lognormal(1.0), math.exp(0.5)) * 2 + (of_mean,),
    "lognormal mean, 1.2 times": (
        lognormal(1.0, 1.2),
        1.2 * math.exp(0.5),
        lognormal(1.0),
        math.exp(0.5),
        of_mean,
    ),
    "ratio": (latency, math.exp(0.32)) * 2 + (of_ratio,),
    "cost per success": (cost_per_success, math.exp(0.5) / 0.3) * 2 + (of_ratio,),
    "with what was known before": (known_before, math.exp(0.625)) * 2 + (of_adjusted,),
}


@pytest.mark.parametrize("kind", COVERED)
@pytest.mark.parametrize(
    ("runs", "units", "treated"),
    [
        (30, 2_000, 0.1),
        pytest.param(2000, 100_000, 0.1, marks=pytest.mark.proof),
        pytest.param(2000, 100_000, 0.5, marks=pytest.mark.proof),
    ],
)
def test_confidence_sequences_hold_at_all_times_at_once(
    runs: int, units: int, kind: str, treated: float
) -> None:
    """From 30 units of each variant on, whatever number of units they are made narrowest for."""
    treatment, true, control, baseline, both = COVERED[kind]
    rng = np.random.default_rng([18, list(COVERED).index(kind), int(10 * treated)])
    of_treatment = np.unique(np.geomspace(LEAST_UNITS, treated * units, 50).astype(int))
    of_control = np.rint(of_treatment * (1 - treated) / treated).astype(int)
    adjusts = both is of_adjusted
    far = np.zeros((2, runs, of_treatment.size))
    "How many standard errors the figure and the difference are away from the truth."
    for run in range(runs):
        sides = []
        for draw, n in ((treatment, of_treatment), (control, of_control)):
            sums = running(*draw(rng, (int(n[-1]),)), np.r_[0, n[:-1]])
            sides.append([moments(size, sums[:, at]) for at, size in enumerate(n.tolist())])
        for at, (one, two) in enumerate(zip(*sides, strict=True)):
            found, other = both(one, two)
            if found is None or other is None:
                continue
            apart = difference(found, other)
            if not adjusts:
                far[0, run, at] = abs(found.value - true) / found.standard_error
            far[1, run, at] = abs(apart.value - (true - baseline)) / apart.standard_error
    most = stats.binom.isf(0.01 if runs >= 2000 else 1e-5, runs, 0.05)
    for planned in PLANNED:
        rho = mixture_scale(planned)
        for name, away, n in (
            ("figure", far[0], of_treatment),
            ("difference", far[1], of_treatment + of_control),
        ):
            missed = (away > [reach(one, rho) for one in n.tolist()]).any(axis=1).sum()
            assert missed <= most, (planned, name, missed)


@pytest.mark.parametrize("quantile", [0.5, 0.95])
@pytest.mark.parametrize("runs", [20, pytest.param(2000, marks=pytest.mark.proof)])
def test_confidence_sequences_of_quantiles_hold_at_all_times_at_once(
    runs: int, quantile: float
) -> None:
    """Of whole milliseconds, lognormal, from 30 units to 100,000, histogram and all."""
    rng = np.random.default_rng([19, int(100 * quantile)])
    values = np.arange(1, 60_000)
    below = stats.norm.cdf(np.log(values + 0.5), 6, 0.8)
    shares = np.diff(below, prepend=0.0)
    true = int(values[np.searchsorted(below, quantile)])
    of_value = bin_of(values)
    bins = np.unique(of_value)
    of_bins = np.bincount(of_value, weights=shares)[bins]
    of_bins /= of_bins.sum()
    looks = np.unique(np.geomspace(LEAST_UNITS, 100_000, 40).astype(int))
    missed = np.zeros(2, dtype=int)
    for _ in range(runs):
        counts = rng.multinomial(np.diff(looks, prepend=0), of_bins, (2, looks.size)).cumsum(axis=1)
        away = np.zeros(2, dtype=bool)
        for at in range(looks.size):
            one, two = (Histogram.from_counts(bins, side[at]) for side in counts)
            own = confidence_sequence_of_quantile(one, quantile)
            apart = difference_of_quantiles(one, two, quantile)
            away |= [not own.low <= true <= own.high, not apart.low <= 0 <= apart.high]
        missed += away
    assert (missed <= (0.05 * runs if runs >= 2000 else stats.binom.isf(1e-4, runs, 0.05))).all()
