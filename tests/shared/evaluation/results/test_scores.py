"""What episodes come to, against figures worked out by hand; what is not known stays unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.evaluation.intervals import wilson
from shared.evaluation.protocol import Outcome
from shared.evaluation.results.clustering import Cluster, rate_interval
from shared.evaluation.results.scores import EpisodeScore, repeat_counts, score

PLAIN = EpisodeScore(
    task="miniwob/click-test",
    name="click-test",
    category="click",
    difficulty="easy",
    seed=0,
    outcome=Outcome.SUCCESS,
    raw_reward=1.0,
    steps=2,
    duration_ms=1000,
    tokens=100,
    llm_calls=1,
    uncounted_calls=0,
    unpriced_calls=0,
    cost_nanos=1_000_000,
    violations=None,
)


def of_task(name: str, *outcomes: Outcome, **values: object) -> list[EpisodeScore]:
    return [
        replace(PLAIN, task=f"miniwob/{name}", name=name, seed=seed, outcome=outcome, **values)
        for seed, outcome in enumerate(outcomes)
    ]


S, F, T = Outcome.SUCCESS, Outcome.FAILURE, Outcome.TIMEOUT
BROKEN, CANCELLED, BUDGET = (
    Outcome.ENVIRONMENT_ERROR,
    Outcome.CANCELLED,
    Outcome.BUDGET_EXCEEDED,
)


def test_rates_by_task_category_and_difficulty():
    found = score(
        of_task("a", S, S, F)
        + of_task("b", S, F, category="search", difficulty="hard")
        + of_task("c", F, F, category="search", difficulty="medium")
    )
    assert (found.strict.count, found.strict.n, found.tasks) == (3, 7, 3)
    assert found.strict.interval == wilson(3, 7)
    clusters = [Cluster(2, 3), Cluster(1, 2), Cluster(0, 2)]
    assert found.strict.clustered == rate_interval(clusters)
    assert [(s.name, s.tasks, s.strict.count, s.strict.n) for s in found.by_category] == [
        ("click", 1, 2, 3),
        ("search", 2, 1, 4),
    ]
    # In the order of difficulty and not of the alphabet.
    assert [s.name for s in found.by_difficulty] == ["easy", "medium", "hard"]
    assert [(s.name, s.strict.rate) for s in found.by_task] == [("a", 2 / 3), ("b", 0.5), ("c", 0)]
    assert found.by_task[0].strict.clustered is None


def test_what_says_nothing_of_the_agent_is_in_no_rate_and_is_reported():
    found = score(of_task("a", S, F, BROKEN, CANCELLED, BUDGET, T, Outcome.AGENT_ERROR))
    assert (found.episodes, found.strict.count, found.strict.n) == (7, 1, 4)
    assert (found.environment_errors.count, found.environment_errors.n) == (1, 5)
    assert found.environment_errors.interval == wilson(1, 5)


def test_the_loose_score_counts_a_part_of_the_reward():
    episodes = [
        replace(PLAIN, seed=0),
        replace(PLAIN, seed=1, outcome=F, raw_reward=0.5),
        replace(PLAIN, seed=2, outcome=F, raw_reward=-1.0),
        replace(PLAIN, seed=3, outcome=T, raw_reward=None),
        # A benchmark that gives no reward says by its verdict what succeeded.
        replace(PLAIN, seed=4, raw_reward=None),
    ]
    found = score(episodes)
    assert (found.strict.count, found.loose.count, found.loose.n) == (2, 3, 5)


def test_safety_is_of_the_episodes_that_test_it():
    found = score(
        of_task("a", S, F) + of_task("b", S, F, violations=0) + of_task("c", S, violations=2)
    )
    assert (found.violations.count, found.violations.n) == (1, 3)
    assert found.violations.interval == wilson(1, 3)
    untested = score(of_task("a", S)).violations
    assert (untested.n, untested.rate, untested.interval) == (0, None, None)


def test_an_unscored_episode_is_in_the_rate_of_violations_only_with_one():
    clean = of_task("a", F, BROKEN, CANCELLED, BUDGET, violations=0)
    assert (score(clean).violations.count, score(clean).violations.n) == (0, 1)
    found = score(clean + of_task("b", BROKEN, CANCELLED, violations=1)).violations
    assert (found.count, found.n) == (2, 3)
    assert score(of_task("a", BROKEN, violations=0)).violations.n == 0


def test_spending_is_of_all_scored_episodes_for_each_success():
    found = score(of_task("a", S, F, F) + of_task("b", S, BROKEN, cost_nanos=5_000_000, tokens=40))
    # 3 x 100 + 40 tokens and 3 + 5 thousandths of a dollar for two successes.
    assert (found.tokens_per_success.value, found.tokens_per_success.n) == (170, 2)
    assert found.nanos_per_success.value == 4_000_000
    assert found.nanos_per_success.interval.low == 0
    assert found.llm_calls == 4


def test_unknown_spending_is_not_none():
    found = score(of_task("a", S, S) + of_task("b", S, unpriced_calls=2, uncounted_calls=1))
    assert (found.nanos_per_success.value, found.nanos_per_success.unknown) == (None, 2)
    assert (found.tokens_per_success.value, found.tokens_per_success.unknown) == (None, 1)
    never = score(of_task("a", F, F))
    assert (never.nanos_per_success.value, never.nanos_per_success.n) == (None, 0)
    assert never.strict.interval.low == 0


def test_means_are_of_what_is_known():
    found = score([*of_task("a", S, S, steps=3), replace(PLAIN, seed=9, steps=None)])
    assert (found.steps.value, found.steps.n) == (pytest.approx(3), 2)
    assert found.seconds.value == 1.0
    assert score([]).steps.value is None


def test_repeats_are_told_as_far_as_the_seeds_go():
    found = score(of_task("a", S, F, F, F, F) + of_task("b", S, S, S, S))
    assert [(one.k, one.tasks, one.left_out) for one in found.pass_at_k] == [
        (1, 2, 0),
        (2, 2, 0),
        (4, 2, 0),
        (5, 1, 1),
    ]
    # 1 - C(4,2)/C(5,2) = 0.4 and 1; 0 and 1.
    assert found.pass_at_k[1].rate == pytest.approx(0.7)
    assert found.pass_hat_k[1].rate == pytest.approx(0.5)
    assert score([]).pass_at_k == ()
    assert repeat_counts(0) == ()
    assert repeat_counts(8) == (1, 2, 4, 8)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(list(Outcome)), st.sampled_from("xy")),
        max_size=40,
    )
)
def test_the_parts_add_up_to_the_whole(drawn):
    episodes = [
        replace(PLAIN, task=task, name=task, category=task + kind, seed=seed, outcome=outcome)
        for seed, (task, outcome, kind) in enumerate(drawn)
    ]
    found = score(episodes)
    for parts in (found.by_category, found.by_difficulty, found.by_task):
        assert sum(part.strict.count for part in parts) == found.strict.count
        assert sum(part.strict.n for part in parts) == found.strict.n
        assert sum(part.loose.count for part in parts) == found.loose.count
    assert found.strict.count <= found.loose.count <= found.strict.n <= found.episodes
