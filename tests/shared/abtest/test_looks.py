"""What the looks at a test leave behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.inference.estimates import Moments
from shared.abtest.judging import judge
from shared.abtest.lifecycle import create, start
from shared.abtest.looks import EACH_KEPT, KEPT, keep, look_of, looks_of, newest_looks
from shared.abtest.plan import Plan
from shared.abtest.tables import AbLook, AbTest
from shared.abtest.verdicts import AbState, MetricSums, VariantSums, Verdict
from shared.database import TenantId, tenant_session
from shared.telemetry.histograms import Histogram
from shared.tenancy.tenants import create_tenant
from tests.shared.abtest.units import of_share

NOW = datetime(2026, 11, 20, 12, 17, tzinfo=UTC)
SPLIT = [{"name": name, "weight": 0.5} for name in ("a", "b")]


def judged(a: int, b: int, n: int = 500) -> Verdict:
    """Of so many units that solved their task, of `n` in each variant."""
    variants = []
    for name, solved in (("a", a), ("b", b)):
        rate = MetricSums(of_share(solved, n))
        variants.append(VariantSums(name, 0.5, n, metrics={"task_completion_rate": rate}))
    return judge(Plan(guardrails=()), variants)


@pytest.fixture
def running(session: Session) -> AbTest:
    create(session, "prompt", SPLIT)
    return start(session, "prompt")


def test_a_look_is_read_as_it_was_kept(session: Session, running: AbTest) -> None:
    looks = [look_of(running, judged(100, 200), NOW), look_of(running, judged(0, 0, 0), NOW)]
    looks[1] = look_of(running, judged(0, 0, 0), NOW - timedelta(hours=1))
    for look in looks:
        keep(session, running, look)
    assert looks_of(session, running) == (looks[1], looks[0])
    assert newest_looks(session) == {running.id: looks[0]}
    assert (looks[0].state, looks[0].units_of) == (AbState.BETTER, {"a": 500, "b": 500})
    (compared,) = looks[0].compared
    assert compared.difference == pytest.approx(0.2)
    assert compared.low is not None
    assert compared.low < 0.2
    (unknown,) = looks[1].compared
    assert (unknown.difference, unknown.low, unknown.high) == (None, None, None)


def test_an_interval_without_an_end_is_kept_as_one(session: Session, running: AbTest) -> None:
    spread = MetricSums(Moments(0, 0.0, 0.0), spread=Histogram.from_values([100.0] * 40))
    variants = [VariantSums(n, 0.5, 40, metrics={"llm_latency_p95": spread}) for n in ("a", "b")]
    found = judge(Plan(success_metric="llm_latency_p95", guardrails=()), variants)
    keep(session, running, look_of(running, found, NOW))
    (compared,) = looks_of(session, running)[0].compared
    assert (compared.difference, compared.low, compared.high) == (0.0, None, None)


def test_of_a_day_that_is_past_the_last_look_is_kept(session: Session, running: AbTest) -> None:
    midnight = NOW.replace(hour=0, minute=17)
    found = judged(100, 200)
    for day in (KEPT, EACH_KEPT + timedelta(days=1), timedelta(days=2)):
        for hour in (0, 1, 23):
            keep(session, running, look_of(running, found, midnight - day + timedelta(hours=hour)))
    keep(session, running, look_of(running, found, NOW))
    kept = [midnight - one.looked_at for one in looks_of(session, running)]
    assert kept == [
        KEPT - timedelta(hours=23),
        EACH_KEPT + timedelta(hours=1),
        *(timedelta(days=2) - timedelta(hours=hour) for hour in (0, 1, 23)),
        midnight - NOW,
    ]


def test_looks_are_behind_the_wall(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        create(session, "prompt", SPLIT)
        test = start(session, "prompt")
        keep(session, test, look_of(test, judged(100, 200), NOW))
    with tenant_session(create_tenant(f"other-{tenant}")) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(AbLook)) == 0
