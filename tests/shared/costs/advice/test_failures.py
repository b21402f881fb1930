"""What failed and repeated calls have cost."""

from __future__ import annotations

from shared.costs.advice.failures import paid_failures
from shared.costs.advice.pieces import (
    Certainty,
)
from tests.shared.costs.advice.observations import (
    calls,
    only,
    recent,
)


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
