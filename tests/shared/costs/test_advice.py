"""Advice about costs: what it must show before it is given, and what it must not claim."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.costing import split_tests
from shared.abtest.lifecycle import create, start
from shared.costs.advice.advising import Advised, advise
from shared.costs.advice.caching import unused_caching
from shared.costs.advice.failures import paid_failures
from shared.costs.advice.futility import hopeless, never_succeeding
from shared.costs.advice.noninferiority import paired_loss_bounds, split_loss_bounds
from shared.costs.advice.observed import (
    Arm,
    CallGroup,
    RecentCalls,
    SplitTest,
    TaskCost,
    Traffic,
    Trial,
)
from shared.costs.advice.pieces import (
    Advice,
    Certainty,
    Kind,
    Saving,
    Section,
    in_a_month,
    ranked,
    unknown,
)
from shared.costs.advice.prompts import excess_share, long_prompts
from shared.costs.advice.reading import recent_calls
from shared.costs.advice.substitutes import cheaper_models
from shared.costs.prices import shipped_prices
from shared.database import TenantId, tenant_of, tenant_session
from shared.evaluation.tables import BenchmarkRun, Episode, EvaluationTask
from shared.jobs.tables import JobRow
from shared.registry.models import register
from shared.registry.tables import Model, ModelVersion
from shared.telemetry.histograms import Histogram
from shared.telemetry.ingestion import CallCost, ingest
from shared.telemetry.reading import Sums, Window
from shared.telemetry.retention import close_old_hours, keep_for
from shared.telemetry.rollups import roll_up_dirty_hours

NOW = datetime.now(UTC)
WINDOW = Window(NOW - timedelta(days=30), NOW)
MONTH = timedelta(days=30)
PRICES = shipped_prices()
NO_SUMS = Sums(*(0 for _ in range(17)))


def traffic(
    model: str = "dear@1",
    function: str = "checkout",
    lengths: Sequence[int] = (),
    tokens: Sequence[int] = (),
    **sums: int,
) -> Traffic:
    histograms = (Histogram.from_values(np.array(some, int)) for some in (lengths, tokens))
    return Traffic(model, function, replace(NO_SUMS, **sums), *histograms)


def calls(**changes: Any) -> CallGroup:
    values: dict[str, Any] = {
        "model": "dear@1",
        "function": "checkout",
        "provider": "openai",
        "llm_model": "gpt-4.1",
        "calls": 1000,
        "simulated": 0,
        "counted": 1000,
        "input_tokens": 5_000_000,
        "cached_tokens": 0,
        "commonest_error": None,
    }
    unset = {name: 0 for name in CallGroup.__dataclass_fields__ if name not in values}
    return CallGroup(**unset | values | changes)


def recent(*groups: CallGroup, days: float = 30, complete: bool = True) -> RecentCalls:
    return RecentCalls(groups, NOW - timedelta(days=days), NOW, complete)


def played(
    successes: Sequence[Sequence[bool]], nanos: int, **changes: Any
) -> dict[tuple[str, int], Trial]:
    """The episodes of one model: a row a task, a column a seed, each at about `nanos`."""
    return {
        (f"task-{task}", seed): replace(Trial(success, nanos + 10 * task + seed, 3, 0), **changes)
        for task, row in enumerate(successes)
        for seed, success in enumerate(row)
    }


ALL_OF_60 = [[True] * 3 for _ in range(60)]


def substitutes(
    models: dict[str, Any],
    used: Sequence[Traffic] = (),
    tests: Sequence[SplitTest] = (),
    *,
    functions: frozenset[str] = frozenset({"evaluation"}),
    simulated: frozenset[str] = frozenset(),
    margin: float = 0.05,
) -> Section:
    return cheaper_models(
        models,
        tests,
        used,
        MONTH,
        benchmark_functions=functions,
        simulated=simulated,
        margin=margin,
    )


def only(section: Section) -> Advice:
    (one,) = section.advice
    return one


def figure(advice: Advice, name: str) -> float:
    (value,) = (one.value for one in advice.evidence if one.name == name)
    return value


# ---- a cheaper model


def test_a_cheaper_model_that_loses_nothing_is_advised_for_the_traffic_of_the_dearer() -> None:
    models = {"dear@1": played(ALL_OF_60, 9_000), "cheap@1": played(ALL_OF_60, 1_000)}
    used = [
        traffic(tasks=500, successes=400, llm_calls=900, cost_nanos=4_500_000),
        traffic(function="evaluation", tasks=180, llm_calls=900, cost_nanos=10**9),
    ]
    one = only(substitutes(models, used))
    assert (one.kind, one.model) == (Kind.CHEAPER_MODEL, "dear@1")
    assert (one.saving.certainty, one.saving.nanos) == (Certainty.ESTIMATE, 500 * 8_000)
    assert one.saving.interval is not None
    assert one.saving.interval.low <= 4_000_000 <= one.saving.interval.high
    assert "cheap@1" in one.action
    assert "500 tasks" in one.saving.explanation
    assert figure(one, "tasks of dear@1 outside of benchmark runs") == 500


def test_a_saving_is_never_more_than_what_the_tasks_cost() -> None:
    models = {"dear@1": played(ALL_OF_60, 9_000), "cheap@1": played(ALL_OF_60, 1_000)}
    one = only(substitutes(models, [traffic(tasks=500, llm_calls=900, cost_nanos=1_000_000)]))
    assert one.saving.nanos == 1_000_000
    assert "no more than" in one.saving.explanation


def test_without_traffic_outside_of_benchmarks_the_saving_is_unknown_and_not_zero() -> None:
    models = {"dear@1": played(ALL_OF_60, 9_000), "cheap@1": played(ALL_OF_60, 1_000)}
    used = [traffic(function="evaluation", tasks=180, llm_calls=900, cost_nanos=10**9)]
    one = only(substitutes(models, used))
    assert (one.saving.certainty, one.saving.nanos) == (Certainty.UNKNOWN, None)
    assert "outside of benchmark runs" in one.saving.explanation


def test_too_few_pairs_or_tasks_are_no_evidence_and_that_is_said() -> None:
    few = [[True] * 3 for _ in range(9)]
    section = substitutes({"dear@1": played(few, 9_000), "cheap@1": played(few, 1_000)})
    assert not section.advice
    assert section.missing == (
        "cheap@1 and dear@1 have 27 scored episodes of 9 tasks in common; 30 of 10 tasks are"
        " needed",
    )


def test_a_difference_that_is_merely_not_significant_is_no_advice() -> None:
    """Ten tasks alike: the loss may still be 20 points and more."""
    alike = [[True] * 3 for _ in range(10)]
    models = {"dear@1": played(alike, 9_000), "cheap@1": played(alike, 1_000)}
    assert not substitutes(models).advice
    assert substitutes(models, margin=0.3).advice


def test_averages_of_different_tasks_are_never_compared() -> None:
    other = {(f"other/{task}", seed): one for (task, seed), one in played(ALL_OF_60, 10).items()}
    section = substitutes({"dear@1": played(ALL_OF_60, 9_000), "cheap@1": other})
    assert not section.advice
    assert "0 scored episodes of 0 tasks in common" in section.missing[0]


def test_a_model_that_loses_more_than_the_margin_is_not_advised() -> None:
    worse = [[True, True, task % 10 != 0] for task in range(60)]
    models = {"dear@1": played(ALL_OF_60, 9_000), "cheap@1": played(worse, 1_000)}
    assert not substitutes(models).advice


def test_of_several_models_that_are_good_enough_the_cheapest_is_advised() -> None:
    models = {
        "dear@1": played(ALL_OF_60, 9_000),
        "cheap@1": played(ALL_OF_60, 1_000),
        "middle@1": played(ALL_OF_60, 4_000),
    }
    advised = {one.model: one.action for one in substitutes(models).advice}
    assert set(advised) == {"dear@1", "middle@1"}
    assert "cheap@1" in advised["dear@1"]


def test_a_model_without_prices_or_calls_is_not_called_cheap() -> None:
    dear = played(ALL_OF_60, 9_000)
    unpriced = substitutes({"dear@1": dear, "cheap@1": played(ALL_OF_60, 0, unpriced_calls=1)})
    silent = substitutes({"dear@1": dear, "rules@1": played(ALL_OF_60, 0, calls=0)})
    assert not unpriced.advice
    assert not silent.advice
    assert "cheap@1 has 180 calls without a price" in unpriced.missing[0]
    assert "rules@1 reported no model calls" in silent.missing[0]


def test_unpriced_calls_of_the_dearer_make_the_saving_a_lower_bound() -> None:
    models = {
        "dear@1": played(ALL_OF_60, 9_000, unpriced_calls=1),
        "cheap@1": played(ALL_OF_60, 1_000),
    }
    one = only(substitutes(models, [traffic(tasks=10, llm_calls=20, cost_nanos=10**9)]))
    assert (one.saving.certainty, one.saving.nanos) == (Certainty.AT_LEAST, 80_000)


def test_a_simulated_price_is_marked() -> None:
    models = {"dear@1": played(ALL_OF_60, 9_000), "cheap@1": played(ALL_OF_60, 1_000)}
    assert only(substitutes(models, simulated=frozenset({"cheap@1"}))).simulated
    assert not only(substitutes(models)).simulated


def arm(model: str, successes: int, nanos: float, scored: int = 1000, **changes: Any) -> Arm:
    return replace(Arm(model, scored, successes, nanos, 100.0, 3 * scored, 0), **changes)


def test_an_ab_test_is_evidence_if_its_split_held_and_its_arms_are_large_enough() -> None:
    arms = (arm("dear@1", 900, 9_000), arm("cheap@1", 905, 1_000))
    one = only(substitutes({}, [], [SplitTest("prompt", arms)]))
    assert one.model == "dear@1"
    assert "A/B test prompt" in one.evidence[0].source
    mismatch = substitutes({}, [], [SplitTest("prompt", arms, mismatch=True)])
    assert not mismatch.advice
    assert "do not follow its weights" in mismatch.missing[0]
    small = (arm("dear@1", 29, 9_000, 29), arm("cheap@1", 29, 1_000, 29))
    assert not substitutes({}, [], [SplitTest("prompt", small)]).advice


def test_what_one_source_shows_to_be_worse_another_does_not_make_good() -> None:
    models = {"dear@1": played(ALL_OF_60, 9_000), "cheap@1": played(ALL_OF_60, 1_000)}
    arms = (arm("dear@1", 900, 9_000), arm("cheap@1", 700, 1_000))
    assert not substitutes(models, [], [SplitTest("prompt", arms)]).advice


@pytest.mark.parametrize("margin", [0, 1, -0.1, float("nan")])
def test_a_margin_is_a_share_of_successes(margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        substitutes({}, margin=margin)


# ---- bounds of a loss


def test_pairs_without_any_difference_bound_the_loss_by_the_number_of_tasks() -> None:
    bounds = paired_loss_bounds([[0] * 5 for _ in range(20)])
    assert bounds is not None
    z = 1.7291  # Student's 95 % quantile of 19 degrees
    assert bounds[1] == pytest.approx(z**2 / (20 + z**2), abs=1e-4)
    assert bounds[0] == pytest.approx(-bounds[1])


def test_bounds_of_one_task_are_not_known() -> None:
    assert paired_loss_bounds([]) is None
    assert paired_loss_bounds([[0, 1, -1]]) is None


def test_the_bounds_enclose_the_observed_loss_and_turn_round_with_it() -> None:
    differences = [[1, 0, 0], [0, -1, 0], [1, 0, 1], *([0] * 3 for _ in range(20))]
    turned = [[-value for value in some] for some in differences]
    bounds, back = paired_loss_bounds(differences), paired_loss_bounds(turned)
    assert bounds is not None
    assert back is not None
    assert bounds[0] < 2 / 69 < bounds[1]
    assert back == (pytest.approx(-bounds[1]), pytest.approx(-bounds[0]))


def test_at_a_loss_of_just_the_margin_a_model_seldom_passes() -> None:
    """At most one in twenty, and a margin for the luck of 400 draws (seeds alike within a task)."""
    rng = random.Random(11)

    def passes() -> bool:
        differences = []
        for _ in range(30):
            base = rng.choice((0.4, 0.7, 0.9))
            other = base - 0.05 - rng.choice((-0.1, 0.1))
            differences.append(
                [int(rng.random() < base) - int(rng.random() < other) for _ in range(5)]
            )
        bounds = paired_loss_bounds(differences)
        return bounds is not None and bounds[1] < 0.05

    assert sum(passes() for _ in range(400)) <= 32


def test_bounds_of_two_groups_are_those_of_newcombe() -> None:
    # Newcombe 1998, Table II, case (a): 56/70 - 48/80, at 95 % on both sides 0.0524 to 0.3339.
    low, high = split_loss_bounds(56, 70, 48, 80)
    assert 0.0524 < low < 0.2 < high < 0.3339
    with pytest.raises(ValueError, match="expected at least 1"):
        split_loss_bounds(0, 0, 1, 2)


# ---- prompt caching


def test_caching_that_is_not_used_saves_at_most_what_a_cached_token_costs_less() -> None:
    one = only(unused_caching(recent(calls()), PRICES, NOW))
    # gpt-4.1: $2.00 a million input tokens, $0.50 cached; five million were sent.
    assert one.saving.nanos == 7_500_000_000
    assert one.saving.certainty is Certainty.AT_MOST
    assert one.saving.interval == (0, 7_500_000_000)
    assert "not known" in one.saving.explanation


def test_what_is_cached_already_is_not_advised_again_nor_what_is_too_short() -> None:
    for group in (
        calls(cached_tokens=2_000_000),
        calls(input_tokens=900_000),
        calls(calls=99, counted=99),
        calls(provider="stand-in", llm_model="nothing"),
    ):
        assert not unused_caching(recent(group), PRICES, NOW).advice


def test_a_provider_without_a_cached_rate_has_nothing_to_gain() -> None:
    assert not unused_caching(
        recent(calls(provider="openai", llm_model="gpt-4")), PRICES, NOW
    ).advice


def test_who_does_not_say_how_much_was_cached_is_not_advised_but_told() -> None:
    section = unused_caching(recent(calls(counted=0, input_tokens=0, silent=1000)), PRICES, NOW)
    assert not section.advice
    assert "cached_input_tokens" in section.missing[0]


def test_unknown_rates_are_told_as_missing() -> None:
    for changes in ({"llm_model": None}, {"provider": "nobody"}):
        section = unused_caching(recent(calls(**changes)), PRICES, NOW)
        assert (section.advice, len(section.missing)) == ((), 1)


def test_the_price_of_the_stand_in_is_simulated() -> None:
    group = calls(provider="stand-in", llm_model="stand-in")
    assert only(unused_caching(recent(group), PRICES, NOW)).simulated


# ---- failed and repeated calls


def test_failed_calls_are_known_to_have_cost_what_was_paid_for_them() -> None:
    group = calls(failed=50, failed_nanos=3_000, commonest_error="timeout")
    one = only(paid_failures(recent(group, days=10)))
    assert (one.saving.certainty, one.saving.nanos) == (Certainty.ESTIMATE, 9_000)
    assert "timeout" in one.action
    share = one.evidence[0]
    assert (share.value, share.n) == (0.05, 1000)
    assert share.interval is not None


def test_repeated_calls_widen_the_saving_and_are_not_taken_for_failed_ones() -> None:
    both = only(
        paid_failures(recent(calls(failed=20, failed_nanos=200, repeated=20, repeated_nanos=300)))
    )
    assert (both.saving.nanos, both.saving.interval) == (200, (200, 500))
    alone = only(paid_failures(recent(calls(repeated=20, repeated_nanos=300))))
    assert (alone.saving.certainty, alone.saving.interval) == (Certainty.AT_MOST, (0, 300))


def test_failed_calls_without_a_price_make_the_saving_a_lower_bound_or_unknown() -> None:
    some = only(paid_failures(recent(calls(failed=20, failed_nanos=200, failed_unpriced=5))))
    assert (some.saving.certainty, some.saving.nanos) == (Certainty.AT_LEAST, 200)
    assert "unpriced: 5 calls" in some.saving.explanation
    none = only(paid_failures(recent(calls(failed=20, failed_unpriced=20))))
    assert (none.saving.certainty, none.saving.nanos) == (Certainty.UNKNOWN, None)


def test_a_few_failures_or_free_ones_are_no_pattern() -> None:
    assert not paid_failures(recent(calls(failed=9, failed_nanos=10**9))).advice
    assert not paid_failures(recent(calls(failed=500))).advice


# ---- long prompts


def test_calls_far_above_the_median_save_their_share_of_the_input() -> None:
    lengths = [1_000] * 900 + [21_000] * 100
    one = only(
        long_prompts([traffic(lengths=lengths, llm_calls=1000)], recent(calls()), PRICES, NOW)
    )
    share = figure(one, "of all that is sent, beyond it in these calls")
    assert share == pytest.approx(100 * 20_000 / 3_000_000, rel=0.01)
    # Five million tokens at $2.00 a million.
    assert one.saving.nanos == pytest.approx(share * 10_000_000_000, rel=0.001)
    assert figure(one, "calls far above it") == 0.1
    # Nothing shows that the long ones need not be long.
    assert one.saving.certainty is Certainty.AT_MOST


def test_a_model_that_sends_far_more_than_others_to_a_function_is_told() -> None:
    used = [
        traffic("dear@1", lengths=[9_000] * 200, llm_calls=200),
        traffic("lean@1", lengths=[1_000] * 200, llm_calls=200),
        traffic("else@1", "search", lengths=[9_000] * 200, llm_calls=200),
    ]
    one = only(long_prompts(used, recent(calls()), PRICES, NOW))
    assert (one.model, one.function) == ("dear@1", "checkout")
    assert one.saving.certainty is Certainty.ESTIMATE
    assert one.saving.nanos == pytest.approx(8 / 9 * 10_000_000_000, rel=0.01)
    assert one.saving.interval is not None


def test_prompts_that_differ_as_prompts_do_are_not_oversized() -> None:
    rng = np.random.default_rng(3)
    lengths = rng.lognormal(8, 0.5, 2000).astype(int)
    used = [traffic(lengths=lengths.tolist(), llm_calls=2000)]
    assert not long_prompts(used, recent(calls()), PRICES, NOW).advice


def test_tokens_are_looked_at_where_no_length_is_reported_and_neither_is_told() -> None:
    tokens = [1_000] * 900 + [21_000] * 100
    assert long_prompts(
        [traffic(tokens=tokens, llm_calls=1000)], recent(calls()), PRICES, NOW
    ).advice
    nothing = long_prompts([traffic(llm_calls=1000)], recent(calls()), PRICES, NOW)
    assert not nothing.advice
    assert "query_length" in nothing.missing[0]


def test_long_prompts_of_unknown_rates_save_an_unknown_amount() -> None:
    used = [traffic(lengths=[1_000] * 900 + [21_000] * 100, llm_calls=1000)]
    for groups in ((), (calls(provider=None),), (calls(counted=0),)):
        one = only(long_prompts(used, recent(*groups), PRICES, NOW))
        assert (one.saving.certainty, one.saving.nanos) == (Certainty.UNKNOWN, None)


def test_the_excess_of_nothing_is_nothing() -> None:
    assert excess_share(Histogram.empty(), 10, 40) == 0.0


# ---- what never succeeds


def test_a_rate_is_hopeless_only_when_enough_was_tried() -> None:
    assert not hopeless(0, 0)
    assert not hopeless(0, 72)
    assert hopeless(0, 73)
    assert not hopeless(5, 200)
    assert hopeless(3, 400)


def test_a_function_that_never_succeeds_saves_all_that_it_costs() -> None:
    used = [
        traffic(tasks=100, llm_calls=300, cost_nanos=5_000),
        traffic(function="search", tasks=100, successes=90, llm_calls=300, cost_nanos=5_000),
    ]
    one = only(never_succeeding(used, [], frozenset(), timedelta(days=15)))
    assert (one.function, one.saving.nanos) == ("checkout", 10_000)
    assert one.saving.certainty is Certainty.ESTIMATE


def task(name: str = "miniwob/a", model: str = "dear@1", **changes: Any) -> TaskCost:
    return replace(TaskCost(name, model, "evaluation", 80, 0, 1_000, 200, 0), **changes)


def test_a_benchmark_task_is_told_once_for_all_models_or_for_the_one_that_fails() -> None:
    both = [task(), task(model="cheap@1")]
    together = only(never_succeeding([], both, frozenset(), MONTH))
    assert (together.model, together.saving.nanos) == (None, 2_000)
    alone = [task(), task(model="good@1", successes=80)]
    assert only(never_succeeding([], alone, frozenset(), MONTH)).model == "dear@1"
    of_hopeless_function = [traffic(function="evaluation", tasks=80, llm_calls=200, cost_nanos=9)]
    told = only(never_succeeding(of_hopeless_function, [task()], frozenset(), MONTH))
    assert (told.function, told.saving.nanos) == ("evaluation", 9)


def test_what_never_succeeds_for_free_is_no_cost_and_without_a_price_is_unknown() -> None:
    free = traffic(tasks=100, llm_calls=100)
    assert not never_succeeding([free], [], frozenset(), MONTH).advice
    unpriced = traffic(tasks=100, llm_calls=100, unpriced_calls=100)
    one = only(never_succeeding([unpriced], [], frozenset(), MONTH))
    assert (one.saving.certainty, one.saving.nanos) == (Certainty.UNKNOWN, None)
    partly = traffic(tasks=100, llm_calls=100, unpriced_calls=1, cost_nanos=10)
    least = only(never_succeeding([partly], [], frozenset(), MONTH))
    assert (least.saving.certainty, least.saving.nanos) == (Certainty.AT_LEAST, 10)


# ---- ranking


def test_known_savings_come_before_upper_bounds_and_simulated_money_comes_last() -> None:
    def piece(name: str, saving: Saving, *, simulated: bool = False) -> Advice:
        return Advice(Kind.FAILED_CALLS, name, None, saving, (), "", simulated)

    def saving(certainty: Certainty, nanos: int) -> Saving:
        return Saving(certainty, nanos, None, "")

    pieces = [
        piece("nobody knows", unknown("no price")),
        piece("simulated", saving(Certainty.ESTIMATE, 10**12), simulated=True),
        piece("at most", saving(Certainty.AT_MOST, 10**11)),
        piece("small", saving(Certainty.ESTIMATE, 1)),
        piece("at least", saving(Certainty.AT_LEAST, 5)),
    ]
    assert [one.model for one in ranked(pieces)] == [
        "at least",
        "small",
        "at most",
        "nobody knows",
        "simulated",
    ]


def test_a_month_is_thirty_days() -> None:
    assert in_a_month(10, timedelta(days=15)) == 20
    with pytest.raises(ValueError, match="expected some time"):
        in_a_month(10, timedelta(0))


# ---- from the database


def event(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "llm_call",
        "event_id": str(uuid4()),
        "occurred_at": (NOW - timedelta(hours=3)).isoformat(),
        "model": "dear@1",
        "function": "checkout",
        "provider": "openai",
        "llm_model": "gpt-4.1",
        "input_tokens": 5000,
        "cached_input_tokens": 0,
        "output_tokens": 10,
        "query_length": 20_000,
    } | changes


def send(tenant: TenantId, *events: dict[str, Any], nanos: int | None = 1_000_000) -> None:
    lines = [json.dumps(one).encode() for one in events]
    with tenant_session(tenant) as session:
        ingest(session, lines, lambda _: CallCost(nanos, "a price"), NOW)
        roll_up_dirty_hours(session)


def look(tenant: TenantId) -> Advised:
    with tenant_session(tenant) as session:
        return advise(session, WINDOW, PRICES, split_tests(session), now=NOW)


def kinds(found: Advised) -> list[str]:
    return [one.kind.value for one in found.advice]


def registered(session: Session, model: str) -> ModelVersion:
    found = session.scalar(sa.select(ModelVersion).join(Model).where(Model.name == model))
    if found is not None:
        return found
    return register(session, model, "1.0.0", "rule-based", {}, check=lambda *_: None)


def put_run(
    session: Session,
    outcomes: dict[str, list[str]],
    nanos: dict[str, int],
    *,
    ab: str | None = None,
) -> None:
    """One run of these models' episodes, 3 seeds of each task, model by model in that order."""
    tenant_id = tenant_of(session)
    run = uuid4()
    split = {"ab": {"test": ab, "environment": "production"}} if ab else {}
    session.add(
        BenchmarkRun(
            id=run, tenant_id=tenant_id, benchmark="b", function="evaluation", specification=split
        )
    )
    session.flush()
    most = max(map(len, outcomes.values()))
    tasks: list[UUID] = [uuid4() for _ in range(-(-most // 3))]
    session.execute(
        sa.insert(EvaluationTask),
        [
            {
                "id": one,
                "tenant_id": tenant_id,
                "benchmark": "b",
                "name": f"task-{one}",
                "category": "click",
                "difficulty": "easy",
                "max_steps": 5,
                "timeout_seconds": 10,
                "actions": [],
            }
            for one in tasks
        ],
    )
    for model, ends in outcomes.items():
        version = registered(session, model)
        jobs = [uuid4() for _ in ends]
        session.execute(
            sa.insert(JobRow),
            [
                {
                    "id": job,
                    "tenant_id": tenant_id,
                    "kind": "evaluate_episode",
                    "queue": "evaluation",
                    "payload": {},
                    "status": "succeeded",
                    "max_attempts": 3,
                }
                for job in jobs
            ],
        )
        session.execute(
            sa.insert(Episode),
            [
                {
                    "id": uuid4(),
                    "tenant_id": tenant_id,
                    "run_id": run,
                    "task_id": tasks[number // 3],
                    "model_version_id": version.id,
                    "job_id": job,
                    "seed": number % 3,
                    "outcome": outcome,
                    "llm_calls": 2,
                    "cost_nanos": nanos[model] + number % 7,
                    "finished_at": NOW - timedelta(hours=1),
                    "unit_id": f"{model}-{number}" if ab else None,
                    "variant": model if ab else None,
                }
                for number, (job, outcome) in enumerate(zip(jobs, ends, strict=True))
            ],
        )


def test_a_tenant_without_data_gets_no_advice_and_is_told_what_is_missing(tenant: TenantId) -> None:
    found = look(tenant)
    assert found.advice == ()
    assert [section.kind for section in found.sections] == list(Kind)
    assert "two models on the same benchmark tasks" in found.sections[0].missing[0]


def test_advice_is_drawn_from_what_is_stored_and_only_of_the_own_tenant(tenant: TenantId) -> None:
    failed = [event(error_type="timeout") for _ in range(20)]
    again = [event(attributes={"attempt": 2}) for _ in range(15)]
    texts = [event(attributes={"attempt": "2"}) for _ in range(65)]
    ends = [
        {key: event()[key] for key in ("event_id", "occurred_at", "model", "function")}
        | {"kind": "task_end", "success": False}
        for _ in range(80)
    ]
    send(tenant, *failed, *again, *texts, *ends)
    found = look(tenant)
    assert kinds(found) == ["never_succeeds", "failed_calls", "prompt_caching"]
    never, failures, caching = found.advice
    assert never.saving.nanos == 100 * 1_000_000
    assert (failures.saving.nanos, failures.saving.interval) == (
        20_000_000,
        (20_000_000, 35_000_000),
    )
    assert caching.saving.nanos == 750_000_000
    assert not any(one.simulated for one in found.advice)


def test_unpriced_calls_are_never_a_saving_of_nothing(tenant: TenantId) -> None:
    send(tenant, *(event(error_type="timeout") for _ in range(20)), nanos=None)
    (one,) = look(tenant).advice
    assert (one.kind, one.saving.nanos) == (Kind.FAILED_CALLS, None)


def test_a_cheaper_model_is_found_in_benchmark_runs_and_saves_on_the_traffic(
    tenant: TenantId,
) -> None:
    with tenant_session(tenant) as session:
        won = ["success"] * 180
        put_run(session, {"dear": won, "cheap": won}, {"dear": 9_000, "cheap": 1_000})
    end = {key: event()[key] for key in ("occurred_at", "function")}
    ends = [
        end | {"event_id": str(uuid4()), "kind": "task_end", "success": True, "model": "dear@1.0.0"}
        for _ in range(40)
    ]
    send(tenant, *ends, event(model="dear@1.0.0"))
    (one,) = look(tenant).advice
    assert (one.kind, one.model) == (Kind.CHEAPER_MODEL, "dear@1.0.0")
    assert one.saving.nanos == 40 * 8_000


def test_episodes_that_an_ab_test_split_are_its_evidence_and_no_pairs(tenant: TenantId) -> None:
    won = ["success"] * 200
    with tenant_session(tenant) as session:
        for name in ("dear", "cheap"):
            registered(session, name)
        create(
            session,
            "prompt",
            [{"name": name, "weight": 0.5, "model": name} for name in ("dear", "cheap")],
        )
        start(session, "prompt")
    with tenant_session(tenant) as session:
        run = {"dear": won, "cheap": won}
        put_run(session, run, {"dear": 9_000, "cheap": 1_000}, ab="prompt")
        (test,) = split_tests(session)
    assert [(one.model, one.scored, one.successes) for one in test.arms] == [
        ("dear@1.0.0", 200, 200),
        ("cheap@1.0.0", 200, 200),
    ]
    assert test.arms[0].mean_nanos == pytest.approx(9_003, abs=1)
    (one,) = look(tenant).advice
    assert one.model == "dear@1.0.0"
    assert all("A/B test prompt" in found.source for found in one.evidence[:4])


def test_more_calls_than_are_looked_at_are_told_and_related_to_their_own_time(
    session: Session, tenant: TenantId
) -> None:
    old = (NOW - timedelta(days=20)).isoformat()
    events = [event() for _ in range(5)] + [event(occurred_at=old) for _ in range(5)]
    ingest(session, [json.dumps(one).encode() for one in events], lambda _: CallCost(1, "x"), NOW)
    part = recent_calls(session, WINDOW, NOW, at_most=5)
    assert (part.calls, part.complete) == (5, False)
    assert part.span == timedelta(hours=3)
    whole = recent_calls(session, WINDOW, NOW)
    assert (whole.calls, whole.complete, whole.span) == (10, True, MONTH)
    keep_for(session, 7)
    closed = close_old_hours(session, NOW)
    kept = recent_calls(session, WINDOW, NOW)
    assert (kept.calls, kept.complete, kept.since) == (5, False, closed)
