"""Sums of units: each event of an exposed unit once, whatever comes first and however it comes."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from shared.abtest import unit_sums
from shared.abtest.metrics import COMPONENTS, SUMMED, Kind
from shared.abtest.plan import Plan
from shared.abtest.tables import AbSum, AbTest, AbUnit
from shared.abtest.unit_sums import sum_units
from shared.database import TenantId, tenant_of, tenant_session
from shared.telemetry.events import Event, ExposureEvent, LlmCallEvent, TaskEndEvent
from shared.telemetry.histograms import Histogram
from shared.telemetry.ingestion import CallCost, store
from shared.telemetry.tables import UnitEvent
from shared.telemetry.units import unit_digest

NOW = datetime.now(UTC).replace(microsecond=0)
PLANNED = Plan(
    guardrails=("cost_per_unit", "llm_latency", "calls_per_unit"),
    winsorize={
        "cost_per_unit": {"value": 7e-9, "at": 7},
        "llm_latency": {"value": 0.02, "at": 20},
        "calls_per_unit": {"value": 1, "at": 1},
    },
    metrics=(
        {
            "name": "calls_per_task",
            "numerator": "llm_calls",
            "denominator": "tasks",
            "larger_is_better": False,
        },
        {
            "name": "cost_per_task",
            "numerator": "cost_nanos",
            "denominator": "tasks",
            "larger_is_better": False,
        },
        {"name": "errors_per_unit", "numerator": "errors", "larger_is_better": False},
    ),
)


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def a_test(
    session: Session, plan: Plan | None = None, status: str = "running", **rules: str
) -> UUID:
    test = AbTest(
        id=uuid4(),
        tenant_id=tenant_of(session),
        environment="production",
        name=f"t-{uuid4()}",
        status=status,
        success_metric="success",
        # Whole, for the timetable of other tests publishes those of all tenants.
        variants=[
            {"name": name, "weight": 0.5, "model": None, "payload": None, "slots": [slots]}
            for name, slots in (("new", [0, 5000]), ("old", [5000, 10000]))
        ],
        plan={} if plan is None else plan.model_dump(mode="json", exclude={"success_metric"}),
        rules=rules,
        table_version=1,
    )
    session.add(test)
    session.flush()
    return test.id


def end(session: Session, test: UUID, minutes: float) -> None:
    session.execute(sa.update(AbTest).where(AbTest.id == test).values(ended_at=at(minutes)))


def exposed(test: UUID, unit: str, variant: str = "new", minutes: float = 0) -> ExposureEvent:
    return ExposureEvent(
        event_id=uuid4(),
        occurred_at=at(minutes),
        test_id=test,
        unit_id=unit_digest(unit),
        variant=variant,
    )


def ended(unit: str, success: bool | None = True, minutes: float = 1) -> TaskEndEvent:
    return TaskEndEvent(
        event_id=uuid4(), occurred_at=at(minutes), unit_id=unit_digest(unit), success=success
    )


def called(unit: str, minutes: float = 1, **more: object) -> LlmCallEvent:
    return LlmCallEvent(
        event_id=uuid4(), occurred_at=at(minutes), unit_id=unit_digest(unit), **more
    )


def priced(call: LlmCallEvent) -> CallCost:
    return CallCost(call.input_tokens, "a price" if call.input_tokens is not None else "no tokens")


def send(session: Session, *events: Event) -> None:
    store(session, events, priced)


def unit(session: Session, test: UUID, name: str) -> AbUnit:
    found = session.get(AbUnit, (tenant_of(session), test, unit_digest(name)))
    assert found is not None
    session.refresh(found)
    return found


def sums(session: Session, test: UUID, metric: str = "task_completion_rate") -> dict[str, tuple]:
    rows = session.scalars(sa.select(AbSum).where(AbSum.test_id == test, AbSum.metric == metric))
    return {row.variant: (row.units, int(row.y), int(row.x)) for row in rows}


def test_an_event_counts_from_the_exposure_of_its_unit_on(session: Session) -> None:
    test = a_test(session)
    send(session, exposed(test, "ann"), ended("ann", minutes=-1), ended("ann"), ended("bob"))
    assert sum_units(session) == unit_sums.Summed(events=3, exposures=1)
    assert sums(session, test) == {"new": (1, 1, 1)}
    assert unit(session, test, "ann").tasks_before == 1
    assert session.scalars(sa.select(UnitEvent)).all() == []


@pytest.mark.parametrize("exposure_first", [True, False])
def test_an_exposure_that_comes_after_its_events_looks_back_for_them(
    session: Session, exposure_first: bool
) -> None:
    test = a_test(session)
    told = [[exposed(test, "ann")], [ended("ann"), ended("ann", False, 2)]]
    for batch in told if exposure_first else reversed(told):
        send(session, *batch)
        sum_units(session)
    assert sums(session, test) == {"new": (1, 1, 2)}


def test_an_exposure_that_turns_out_to_be_earlier_counts_from_then_on(session: Session) -> None:
    test = a_test(session)
    send(session, exposed(test, "ann", minutes=5), ended("ann", minutes=1), ended("ann", minutes=6))
    sum_units(session)
    assert sums(session, test) == {"new": (1, 1, 1)}
    send(session, exposed(test, "ann", minutes=0))
    sum_units(session)
    assert sums(session, test) == {"new": (1, 2, 2)}
    assert unit(session, test, "ann").tasks_before == 0


def test_a_unit_with_two_variants_is_taken_out_of_the_sums(session: Session) -> None:
    test = a_test(session)
    send(session, exposed(test, "ann", "old"), exposed(test, "bob", "old"), ended("ann"))
    sum_units(session)
    assert sums(session, test) == {"old": (2, 1, 1)}
    send(session, exposed(test, "ann", "new", minutes=3), ended("ann"))
    sum_units(session)
    assert sums(session, test) == {"old": (1, 0, 0)}
    assert unit(session, test, "ann").mixed


def test_a_unit_counts_in_every_test_it_is_in_and_in_no_other(session: Session) -> None:
    one, two, other = (a_test(session) for _ in range(3))
    send(session, exposed(one, "ann"), exposed(two, "ann", "old", minutes=2), ended("ann"))
    send(session, exposed(other, "bob"), exposed(uuid4(), "ann"))
    sum_units(session)
    assert [sums(session, test) for test in (one, two, other)] == [
        {"new": (1, 1, 1)},
        {"old": (1, 0, 0)},
        {"new": (1, 0, 0)},
    ]


def test_what_is_unknown_is_counted_and_not_zero(session: Session) -> None:
    test = a_test(session)
    send(session, exposed(test, "ann"), exposed(test, "bob"))
    send(session, called("ann", input_tokens=10, output_tokens=2), called("ann"))
    send(session, called("bob", input_tokens=7, output_tokens=2))
    sum_units(session)
    cost = session.scalars(sa.select(AbSum).where(AbSum.metric == "cost_per_unit")).one()
    assert (cost.units, cost.y, cost.unknown) == (1, Decimal(7), 1)


def test_where_units_are_spread_follows_what_each_unit_does(session: Session) -> None:
    test = a_test(session)
    send(session, exposed(test, "ann"), exposed(test, "bob"), exposed(test, "cid"))
    send(session, called("ann", latency_ms=100), called("bob", latency_ms=50))
    sum_units(session)
    send(session, called("ann", latency_ms=200), exposed(test, "bob", "old"))
    sum_units(session)
    spread = session.scalars(sa.select(AbSum.histogram).where(AbSum.metric == "llm_latency")).all()
    assert Histogram.from_bytes(spread[0]) == Histogram.from_values([150])


def test_a_draft_counts_nobody(session: Session) -> None:
    test = a_test(session, status="draft")
    send(session, exposed(test, "ann"), ended("ann"))
    sum_units(session)
    assert sums(session, test) == {}


@pytest.mark.parametrize("by_its_rules", [True, False])
def test_what_is_after_the_end_counts_for_nothing_and_what_was_before_counts_when_it_comes(
    session: Session, by_its_rules: bool
) -> None:
    if by_its_rules:
        test = a_test(session, ends_at=at(10).isoformat())
    else:
        test = a_test(session)
        end(session, test, 10)
    other = a_test(session)
    send(session, exposed(test, "ann"), exposed(other, "ann"), ended("ann", minutes=9))
    sum_units(session)
    send(session, ended("ann", minutes=10), exposed(test, "bob", minutes=10), ended("bob"))
    sum_units(session)
    assert sums(session, test) == {"new": (1, 1, 1)}
    assert sums(session, other) == {"new": (1, 2, 2)}
    # Told late, in either order: that a unit did something before the end, and was there by then.
    send(session, ended("ann", minutes=5), exposed(test, "bob"), ended("bob", minutes=12))
    sum_units(session)
    assert sums(session, test) == {"new": (2, 3, 3)}


def test_a_unit_above_the_cap_counts_as_the_cap_whatever_it_does_next(session: Session) -> None:
    test = a_test(session, PLANNED)
    send(session, exposed(test, "ann"), exposed(test, "bob"))
    for tokens in (2, 2, 30):
        send(session, called("ann", input_tokens=tokens, output_tokens=0))
        sum_units(session)
    send(session, called("bob", input_tokens=3, output_tokens=0))
    sum_units(session)
    row = session.scalars(sa.select(AbSum).where(AbSum.metric == "cost_per_unit")).one()
    assert (row.units, row.y, row.yy, row.capped) == (2, 7 + 3, 49 + 9, 1)


def test_a_units_time_is_capped_by_the_call_and_not_in_all(session: Session) -> None:
    test = a_test(session, PLANNED)
    send(session, exposed(test, "ann"), exposed(test, "bob"))
    send(session, *(called("ann", latency_ms=18) for _ in range(3)), called("bob", latency_ms=90))
    sum_units(session)
    row = session.scalars(sa.select(AbSum).where(AbSum.metric == "llm_latency")).one()
    assert (row.y, row.x, row.capped) == (3 * 18 + 20, 4, 1)


def test_own_metrics_are_summed_for_their_test_alone(session: Session) -> None:
    test, other = a_test(session, PLANNED), a_test(session)
    send(session, exposed(test, "ann"), exposed(other, "ann"), ended("ann"), called("ann"))
    sum_units(session)
    assert sums(session, test, "calls_per_task") == {"new": (1, 1, 1)}
    assert sums(session, other, "calls_per_task") == {}
    # A call of unknown cost makes the sum unknown, as in a metric that is built in.
    assert sums(session, test, "cost_per_task") == {"new": (0, 0, 0)}


Step = tuple[str, str, float]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("expose old", "expose new", "succeed", "fail", "call")),
        st.sampled_from(("ann", "bob", "cid")),
        st.sampled_from((-2.0, -1.0, 0.0, 1.0, 2.0)),
    ),
    min_size=1,
    max_size=25,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=STEPS,
    cuts=st.lists(st.integers(0, 25), max_size=5),
    until=st.sampled_from((-1.0, 1.0, 2.0, math.inf)),
    seed=st.integers(0, 99),
)
def test_the_sums_are_those_of_all_events_at_once(
    tenant: TenantId, steps: list[Step], cuts: list[int], until: float, seed: int
) -> None:
    """In whatever order events and exposures come, and however often some of them are summed.

    What is after the test's end comes after it; what was before comes before or after.
    """
    rng = random.Random(seed)
    with tenant_session(tenant) as session:
        test = a_test(session, PLANNED)
        # Other examples are other units: what one leaves must not be seen by the next.
        names = {name: f"{name}-{uuid4()}" for name in ("ann", "bob", "cid")}
        events = [_event(test, what, names[name], minutes) for what, name, minutes in steps]
        rng.shuffle(events)
        last = until if until < math.inf else 99
        late = [n for n, event in enumerate(events) if event.occurred_at >= at(last)]
        ends = rng.randint(0, min(late, default=len(events) - 1))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(unit_sums, "EVENTS_AT_ONCE", 4)
            patch.setattr(unit_sums, "EXPOSURES_AT_ONCE", 1)
            for number, event in enumerate(events):
                if number == ends and until < math.inf:
                    end(session, test, until)
                send(session, event)
                if number in cuts:
                    sum_units(session)
            while sum_units(session).more:
                pass
        # A variant that has lost its only unit has sums of nothing.
        found = {name: told for name, told in sums(session, test).items() if any(told)}
        assert found == _expected(events, at(last))
        _agrees_with_units(session, test)


def _event(test: UUID, what: str, name: str, minutes: float) -> Event:
    if what.startswith("expose"):
        return exposed(test, name, what.removeprefix("expose "), minutes)
    if what == "call":
        return called(name, minutes, input_tokens=5, output_tokens=1, latency_ms=30)
    return ended(name, what == "succeed", minutes)


def _expected(events: Iterable[Event], end: datetime) -> dict[str, tuple[int, int, int]]:
    """Of the completion rate, by the definition."""
    told = [event for event in events if isinstance(event, ExposureEvent)]
    since: dict[UUID, datetime] = {}
    variants: defaultdict[UUID, list[str]] = defaultdict(list)
    for one in told:
        since[one.unit_id] = min(one.occurred_at, since.get(one.unit_id, one.occurred_at))
        variants[one.unit_id].append(one.variant)
    found: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for unit_id, given_variants in variants.items():
        if len(set(given_variants)) > 1 or since[unit_id] >= end:
            continue
        of_variant = found[given_variants[0]]
        ends = [
            event
            for event in events
            if isinstance(event, TaskEndEvent)
            and event.unit_id == unit_id
            and since[unit_id] <= event.occurred_at < end
        ]
        of_variant[0] += 1
        of_variant[1] += sum(event.success is True for event in ends)
        of_variant[2] += len(ends)
    return {variant: (n, y, x) for variant, (n, y, x) in found.items()}


def _agrees_with_units(session: Session, test: UUID) -> None:
    """Each metric's sums are those of its units, capped, with squares and products."""
    units = session.scalars(sa.select(AbUnit).where(AbUnit.test_id == test, ~AbUnit.mixed)).all()
    for metric in (*SUMMED, *(own.made for own in PLANNED.metrics)):
        cap = PLANNED.winsorize.get(metric.name)
        most = math.inf if cap is None or cap.at is None else cap.at
        for row in session.scalars(
            sa.select(AbSum).where(AbSum.test_id == test, AbSum.metric == metric.name)
        ):
            of_variant = [one for one in units if one.variant == row.variant]
            beside = metric.denominator or metric.before
            ys = [getattr(one, metric.numerator) for one in of_variant]
            xs = [0 if beside is None else getattr(one, beside) for one in of_variant]
            if metric.kind is Kind.MEAN:
                above = [y > most for y in ys]
                ys, xs = [min(y, most) for y in ys], [min(x, most) for x in xs]
            else:
                # Nothing times no limit is nothing.
                limits = [most * x if x else 0 for x in xs] if cap else [math.inf] * len(ys)
                above = [y > limit for y, limit in zip(ys, limits, strict=True)]
                ys = [min(y, limit) for y, limit in zip(ys, limits, strict=True)]
            assert (row.units, row.y, row.x) == (len(ys), sum(ys), sum(xs))
            assert row.yy == sum(y * y for y in ys)
            assert row.xx == sum(x * x for x in xs)
            assert row.xy == sum(x * y for x, y in zip(xs, ys, strict=True))
            assert row.capped == sum(above)


def test_the_components_have_their_columns() -> None:
    assert set(COMPONENTS) <= set(AbUnit.__table__.columns.keys())
