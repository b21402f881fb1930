"""A guardrail that is harmed pauses its test: once, if its author wished so."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.guarding import harmed_guardrails, pause_when_harmed
from shared.abtest.inference.estimates import Moments
from shared.abtest.judging import judge
from shared.abtest.lifecycle import conclude, create, find, resume, start
from shared.abtest.tables import AbTest
from shared.abtest.unit_analysis import plan_of
from shared.abtest.verdicts import MetricSums, VariantSums, Verdict
from shared.database import TenantId, tenant_session
from shared.tenancy.tables import AuditEntry
from tests.shared.abtest.units import of_share

N = 5_000


def begun(session: Session, **plan: Any) -> AbTest:
    variants = [{"name": name, "weight": 0.5} for name in ("control", "treatment")]
    create(session, "prompt", variants, **{"pause_when_harmed": True} | plan)
    return start(session, "prompt")


def verdict(test: AbTest, **errors: int) -> Verdict:
    """Of so many errors of the control's and the treatment's units, with one attempt each."""

    def share(ones: int) -> MetricSums:
        return MetricSums(of_share(ones, N))

    return judge(
        plan_of(test),
        [
            VariantSums(
                name,
                0.5,
                N,
                metrics={
                    "task_completion_rate": share(2500),
                    "error_rate": share(errors.get(name, 400)),
                    "cost_per_unit": MetricSums(Moments(N, 1e6 * errors.get(name, 400), 1e12)),
                },
            )
            for name in ("control", "treatment")
        ],
    )


def pauses(session: Session) -> list[dict[str, Any]]:
    found = session.scalars(
        sa.select(AuditEntry.details)
        .where(AuditEntry.action == "ab_test.paused")
        .order_by(AuditEntry.id)
    )
    return list(found)


def test_what_is_worse_than_is_tolerated_is_harmed(session: Session) -> None:
    test = begun(session, guardrails=["error_rate:0.02"])
    assert harmed_guardrails(verdict(test, treatment=480)) == ()
    only = harmed_guardrails(verdict(test, treatment=900))
    assert [(one.variant, one.metric) for one in only] == [("treatment", "error_rate")]


def test_it_pauses_the_test_and_the_audit_trail_has_the_figures(session: Session) -> None:
    test = begun(session, guardrails=["error_rate"])
    told = pause_when_harmed(session, test, verdict(test, treatment=900))
    assert [one.metric for one in told] == ["error_rate"]
    assert (test.status, test.table_version) == ("paused", 3)
    only = pauses(session)[0]
    harm = only["harmed"][0]
    assert (only["units"], harm["variant"], harm["metric"]) == (2 * N, "treatment", "error_rate")
    assert harm["difference"] == pytest.approx(0.1)
    assert 0 < harm["interval"][0] < 0.1 < harm["interval"][1]
    # Asked again, it is what it is.
    assert pause_when_harmed(session, test, verdict(test, treatment=900)) == ()
    assert (test.table_version, len(pauses(session))) == (3, 1)


def test_it_pauses_none_whose_author_did_not_wish_it_and_none_that_is_not_harmed(
    session: Session,
) -> None:
    test = begun(session, pause_when_harmed=False)
    assert pause_when_harmed(session, test, verdict(test, treatment=900)) == ()
    assert test.status == "running"


@pytest.mark.parametrize("errors", [400, 100])
def test_no_harm_pauses_nothing(session: Session, errors: int) -> None:
    test = begun(session)
    assert pause_when_harmed(session, test, verdict(test, treatment=errors)) == ()
    assert test.status == "running"


def test_a_person_who_resumes_it_knows_and_only_another_harm_pauses_it_again(
    session: Session,
) -> None:
    test = begun(session, guardrails=["error_rate"])
    harmed = verdict(test, treatment=900)
    pause_when_harmed(session, test, harmed)
    resume(session, "prompt")
    assert pause_when_harmed(session, test, harmed) == ()
    assert test.status == "running"
    another = replace(harmed.comparisons[1], metric="cost_per_unit")
    both = replace(harmed, comparisons=(*harmed.comparisons, another))
    assert [one.metric for one in pause_when_harmed(session, test, both)] == ["cost_per_unit"]
    assert [one["metric"] for one in pauses(session)[-1]["harmed"]] == ["cost_per_unit"]


def test_what_paused_a_test_of_the_same_name_but_for_a_slash_is_not_its_own(
    session: Session,
) -> None:
    variants = [{"name": name, "weight": 0.5} for name in ("control", "treatment")]
    plan: dict[str, Any] = {"pause_when_harmed": True, "guardrails": ["error_rate"]}
    for environment, name in (("a", "b/c"), ("a/b", "c")):
        create(session, name, variants, environment=environment, **plan)
        test = start(session, name, environment)
        assert pause_when_harmed(session, test, verdict(test, treatment=900)) != ()


def test_a_test_that_has_ended_meanwhile_stays_ended(session: Session) -> None:
    test = begun(session, guardrails=["error_rate"])
    harmed = verdict(test, treatment=900)
    conclude(session, "prompt", "control")
    assert pause_when_harmed(session, test, harmed) == ()
    assert test.status == "concluded"


def test_of_two_who_see_the_harm_at_once_one_pauses_the_test(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        harmed = verdict(begun(session, guardrails=["error_rate"]), treatment=900)
    told: list[int] = []
    together = threading.Barrier(2)

    def look() -> None:
        with tenant_session(tenant) as session:
            test = find(session, "prompt")
            together.wait()
            told.append(len(pause_when_harmed(session, test, harmed)))

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [0, 1]
    with tenant_session(tenant) as session:
        assert find(session, "prompt").table_version == 3
        assert len(pauses(session)) == 1


def test_a_figure_without_an_end_is_stored_as_none(session: Session) -> None:
    test = begun(session, guardrails=["error_rate"])
    harmed = verdict(test, treatment=900)
    worst = harmed.comparisons[1]
    assert worst.interval is not None
    endless = replace(worst, interval=worst.interval._replace(high=float("inf")))
    pause_when_harmed(session, test, replace(harmed, comparisons=(endless,)))
    session.flush()
    assert pauses(session)[0]["harmed"][0]["interval"][1] is None
