"""The verdict of an A/B test: what is said, when nothing may be said, and how often it is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from shared.abtest.inference import bayes
from shared.abtest.inference.estimates import Moments
from shared.abtest.inference.quantiles import (
    always_valid_p_of_quantiles,
    confidence_sequence_of_quantile,
    difference_of_quantiles,
)
from shared.abtest.inference.sample_ratio import sample_ratio_p
from shared.abtest.judging import judge
from shared.abtest.metrics import METRICS
from shared.abtest.plan import LEAST_UNITS, Plan
from shared.abtest.shares import shares_at
from shared.abtest.verdicts import (
    AbState,
    MetricSums,
    Standing,
    VariantSums,
)
from shared.telemetry.histograms import Histogram
from tests.shared.abtest.units import of_share, of_values

RATE = "task_completion_rate"
ALONE = Plan(guardrails=())


def rate(successes: int, n: int, unknown: int = 0) -> MetricSums:
    """Of units with one task each."""
    return MetricSums(of_share(successes, n), unknown)


def variant(name: str, successes: int, n: int, *, mixed: int = 0, weight: float = 0.5, **more):
    return VariantSums(name, weight, n, mixed, {RATE: rate(successes, n), **more})


def test_what_is_better_is_said_first_with_its_interval() -> None:
    verdict = judge(ALONE, [variant("control", 1000, 5000), variant("treatment", 1250, 5000)])
    assert verdict.state is AbState.BETTER
    assert verdict.verdict == (
        "treatment is better than control: +5.0 points of task_completion_rate,"
        " 95 % always-valid interval +2.4 to +7.6"
    )
    only = verdict.comparisons[0]
    assert only.p_value == only.p_adjusted < 0.001
    assert only.one_look is not None
    # One look at the end may be narrower: that is its only advantage.
    assert only.interval.low < only.one_look.interval.low < only.difference


@pytest.mark.parametrize(("successes", "state"), [(750, AbState.WORSE), (1010, AbState.COLLECTING)])
def test_less_is_worse_and_little_is_not_told(successes: int, state: AbState) -> None:
    verdict = judge(
        Plan(guardrails=(), units=20_000),
        [variant("control", 1000, 5000), variant("treatment", successes, 5000)],
    )
    assert verdict.state is state


def test_of_a_cost_less_is_better() -> None:
    def costing(name: str, nanos: float) -> VariantSums:
        rng = np.random.default_rng(1)
        cost = MetricSums(of_values(rng.exponential(nanos, 3000)))
        return VariantSums(name, 0.5, 3000, metrics={"cost_per_unit": cost})

    plan = Plan(success_metric="cost_per_unit", guardrails=())
    verdict = judge(plan, [costing("control", 2e6), costing("treatment", 1e6)])
    assert verdict.state is AbState.BETTER
    assert "-0.000988 $ of cost_per_unit" in verdict.verdict


def test_at_the_planned_units_a_test_that_shows_nothing_is_undecided() -> None:
    there = [variant("control", 500, 2500), variant("treatment", 505, 2500)]
    found = judge(ALONE, there)
    assert found.state is AbState.UNDECIDED
    assert found.verdict == (
        "undecided at 5000 of 5000 planned units: +0.2 points of task_completion_rate,"
        " 95 % always-valid interval -3.2 to +3.6 of treatment"
    )
    more = judge(Plan(guardrails=(), units=5001), there)
    assert more.state is AbState.COLLECTING
    assert more.verdict == "collecting: 5000 of 5001 units, and nothing is told yet"


def test_the_planned_units_are_those_of_all_variants_together() -> None:
    there = [variant(name, 500, 2000, weight=1 / 3) for name in ("control", "one", "two")]
    found = judge(ALONE, there)
    assert {one.state for one in found.comparisons} == {AbState.UNDECIDED}
    assert found.verdict.startswith("undecided at 6000 of 5000 planned units: +0.0 points")
    more = judge(Plan(guardrails=(), units=6001), there)
    assert more.verdict == "collecting: 6000 of 6001 units, and nothing is told yet"


def test_intervals_of_several_variants_are_narrowest_for_what_is_planned_of_those_compared() -> (
    None
):
    def width(n: int, planned: int) -> float:
        names = ("control", "one", "two", "three")
        found = judge(
            Plan(guardrails=(), units=planned),
            [variant(name, n // 2, n, weight=0.25) for name in names],
        ).comparisons[0]
        return found.interval.high - found.interval.low

    # 1,000 units of each of four.
    assert width(1000, 4000) < min(width(1000, 2000), width(1000, 8000))


def test_that_there_is_no_difference_that_matters_can_be_shown_before() -> None:
    there = [variant("control", 5000, 10_000), variant("treatment", 5010, 10_000)]
    plan = Plan(guardrails=(), units=10**6, minimum_effect=0.05)
    found = judge(plan, there)
    assert found.state is AbState.NO_DIFFERENCE
    assert found.verdict.startswith(
        "no variant is 5 points or more apart from control: +0.1 points of task_completion_rate"
    )


@pytest.mark.parametrize(
    ("n", "state"), [(2_500, AbState.UNDECIDED), (40_000, AbState.NO_DIFFERENCE)]
)
def test_no_difference_is_shown_only_where_the_interval_leaves_what_matters_out(
    n: int, state: AbState
) -> None:
    plan = Plan(guardrails=(), minimum_effect=0.02)
    same = [variant("control", n // 10, n), variant("treatment", n // 10, n)]
    assert judge(plan, same).state is state


def test_a_difference_that_matters_is_not_called_none_because_few_units_were_planned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """10 % against 12 %, a look after every 1,000 units: what is said first of 30 tests."""
    monkeypatch.setattr(bayes, "DRAWS", 10)
    rng = np.random.default_rng(4)
    plan = Plan(guardrails=(), minimum_effect=0.02)
    first = []
    for _ in range(30):
        done = np.cumsum(rng.random((2, 12_500)) < [[0.10], [0.12]], axis=1)
        for n in range(500, 12_501, 500):
            there = [
                VariantSums(name, 0.5, n, metrics={RATE: MetricSums(of_share(count, n))})
                for name, count in zip("ab", done[:, n - 1].tolist(), strict=True)
            ]
            state = judge(plan, there).state
            if state not in (AbState.COLLECTING, AbState.UNDECIDED):
                break
        first.append(state)
    # At alpha one of 20 may be: as chance allows.
    assert first.count(AbState.NO_DIFFERENCE) + first.count(AbState.WORSE) <= 2
    assert first.count(AbState.BETTER) > 20


def test_that_fewer_units_are_planned_than_it_takes_is_remarked() -> None:
    there = [variant("control", 250, 2500), variant("treatment", 300, 2500)]
    found = judge(Plan(guardrails=(), minimum_effect=0.02), there)
    assert found.state is AbState.UNDECIDED
    needed = found.outlook.required_units
    assert found.remarks == (
        f"5000 units are planned, and it takes {needed} of all variants together to show a"
        " difference of 2 points with a power of 80 %: before that the test may well be undecided",
    )
    assert needed > 2 * 7_000
    assert judge(Plan(guardrails=(), minimum_effect=0.02, units=20_000), there).remarks == ()


def test_a_guardrail_is_not_worse_than_is_tolerated_only_where_it_is_held() -> None:
    plan = Plan(guardrails=("error_rate:0.001",))
    there = [
        variant(name, 1000, 2500, error_rate=rate(200, 2500)) for name in ("control", "treatment")
    ]
    guarded = judge(plan, there).comparisons[1]
    assert (guarded.standing, guarded.state) == (Standing.OPEN, AbState.UNDECIDED)


def test_shares_of_units_with_one_trial_each_have_the_two_proportion_test_beside_them() -> None:
    plan = Plan(guardrails=("cost_per_unit",))

    def told(each: float) -> list[float | None]:
        sides = []
        for name, successes, n in (("control", 40, 420), ("treatment", 60, 400)):
            values = np.repeat([each, 0.0], [successes, n - successes])
            metrics = {
                RATE: MetricSums(of_values(values, np.full(n, each))),
                "cost_per_unit": MetricSums(of_values(np.arange(float(n)))),
            }
            sides.append(VariantSums(name, 0.5, n, metrics=metrics))
        return [one.two_proportions_p for one in judge(plan, sides).comparisons]

    table = [[60, 340], [40, 380]]
    expected = stats.chi2_contingency(table, correction=False).pvalue
    assert told(1.0) == [pytest.approx(expected, rel=1e-9), None]
    # Tasks of one unit are not drawn one by one.
    assert told(3.0) == [None, None]


def test_few_units_are_no_verdict_however_far_they_are_apart() -> None:
    n = LEAST_UNITS - 1
    verdict = judge(ALONE, [variant("control", 0, n), variant("treatment", n, n)])
    assert verdict.state is AbState.COLLECTING
    assert verdict.verdict == f"collecting: control has {n} of at least {LEAST_UNITS} units"
    assert all(figure.value is None for figure in verdict.figures)


def test_a_split_that_does_not_hold_withholds_the_result() -> None:
    verdict = judge(ALONE, [variant("control", 500, 1000), variant("treatment", 1000, 1400)])
    assert verdict.state is AbState.SAMPLE_RATIO_MISMATCH
    assert (verdict.figures, verdict.comparisons, verdict.best) == ((), (), {})
    assert verdict.sample_ratio_p < 1e-10
    after = judge(
        ALONE,
        [variant("control", 500, 1000), variant("treatment", 1000, 1400)],
        split_changed=True,
    )
    assert after.state is AbState.BETTER
    assert after.sample_ratio_p is None


def test_the_sample_ratio_of_one_look_is_the_published_one() -> None:
    assert sample_ratio_p([1000, 1200], [0.5, 0.5]) == pytest.approx(2.0079e-5, rel=1e-4)


@pytest.mark.parametrize("n", [300, 1_500, 30_000, 10**6])
@pytest.mark.parametrize("earlier", [(), (0.01,)])
def test_units_are_held_to_the_slots_that_variants_have_had(
    n: int, earlier: tuple[float, ...]
) -> None:
    """Three equal variants have 4, 3 and 3 slots at 0.1 %, and 34, 33 and 33 at 1 %."""
    shares = shares_at([1 / 3] * 3, 0.001, earlier)
    there = [
        VariantSums(name, share.now, round(n * share.now), most=share.most)
        for name, share in zip("abc", shares, strict=True)
    ]
    assert judge(ALONE, there).state is not AbState.SAMPLE_RATIO_MISMATCH
    third = [VariantSums(name, 1 / 3, one.units) for name, one in zip("abc", there, strict=True)]
    assert (judge(ALONE, third).state is AbState.SAMPLE_RATIO_MISMATCH) == (n >= 1_500)


def test_of_a_split_that_a_ramp_has_changed_a_little_more_than_that_is_told() -> None:
    shares = shares_at([1 / 3] * 3, 1.0, [0.01])

    def state(*units: int) -> tuple[AbState, float | None]:
        found = judge(
            ALONE,
            [
                VariantSums(name, share.now, count, most=share.most)
                for name, share, count in zip("abc", shares, units, strict=True)
            ],
        )
        return found.state, found.sample_ratio_p

    # What has come by either, and by both one after the other, is as it was to be.
    for units in ((34_000, 33_000, 33_000), (33_334, 33_333, 33_333), (33_700, 33_150, 33_150)):
        assert state(*units)[0] is not AbState.SAMPLE_RATIO_MISMATCH
    # One split to hold the units to in one look there is not.
    assert state(40_000, 30_000, 30_000) == (AbState.SAMPLE_RATIO_MISMATCH, None)
    # Halves are halves at any coverage of whole slots.
    assert all(share.most is None for share in shares_at([0.5, 0.5], 1.0, [0.01, 0.1]))


def test_units_with_two_variants_make_a_test_invalid() -> None:
    few = [variant("control", 500, 1000, mixed=5), variant("treatment", 900, 1000)]
    assert judge(ALONE, few).state is AbState.BETTER
    many = [variant("control", 500, 1000, mixed=50), variant("treatment", 900, 1000)]
    verdict = judge(ALONE, many)
    assert verdict.state is AbState.INVALID
    assert verdict.verdict.startswith("50 of 2050 units were given two variants")
    assert verdict.comparisons == ()


def test_what_is_unknown_of_many_units_is_not_compared() -> None:
    plan = Plan(guardrails=("cost_per_unit",))

    def cost(unknown: int) -> MetricSums:
        return MetricSums(of_values(np.arange(900.0)), unknown)

    there = [
        variant("control", 500, 1000, cost_per_unit=cost(100)),
        variant("treatment", 700, 1000, cost_per_unit=cost(0)),
    ]
    verdict = judge(plan, there)
    assert verdict.state is AbState.BETTER
    compared = {one.metric: one for one in verdict.comparisons}
    assert compared["cost_per_unit"].difference is None
    assert (
        compared["cost_per_unit"].reason == "part of it is unknown of 100 of 1000 units of control"
    )


def test_a_harmed_guardrail_is_told_beside_the_verdict() -> None:
    plan = Plan(guardrails=("error_rate",))
    there = [
        variant("control", 1000, 5000, error_rate=rate(100, 5000)),
        variant("treatment", 1300, 5000, error_rate=rate(400, 5000)),
    ]
    verdict = judge(plan, there)
    assert verdict.harmed == (("treatment", "error_rate"),)
    assert verdict.verdict.endswith("; but worse is error_rate of treatment")


@pytest.mark.parametrize(
    ("guardrail", "errors", "standing", "state"),
    [
        # 8 % of 5,000 errors in the control.
        ("error_rate", 520, Standing.HARMED, AbState.WORSE),
        ("error_rate", 405, Standing.OPEN, AbState.COLLECTING),
        ("error_rate", 280, Standing.HELD, AbState.BETTER),
        ("error_rate:0.02", 520, Standing.OPEN, AbState.COLLECTING),
        ("error_rate:0.02", 620, Standing.HARMED, AbState.WORSE),
        ("error_rate:0.04", 405, Standing.HELD, AbState.NO_DIFFERENCE),
        ("error_rate:0.04", 280, Standing.HELD, AbState.NO_DIFFERENCE),
        ("error_rate:25%", 520, Standing.OPEN, AbState.COLLECTING),
        ("error_rate:25%", 700, Standing.HARMED, AbState.WORSE),
        ("error_rate:50%", 405, Standing.HELD, AbState.NO_DIFFERENCE),
    ],
)
def test_a_guardrail_is_harmed_by_more_than_is_tolerated_and_held_by_surely_less(
    guardrail: str, errors: int, standing: Standing, state: AbState
) -> None:
    plan = Plan(guardrails=(guardrail,), units=20_000)
    verdict = judge(
        plan,
        [
            variant("control", 1000, 5000, error_rate=rate(400, 5000)),
            variant("treatment", 1000, 5000, error_rate=rate(errors, 5000)),
        ],
    )
    found = next(one for one in verdict.comparisons if one.metric == "error_rate")
    assert (found.standing, found.state, found.unit) == (standing, state, "share")
    assert bool(verdict.harmed) == (standing is Standing.HARMED)
    assert found.difference == pytest.approx((errors - 400) / 5000)
    margin = plan.guardrails[0].margin
    if plan.guardrails[0].relative_margin is None:
        # The interval says what the p-value says.
        assert (standing is Standing.OPEN) == (found.interval.low <= margin <= found.interval.high)


def test_of_what_should_be_large_a_margin_is_how_much_may_be_lost() -> None:
    plan = Plan(success_metric="error_rate", guardrails=("task_completion_rate:0.05",))

    def standing(successes: int) -> Standing | None:
        there = [
            variant("control", 2500, 5000, error_rate=rate(100, 5000)),
            variant("treatment", successes, 5000, error_rate=rate(100, 5000)),
        ]
        return judge(plan, there).comparisons[1].standing

    assert [standing(n) for n in (2000, 2250, 2500)] == [
        Standing.HARMED,
        Standing.OPEN,
        Standing.HELD,
    ]


def test_a_margin_of_a_quantile_is_in_its_unit() -> None:
    values = np.rint(np.random.default_rng(5).lognormal(6, 0.3, 5000)).astype(int)

    def timed(name: str, shift: int) -> VariantSums:
        spread = MetricSums(Moments(0, 0.0, 0.0), spread=Histogram.from_values(values + shift))
        return VariantSums(
            name, 0.5, 5000, metrics={RATE: rate(1000, 5000), "llm_latency_p50": spread}
        )

    def standing(margin: float, shift: int) -> Standing | None:
        plan = Plan(guardrails=(f"llm_latency_p50:{margin}",))
        return judge(plan, [timed("control", 0), timed("treatment", shift)]).comparisons[1].standing

    assert standing(0.0, 100) is Standing.HARMED
    assert standing(0.1, 100) is Standing.OPEN
    assert standing(0.2, 100) is Standing.HELD


def test_an_own_metric_is_compared_with_all_others_and_is_no_guardrail() -> None:
    retries = {"name": "retries", "numerator": "attempts", "larger_is_better": False}
    plan = Plan(guardrails=(), metrics=(retries,))
    more = MetricSums(of_values(np.repeat([1.0, 2.0], 2500)))
    verdict = judge(
        plan,
        [
            variant("control", 1000, 5000, retries=MetricSums(Moments(5000, 1.0, 1e-9))),
            variant("treatment", 1000, 5000, retries=more),
        ],
    )
    found = verdict.comparisons[1]
    assert (found.metric, found.state, found.standing) == ("retries", AbState.WORSE, None)
    assert (found.unit, found.difference) == ("attempts", pytest.approx(0.5))
    assert found.p_adjusted == pytest.approx(2 * found.p_value)
    assert verdict.harmed == ()
    assert verdict.state is not AbState.WORSE


def test_a_figure_says_how_many_units_are_above_the_cap() -> None:
    plan = Plan(guardrails=("cost_per_unit",), winsorize={"cost_per_unit": 0.1})
    cost = MetricSums(of_values(np.arange(5000.0)), capped=7)
    verdict = judge(
        plan,
        [variant(name, 1000, 5000, cost_per_unit=cost) for name in ("control", "treatment")],
    )
    assert [(one.metric, one.capped) for one in verdict.figures[::2]] == [
        (RATE, None),
        ("cost_per_unit", 7),
    ]


def test_of_several_variants_each_is_compared_and_all_p_values_are_adjusted() -> None:
    there = [
        variant("control", 1000, 5000, weight=0.25),
        variant("same", 1004, 5000, weight=0.25),
        variant("little", 1120, 5000, weight=0.25),
        variant("more", 1300, 5000, weight=0.25),
    ]
    verdict = judge(ALONE, there)
    assert verdict.verdict.startswith("more is better than control: +6.0 points")
    for one in verdict.comparisons:
        assert one.p_adjusted >= one.p_value
        told = one.p_adjusted <= ALONE.alpha
        # The interval says what the p-value says.
        assert told == (not one.interval.low <= 0 <= one.interval.high)
        assert told == (one.state is AbState.BETTER)
    assert verdict.best["more"].probability_best > 0.99
    assert sum(one.probability_best for one in verdict.best.values()) == pytest.approx(1)


def test_what_it_takes_is_said_and_how_long_it_takes_at_todays_rate() -> None:
    plan = Plan(guardrails=(), units=15_000, minimum_effect=0.02)
    there = [variant("control", 100, 1000), variant("treatment", 120, 1000)]
    outlook = judge(plan, there, units_a_day=568).outlook
    assert outlook is not None
    # One look at 80 % power takes 3,838 of each; to look at any time takes about twice as many.
    needed = outlook.required_units
    assert 1.9 < needed / (2 * 3838) < 2.1
    assert outlook.days_left == pytest.approx((needed - 2000) / 568)
    assert 0.05 < outlook.minimum_detectable_effect < 0.08
    guarded = judge(Plan(units=15_000, minimum_effect=0.02), there).outlook
    # Of four comparisons the first has to be further away.
    assert guarded.required_units > 1.2 * needed


def test_a_variant_with_a_small_share_takes_more_units_of_all() -> None:
    plan = Plan(guardrails=(), units=15_000, minimum_effect=0.02)
    halves = [variant("control", 1000, 10_000), variant("b", 1200, 10_000)]
    ninths = [variant("control", 1800, 18_000, weight=0.9), variant("b", 240, 2000, weight=0.1)]
    even, uneven = (judge(plan, there, units_a_day=100).outlook for there in (halves, ninths))
    # 1 / (0.9 x 0.1) against 1 / (0.5 x 0.5), and a little more beyond what is planned.
    assert 0.25 / 0.09 < uneven.required_units / even.required_units < 1.2 * 0.25 / 0.09
    assert uneven.days_left == pytest.approx((uneven.required_units - 20_000) / 100)
    # Of several the one that takes the most counts.
    three = [
        variant("control", 180, 1800, weight=0.45),
        variant("b", 216, 1800, weight=0.45),
        variant("c", 48, 400, weight=0.1),
    ]
    both = judge(plan, three[:2]).outlook
    assert judge(plan, three).outlook.required_units > 1.5 * both.required_units


def test_what_was_known_of_units_before_makes_fewer_do() -> None:
    rng = np.random.default_rng(9)
    plan = Plan(success_metric="cost_per_unit", guardrails=(), minimum_effect=1e-10)

    def needed(known: float) -> int:
        before = rng.gamma(4.0, 1.0, (2, 3000))
        cost = known * before + (1 - known) * rng.gamma(4.0, 1.0, (2, 3000))
        sides = [
            VariantSums(name, 0.5, 3000, metrics={"cost_per_unit": MetricSums(of_values(*both))})
            for name, *both in zip("ab", cost, before, strict=True)
        ]
        return judge(plan, sides).outlook.required_units

    assert needed(0.9) < 0.1 * needed(0.0)


def test_an_effect_that_no_number_of_units_shows_leaves_the_verdict_readable() -> None:
    plan = Plan(guardrails=(), minimum_effect=5e-324, alpha=1e-6, power=0.999)
    both = [variant("control", 100, 1000), variant("treatment", 120, 1000)]
    outlook = judge(plan, both, units_a_day=568).outlook
    assert outlook is not None
    assert (outlook.required_units, outlook.days_left) == (None, None)


def test_a_variant_without_a_finished_task_says_so() -> None:
    nothing = MetricSums(of_values(np.zeros(40), np.zeros(40)))
    both = [VariantSums(name, 0.5, 40, metrics={RATE: nothing}) for name in ("control", "other")]
    assert judge(ALONE, both).verdict == "collecting: control has no finished task yet"


def test_units_that_are_all_alike_do_not_show_that_there_is_no_difference() -> None:
    plan = Plan(guardrails=(), minimum_effect=0.05)
    verdict = judge(plan, [variant("control", 0, 40), variant("treatment", 0, 40)])
    assert verdict.state is AbState.COLLECTING
    # Nor that a rate is 0.
    low, high = verdict.figures[0].interval
    assert low == 0.0 < 0.05 < high


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"success_metric": "joy"},
            "success metric 'joy': expected one of success, task_completion_rate",
        ),
        ({"guardrails": (RATE,)}, "named twice"),
        ({"alpha": 0.9}, "expected 0 < alpha < power < 1"),
        ({"units": 3}, "3 units; expected 60 or more"),
        ({"minimum_effect": 0.0}, "minimum effect 0.0; expected a number above 0"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Plan(**wrong)


def test_one_variant_is_no_test() -> None:
    with pytest.raises(ValueError, match="1 variants; expected 2 or more"):
        judge(ALONE, [variant("control", 1, 2)])


def test_of_sixteen_comparisons_at_every_look_hardly_any_is_told_where_nothing_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A/A of five variants by four metrics: without Holm half of the tests would tell one."""
    # Who is probably the best decides nothing here.
    monkeypatch.setattr(bayes, "DRAWS", 10)
    rng = np.random.default_rng(7)
    names, metrics = "abcde", (RATE, "error_rate", "one", "two")
    own = [
        {"name": name, "numerator": "errors", "denominator": "tasks", "larger_is_better": False}
        for name in metrics[2:]
    ]
    plan = Plan(guardrails=("error_rate",), metrics=own, units=1500, alpha=0.2)
    looks = [30, 60, 100, 200, 400, 800, 1600]
    runs, wrong, seeming = 40, 0, 0
    for _ in range(runs):
        done = np.cumsum(rng.random((5, 4, looks[-1])) < 0.4, axis=2)
        told = apart = False
        for n in looks:
            there = [
                VariantSums(
                    name,
                    0.2,
                    n,
                    metrics={
                        metric: MetricSums(of_share(int(done[i, j, n - 1]), n))
                        for j, metric in enumerate(metrics)
                    },
                )
                for i, name in enumerate(names)
            ]
            compared = judge(plan, there).comparisons
            assert len(compared) == 16
            told |= any(one.state in (AbState.BETTER, AbState.WORSE) for one in compared)
            apart |= any(one.p_value <= plan.alpha for one in compared)
        wrong += told
        seeming += apart
    # Without Holm it would be as many as seem to be.
    assert seeming >= 15
    assert wrong <= 4


class TestQuantiles:
    rng = np.random.default_rng(3)

    def test_the_interval_holds_the_quantile_and_narrows(self) -> None:
        true = float(np.exp(6 + 0.8 * 1.6448536269514722))
        widths = []
        for n in (100, 1000, 10_000, 100_000):
            values = np.rint(self.rng.lognormal(6, 0.8, n)).astype(int)
            found = confidence_sequence_of_quantile(Histogram.from_values(values), 0.95)
            assert found.low <= true <= found.high
            widths.append(found.high - found.low)
        assert widths == sorted(widths, reverse=True)
        # So few values have no upper end.
        assert widths[0] == float("inf")

    def test_a_shift_is_told_and_none_is_not(self) -> None:
        one, same, slower = (
            Histogram.from_values(np.rint(self.rng.lognormal(mean, 0.5, 5000)).astype(int))
            for mean in (6.0, 6.0, 6.4)
        )
        assert difference_of_quantiles(slower, one, 0.95).low > 0
        assert always_valid_p_of_quantiles(slower, one, 0.95) < 1e-3
        assert always_valid_p_of_quantiles(same, one, 0.95) == 1.0

    def test_of_nothing_nothing_is_known(self) -> None:
        assert confidence_sequence_of_quantile(Histogram.empty(), 0.5) is None
        one = Histogram.from_values([5])
        assert difference_of_quantiles(one, Histogram.empty(), 0.5) is None

    def test_a_verdict_compares_them(self) -> None:
        plan = Plan(success_metric="llm_latency_p95", guardrails=())

        def timed(name: str, mean: float) -> VariantSums:
            values = np.rint(self.rng.lognormal(mean, 0.5, 5000)).astype(int)
            spread = MetricSums(Moments(0, 0.0, 0.0), spread=Histogram.from_values(values))
            return VariantSums(name, 0.5, 5000, metrics={"llm_latency_p95": spread})

        verdict = judge(plan, [timed("control", 6.4), timed("treatment", 6.0)])
        assert verdict.state is AbState.BETTER
        assert "s of llm_latency_p95" in verdict.verdict
        assert verdict.comparisons[0].one_look is None
        assert METRICS["llm_latency_p95"].scale == 1e-3
