"""What the current window is compared with: the week before, or what was set or accepted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.drift.baselines import (
    EVERY,
    Baseline,
    BaselineError,
    BaselineKind,
    accept,
    remove_baseline,
    set_baseline,
)
from shared.drift.sweep import detect
from shared.drift.verdicts import DriftState
from shared.jobs.contracts import DetectDrift, LastRequests
from shared.registry.models import RegistryError
from shared.telemetry.reading import Window
from shared.tenancy.tables import AuditEntry
from tests.shared.drift.rollups import (
    JOB,
    NOON,
    WALKER,
    findings,
    latencies,
    roll_up,
    state_of,
    window,
)


def day(number: int) -> datetime:
    return NOON - timedelta(days=number)


def test_the_baseline_is_the_week_before_unless_one_was_set(session: Session) -> None:
    """The most particular one holds: of a function and model before that of a function."""
    for hour, scale in ((day(20), 1), (day(3), 2), (NOON, 2)):
        for function in ("shop", "search"):
            values = {"step_latency_ms": latencies(hour.day, scale=scale)}
            roll_up(session, hour, values, function=function)
    job = DetectDrift(current=window(NOON))

    def states() -> dict[str, str]:
        return {
            finding.function: finding.verdict.state.value
            for finding in detect(session, job, uuid4()).findings
            if finding.metric == "step_latency_ms"
        }

    assert states() == {"search": "stable", "shop": "stable"}
    fixed = Baseline(BaselineKind.FIXED, window=Window(day(20), day(19)))
    set_baseline(session, "shop", EVERY, fixed)
    assert states() == {"search": "stable", "shop": "drift"}
    accepted = accept(session, "shop", WALKER)
    assert accepted.window == Window(NOON, NOON + timedelta(hours=1))
    # What was accepted is the window itself here, and nothing came since.
    assert states() == {"search": "stable", "shop": "insufficient"}
    set_baseline(session, "shop", WALKER, Baseline(BaselineKind.PREVIOUS, timedelta(days=4)))
    assert states() == {"search": "stable", "shop": "stable"}
    assert remove_baseline(session, "shop", WALKER)
    assert not remove_baseline(session, "shop", WALKER)
    assert states() == {"search": "stable", "shop": "drift"}
    actions = session.scalars(
        sa.select(AuditEntry.action)
        .where(AuditEntry.action.like("drift.%"))
        .order_by(AuditEntry.id)
    ).all()
    assert actions == ["drift.baseline.set"] * 3 + ["drift.baseline.remove"]


def test_a_baseline_that_cannot_be_is_refused(session: Session) -> None:
    hour = timedelta(hours=1)
    later = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + 5 * hour
    for make, told in (
        (lambda: Baseline(BaselineKind.PREVIOUS, timedelta(minutes=90)), "whole hours"),
        (lambda: Baseline(BaselineKind.PREVIOUS, timedelta(0)), "from 1 hour"),
        (lambda: Baseline(BaselineKind.PREVIOUS), "has a length"),
        (lambda: Baseline(BaselineKind.FIXED, hour), "has a window"),
        (
            lambda: Baseline(BaselineKind.FIXED, window=Window(NOON, NOON + timedelta(minutes=30))),
            "whole hours",
        ),
        (
            lambda: set_baseline(
                session,
                EVERY,
                EVERY,
                Baseline(BaselineKind.FIXED, window=Window(later, later + hour)),
            ),
            "still to come",
        ),
        (lambda: accept(session, "nowhere", EVERY), "no sweep has looked at nowhere"),
    ):
        with pytest.raises(BaselineError, match=told):
            make()


def test_a_fixed_baseline_without_data_is_refused_with_when_there_is_some(
    session: Session,
) -> None:
    def fixed(first: int, last: int, model: str | None = None) -> Baseline:
        return Baseline(BaselineKind.FIXED, window=Window(day(first), day(last)), model=model)

    with pytest.raises(BaselineError, match=r"every model from [^;]+; there is none at all"):
        set_baseline(session, EVERY, EVERY, fixed(20, 10))
    roll_up(session, day(9), {})
    for function, model, baseline in (
        (EVERY, EVERY, fixed(20, 9)),
        ("shop", EVERY, fixed(20, 9)),
        ("shop", WALKER, fixed(8, 1)),
        ("shop", "walker@2.0.0", fixed(8, 1, WALKER)),
    ):
        told = "there is from 2026-02-23 12:00 to 13:00 UTC$"
        with pytest.raises(BaselineError, match=told):
            set_baseline(session, function, model, baseline)
    with pytest.raises(BaselineError, match="no data of search, every model"):
        set_baseline(session, "search", EVERY, fixed(20, 1))
    set_baseline(session, "shop", "walker@2.0.0", fixed(20, 1, WALKER))


def test_a_window_that_was_set_is_no_longer_than_a_length_may_be(session: Session) -> None:
    roll_up(session, day(9), {})
    for kind in (BaselineKind.FIXED, BaselineKind.ACCEPTED):
        longer = Baseline(kind, window=Window(day(367), NOON))
        with pytest.raises(BaselineError, match="367 days, 0:00:00; expected at most 366 days"):
            set_baseline(session, EVERY, EVERY, longer)
        set_baseline(session, EVERY, EVERY, Baseline(kind, window=Window(day(366), NOON)))


def test_windows_that_overlap_are_never_called_stable(session: Session) -> None:
    roll_up(session, NOON, {"tokens": latencies(1)})
    roll_up(session, NOON, {"tokens": latencies(2)}, function="mail")
    both = DetectDrift(baseline=window(NOON), current=window(NOON))
    found = findings(detect(session, both, uuid4()))[WALKER, "tokens"]
    assert (found.verdict.state, found.explanation) == (
        DriftState.INSUFFICIENT,
        "the windows overlap",
    )
    apart = DetectDrift(
        baseline=window(NOON, function="shop"), current=window(NOON, function="mail")
    )
    assert state_of(session, "tokens", apart) is DriftState.STABLE


def test_a_baseline_of_later_than_now_is_never_called_stable(session: Session) -> None:
    for part in (JOB.baseline, JOB.current):
        roll_up(session, part.start, {"tokens": latencies(1)})
    turned = DetectDrift(baseline=JOB.current, current=JOB.baseline)
    found = findings(detect(session, turned, uuid4()))[WALKER, "tokens"]
    assert (found.verdict.state, found.explanation) == (
        DriftState.INSUFFICIENT,
        "the baseline is later than the current window",
    )


def test_a_baseline_after_the_current_window_is_told(session: Session) -> None:
    for hour in (NOON, NOON + timedelta(hours=5)):
        roll_up(session, hour, {"tokens": latencies(hour.hour)})
    job = DetectDrift(baseline=window(NOON + timedelta(hours=5)), current=window(NOON))
    verdict = findings(detect(session, job, uuid4()))[WALKER, "tokens"].verdict
    assert verdict.state is DriftState.INSUFFICIENT
    assert verdict.reason == "the baseline is later than the current window"


def test_that_windows_cannot_be_compared_is_told_before_that_one_is_empty(
    session: Session,
) -> None:
    roll_up(session, NOON, {"tokens": latencies(1)})
    later = DetectDrift(baseline=window(NOON + timedelta(days=1)), current=window(NOON))
    found = findings(detect(session, later, uuid4()))
    assert (found[WALKER, "tokens"].verdict.state, found[WALKER, "tokens"].explanation) == (
        DriftState.INSUFFICIENT,
        "the baseline is later than the current window",
    )
    # What nobody ever sent is no data, and not a mistake of the windows.
    assert found[WALKER, "page_load_ms"].verdict.state is DriftState.NO_DATA


def test_windows_can_be_counted_in_requests(session: Session) -> None:
    """The newest hours that hold so many, and before them those that hold as many."""
    for ago, scale in ((9, 1), (7, 1), (5, 1), (3, 2), (1, 2)):
        hour = NOON - timedelta(hours=ago)
        values = {"tokens": latencies(ago, 100, scale=scale)}
        roll_up(session, hour, values, llm_calls=100)
    job = DetectDrift(current=LastRequests(requests=150, until=NOON))
    found = findings(detect(session, job, uuid4()))[WALKER, "tokens"]
    assert found.verdict.state is DriftState.DRIFT
    assert (found.verdict.n_baseline, found.verdict.n_current) == (200, 200)
    assert found.windows.current.start == NOON - timedelta(hours=3)
    assert found.windows.baseline.start == NOON - timedelta(hours=7)
    too_many = DetectDrift(current=LastRequests(requests=501, until=NOON))
    short = findings(detect(session, too_many, uuid4()))[WALKER, "tokens"].verdict
    assert short.state is not DriftState.STABLE
    assert (short.n_baseline, short.n_current) == (0, 500)


def test_windows_of_each_its_own_hold_what_is_read_of_it_alone(session: Session) -> None:
    functions = [f"function-{number}" for number in range(5)]
    for number, function in enumerate(functions):
        for hour in range(12):
            at = NOON - timedelta(hours=hour + 1)
            values = {"tokens": latencies(10 * number + hour, n=40)}
            calls = 20 * (number + 1)
            roll_up(session, at, values, function=function, llm_calls=calls, llm_errors=2)

    def sizes(function: str | None) -> dict[tuple[str, str], tuple[int, int]]:
        job = DetectDrift(current=LastRequests(requests=60, until=NOON, function=function))
        return {
            (finding.function, finding.metric): (
                finding.verdict.n_baseline,
                finding.verdict.n_current,
            )
            for finding in detect(session, job, uuid4()).findings
            if finding.metric in ("tokens", "error_rate")
        }

    together = sizes(None)
    assert together["function-0", "error_rate"] == (60, 60)
    assert together == {of: found for one in functions for of, found in sizes(one).items()}


def test_a_new_version_is_compared_with_the_one_before(session: Session) -> None:
    roll_up(session, JOB.baseline.start, {}, model="buyer@1.2.0", tasks=200, successes=180)
    roll_up(session, JOB.current.start, {}, model="buyer@1.3.0", tasks=200, successes=120)
    alone = findings(detect(session, JOB, uuid4()))
    assert alone["buyer@1.3.0", "success"].verdict.state is DriftState.NO_DATA
    before = JOB.baseline.model_copy(update={"model": "buyer@1.2.0"})
    job = JOB.model_copy(update={"baseline": before, "models": ("buyer@1.3.0",)})
    found = findings(detect(session, job, uuid4()))
    assert {model for model, _ in found} == {"buyer@1.3.0"}
    assert found["buyer@1.3.0", "success"].verdict.state is DriftState.DRIFT
    assert found["buyer@1.3.0", "success"].windows.baseline.model == "buyer@1.2.0"
    previous = Baseline(BaselineKind.PREVIOUS, timedelta(hours=1), model="buyer@1.2.0")
    set_baseline(session, EVERY, "buyer@1.3.0", previous)
    job = DetectDrift(current=JOB.current)
    assert (
        findings(detect(session, job, uuid4()))["buyer@1.3.0", "success"].verdict.state
        is DriftState.DRIFT
    )


def test_a_baseline_of_a_model_that_nobody_knows_is_refused(session: Session) -> None:
    before = JOB.baseline.model_copy(update={"model": "beyer@1.2.0"})
    with pytest.raises(RegistryError, match=r"no model 'beyer@1.2.0' is registered"):
        detect(session, JOB.model_copy(update={"baseline": before}), uuid4())


def test_only_a_baseline_names_a_model() -> None:
    with pytest.raises(ValueError, match="only the baseline names another"):
        DetectDrift(current=JOB.current.model_copy(update={"model": WALKER}))
