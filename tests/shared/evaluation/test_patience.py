"""Whose fault it is when the time is over: decided from times alone."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.evaluation.agents import retrying
from shared.evaluation.agents.patience import Deadline, Patience, Waiting

TASK = Patience(task_seconds=30, call_seconds=60)


def test_an_endpoint_that_never_answered_is_at_fault_after_half_of_the_tasks_time() -> None:
    asked = Waiting(elapsed=0, waited=0, lost=0, slowest_answer=None)
    assert TASK.limit(asked) == 15
    assert not TASK.blames(asked)
    assert TASK.blames(Waiting(elapsed=15, waited=15, lost=15, slowest_answer=None))


def test_another_try_after_a_hanging_one_ends_before_the_task_does() -> None:
    again = Waiting(elapsed=16, waited=16, lost=16, slowest_answer=None)
    assert TASK.limit(again) == TASK.usable - 16
    assert TASK.usable < 30


def test_a_slow_model_that_answers_normally_runs_into_its_own_timeout() -> None:
    """Five seconds a call, and the sixth is under way when the time is over."""
    sixth = Waiting(elapsed=25, waited=0, lost=0, slowest_answer=5)
    assert sixth.elapsed + TASK.limit(sixth) > 30
    assert not TASK.blames(Waiting(elapsed=30, waited=5, lost=5, slowest_answer=5))


def test_a_quick_model_that_then_hangs_is_at_fault() -> None:
    hanging = Waiting(elapsed=20, waited=0, lost=0, slowest_answer=1)
    assert hanging.elapsed + TASK.limit(hanging) == TASK.usable
    assert TASK.blames(Waiting(elapsed=27, waited=7, lost=7, slowest_answer=1))


def test_failures_that_cost_half_of_the_time_in_many_small_pieces_are_at_fault() -> None:
    assert TASK.blames(Waiting(elapsed=28, waited=1, lost=15, slowest_answer=2))


def test_without_a_task_only_the_limit_of_a_call_counts() -> None:
    endless = Patience(math.inf, 60)
    assert endless.limit(Waiting(elapsed=9e9, waited=0, lost=9e9, slowest_answer=1)) == 60


SECONDS = st.floats(0, 4000)


@given(st.floats(0.1, 3600), st.floats(0.1, 600), SECONDS, SECONDS, SECONDS, st.none() | SECONDS)
def test_a_call_never_outlasts_its_limit_and_blame_never_comes_without_waiting(
    task: float, call: float, elapsed: float, waited: float, more: float, slowest: float | None
) -> None:
    patience = Patience(task, call)
    now = Waiting(elapsed + waited, waited, waited, slowest)
    assert patience.limit(now) <= min(call, task / 2)
    if patience.blames(now):
        assert waited >= min(call, task / 8)
        assert patience.blames(
            Waiting(elapsed + waited + more, waited + more, waited + more, slowest)
        )
    else:
        assert patience.limit(now) > 0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:00 GMT"}, 0),
    ],
)
def test_a_server_is_waited_for_as_long_as_it_asks(headers: dict[str, str], seconds: float) -> None:
    assert retrying.pause(1, headers) == seconds


@pytest.mark.parametrize("said", ["", "soon", "nan", "inf", "-3"])
def test_without_a_time_that_makes_sense_the_pause_doubles_up_to_eight_seconds(said: str) -> None:
    pauses = [retrying.pause(failures, {"retry-after": said}) for failures in (1, 2, 3, 9)]
    for pause, longest in zip(pauses, (0.5, 1, 2, 8), strict=True):
        assert 0.75 * longest <= pause <= longest


@pytest.mark.parametrize(
    ("status", "headers", "code", "again"),
    [
        (429, {}, None, True),
        (503, {}, None, True),
        (408, {}, None, True),
        (400, {}, None, False),
        (401, {}, None, False),
        (302, {}, None, False),
        (429, {}, "insufficient_quota", False),
        (429, {"x-should-retry": "false"}, None, False),
        (400, {"x-should-retry": "true"}, None, True),
    ],
)
def test_only_what_may_pass_is_tried_again(
    status: int, headers: dict[str, str], code: str | None, again: bool
) -> None:
    assert retrying.is_transient(status, headers, code) is again


def test_all_of_a_deadline_is_for_answers() -> None:
    deadline = Deadline(seconds=10, call_seconds=8)
    assert deadline.limit(Waiting(0, 0, 0, None)) == 8
    assert deadline.limit(Waiting(4, 4, 4, None)) == deadline.left(Waiting(4, 4, 4, None)) == 6
    assert deadline.limit(Waiting(11, 0, 0, 1)) < 0
    assert deadline.blames(Waiting(0, 0, 0, None))
