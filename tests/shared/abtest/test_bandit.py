"""A test that looks for its best variant finds it, and says what can be said of how much better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.allocation import Allocation, thompson_weights
from shared.abtest.bandit import follow
from shared.abtest.inference import bayes
from shared.abtest.inference.adaptive import always_valid_p_of_both, difference_of_both
from shared.abtest.inference.estimates import Estimate, difference
from shared.abtest.inference.sequential import confidence_sequence, mixture_scale
from shared.abtest.judging import judge
from shared.abtest.lifecycle import change_weights, create, find, pause, start
from shared.abtest.plan import Plan
from shared.abtest.states import AbTestError
from shared.abtest.verdicts import MetricSums, VariantSums, Verdict
from shared.tenancy.tables import AuditEntry
from tests.shared.abtest.units import of_share, of_values

BATCHES, BATCH = 40, 100
PLAN = Plan(guardrails=(), allocation=Allocation.THOMPSON)
SPLIT = [{"name": name, "weight": 0.5} for name in ("a", "b")]
FOLLOWING: dict[str, Any] = {"allocation": "thompson", "sticky": True}


@pytest.fixture
def fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probability is off by a hundredth then, which is nothing to these simulations."""
    monkeypatch.setattr(bayes, "DRAWS", 10_000)


def judged(counts: Mapping[str, tuple[int, int]], plan: Plan = PLAN) -> Verdict:
    """Of (successes, units) of each variant; every unit had one task."""
    variants = []
    for name, (successes, n) in counts.items():
        rate = MetricSums(of_share(successes, n))
        variants.append(
            VariantSums(name, 1 / len(counts), n, metrics={"task_completion_rate": rate})
        )
    return judge(plan, variants, split_changed=True)


def simulated(
    rates: Mapping[str, float], seed: int
) -> tuple[dict[str, tuple[int, int]], list[dict[str, float]]]:
    """What each variant came to in `BATCHES` hours, and the weights of each."""
    rng = np.random.default_rng(seed)
    counts = dict.fromkeys(rates, (0, 0))
    weights = {name: 1 / len(rates) for name in rates}
    seen = []
    for _ in range(BATCHES):
        for name, n in zip(rates, rng.multinomial(BATCH, list(weights.values())), strict=True):
            successes, units = counts[name]
            counts[name] = successes + int(rng.binomial(n, rates[name])), units + int(n)
        best = judged(counts).best
        if best:
            weights = thompson_weights({n: one.probability_best for n, one in best.items()}, 0.05)
        seen.append(weights)
    return counts, seen


@pytest.mark.usefixtures("fewer_draws")
def test_the_better_variant_gets_most_units_and_less_is_lost_than_by_halves() -> None:
    shares, regrets = [], []
    for seed in range(5):
        counts, _ = simulated({"a": 0.5, "b": 0.6}, seed)
        shares.append(counts["b"][1] / (BATCHES * BATCH))
        regrets.append(0.1 * counts["a"][1])
    assert np.mean(shares) > 0.75
    # Halves lose a tenth of a success on each of half of all units.
    assert np.mean(regrets) < 0.5 * (0.1 * BATCHES * BATCH / 2)


@pytest.mark.usefixtures("fewer_draws")
def test_no_variant_gets_less_than_its_least_share_where_none_is_better() -> None:
    for seed in range(3):
        _, seen = simulated({"a": 0.5, "b": 0.5, "c": 0.5}, seed)
        assert min(min(weights.values()) for weights in seen) >= 0.05


def shows_a_difference(rng: np.random.Generator, looks: int) -> tuple[bool, bool]:
    """Whether any look at a test without one shows it; its shares follow the results.

    By the interval of such a test, and by that of fixed shares.
    """
    rho, counts, share = mixture_scale(5_000), [(0, 0), (0, 0)], 0.5
    shown, seeming = False, False
    for _ in range(looks):
        to_second = int(rng.binomial(80, share))
        for arm, units in enumerate((80 - to_second, to_second)):
            successes, n = counts[arm]
            counts[arm] = successes + int(rng.binomial(units, 0.3)), n + units
        control, treatment = (
            Estimate(s / n, s * (n - s) / n**3, n, n - 1) if n else Estimate(0.0, 0.0, 0, 0)
            for s, n in counts
        )
        low, high = difference_of_both(treatment, control, rho)
        shown |= not low <= 0 <= high
        if control.n and treatment.n:
            low, high = confidence_sequence(difference(treatment, control), rho)
            seeming |= not low <= 0 <= high
        error = math.hypot(control.standard_error, treatment.standard_error)
        best = NormalDist().cdf((treatment.value - control.value) / error)
        share = 0.05 + 0.9 * best
    return shown, seeming


def test_intervals_hold_at_all_looks_at_once_though_shares_follow_the_results() -> None:
    rng = np.random.default_rng(5)
    runs = [shows_a_difference(rng, looks=60) for _ in range(300)]
    assert sum(shown for shown, _ in runs) <= 1
    # With the interval of fixed shares more would be shown.
    assert sum(seeming for _, seeming in runs) >= 6


def test_each_side_takes_half_of_what_may_be_wrong() -> None:
    """The control is known: over a long time the treatment's own half is used up, and no more."""
    rng = np.random.default_rng(6)
    n = np.unique(np.geomspace(2, 10**7, 100).astype(int))
    rho, runs, missed = mixture_scale(300), 400, 0
    known = Estimate(0.0, 0.0, 10**6, 10**6)
    for _ in range(runs):
        means = (rng.normal(size=n.size) * np.sqrt(np.diff(n, prepend=0))).cumsum() / n
        intervals = (
            difference_of_both(Estimate(mean, 1 / units, units, units), known, rho, 0.5)
            for mean, units in zip(means.tolist(), n.tolist(), strict=True)
        )
        missed += any(not low <= 0 <= high for low, high in intervals)
    # Of 0.25 at most; with the whole level on each side 0.3.
    assert 0.1 < missed / runs < 0.22


def test_the_p_value_is_the_least_level_whose_interval_leaves_zero_out() -> None:
    one, two, rho = Estimate(0.3, 1e-3, 300, 299), Estimate(0.55, 2e-3, 100, 99), 0.05
    p_value = always_valid_p_of_both(two, one, rho)
    assert difference_of_both(two, one, rho, p_value * 1.01).low > 0
    assert difference_of_both(two, one, rho, p_value * 0.99).low < 0
    assert always_valid_p_of_both(one, one, rho) == 1.0


def test_what_holds_for_fixed_weights_only_is_not_said() -> None:
    found = judged({"a": (500, 1_000), "b": (3_000, 5_000)})
    fixed = judged({"a": (500, 1_000), "b": (3_000, 5_000)}, Plan(guardrails=()))
    (following,), (held,) = found.comparisons, fixed.comparisons
    assert (following.one_look, found.outlook) == (None, None)
    assert following.interval is not None
    assert held.interval is not None
    assert following.interval.low < held.interval.low < held.interval.high < following.interval.high
    assert found.remarks[0].startswith("the weights follow the results (Thompson sampling)")
    assert found.remarks[0].endswith("only while what units do does not change with time")


def test_tasks_of_one_unit_are_worth_less_than_as_many_of_others() -> None:
    rng = np.random.default_rng(2)

    def best(each: int) -> float:
        variants = []
        for name, rate in (("a", 0.5), ("b", 0.52)):
            solved = np.repeat([1.0, 0.0], [round(400 * rate), 400 - round(400 * rate)]) * each
            moments = of_values(rng.permutation(solved), np.full(400, float(each)))
            rates = {"task_completion_rate": MetricSums(moments)}
            variants.append(VariantSums(name, 0.5, 400, metrics=rates))
        return judge(PLAN, variants).best["b"].probability_best

    # Ten tasks that all end alike tell no more than one.
    assert best(10) == pytest.approx(best(1), abs=0.02)


def test_weights_follow_through_the_one_path_and_the_audit_trail_says_who(
    session: Session,
) -> None:
    create(session, "prompt", SPLIT, **FOLLOWING)
    test = start(session, "prompt")
    verdict = judged({"a": (10, 200), "b": (190, 200)})
    assert follow(session, test, verdict) == {"a": 0.05, "b": 0.95}
    assert [one["weight"] for one in find(session, "prompt").variants] == [0.05, 0.95]
    entry = session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "ab_test.weights"))
    assert entry.one().actor == "bandit"
    # Asked again it is there already.
    assert follow(session, find(session, "prompt"), verdict) is None


def test_weights_stay_where_they_are_not_to_follow(session: Session) -> None:
    won = judged({"a": (10, 200), "b": (190, 200)})
    create(session, "fixed", SPLIT)
    assert follow(session, start(session, "fixed"), won) is None
    create(session, "prompt", SPLIT, **FOLLOWING)
    test = start(session, "prompt")
    few = judged({"a": (1, 20), "b": (19, 20)})
    assert follow(session, test, few) is None
    lost = judge(PLAN, [VariantSums("a", 0.5, 500), VariantSums("b", 0.5, 1_000)])
    assert follow(session, test, lost) is None
    assert follow(session, pause(session, "prompt"), won) is None


def test_somebody_elses_change_of_the_weights_wins(session: Session) -> None:
    create(session, "prompt", SPLIT, **FOLLOWING)
    test = start(session, "prompt")
    session.expunge(test)
    change_weights(session, "prompt", {"a": 0.3, "b": 0.7})
    assert follow(session, test, judged({"a": (10, 200), "b": (190, 200)})) is None
    assert [one["weight"] for one in find(session, "prompt").variants] == [0.3, 0.7]


def test_what_no_weights_can_follow_is_refused(session: Session) -> None:
    for wrong, told in (
        ({"allocation": "thompson"}, "it takes a sticky test"),
        ({**FOLLOWING, "least_share": 0.6}, "least share 0.6 of 2 variants; expected 0 to 0.5"),
        ({**FOLLOWING, "success_metric": "llm_latency_p95"}, "of a quantile it is not known"),
        ({"allocation": "greedy"}, "allocation: Input should be 'fixed' or 'thompson'"),
    ):
        with pytest.raises(AbTestError, match=told):
            create(session, "prompt", SPLIT, **wrong)
