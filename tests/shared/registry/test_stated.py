from __future__ import annotations

import math

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.registry.deploying import deploy
from shared.registry.errors import RegistryError
from shared.registry.stated import state_performance, stated
from shared.registry.tables import StatedPerformance
from shared.tenancy.tables import AuditEntry
from tests.shared.registry.conftest import Put


def test_a_figure_is_kept_with_who_stated_it_when_and_of_how_many(
    session: Session, put: Put
) -> None:
    version = put()
    state_performance(
        session, version, success_rate=0.92, cost_nanos=150_000_000, tasks=40, note="by hand"
    )
    figures = stated(session, [version.id])[version.id]
    assert set(figures) == {"success_rate", "cost_nanos"}
    rate = figures["success_rate"]
    assert (rate.value, rate.tasks, rate.note) == (0.92, 40, "by hand")
    assert rate.stated_by
    assert rate.stated_at.tzinfo
    [entry] = session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "model.performance"))
    assert entry.details == {"success_rate": 0.92, "cost_nanos": 150_000_000, "tasks": 40}


def test_what_is_stated_later_counts_and_the_rest_stands(session: Session, put: Put) -> None:
    version = put()
    state_performance(session, version, success_rate=0.5, completion_seconds=45.0)
    deploy(session, version)
    state_performance(session, version, success_rate=0.0)
    figures = stated(session, [version.id])[version.id]
    assert {name: one.value for name, one in figures.items()} == {
        "success_rate": 0.0,
        "completion_seconds": 45.0,
    }


def test_a_version_of_which_nobody_stated_anything_has_no_figures(
    session: Session, put: Put
) -> None:
    assert stated(session, [put().id]) == {}


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, "nothing is stated"),
        ({"tasks": 3}, "nothing is stated"),
        ({"success_rate": 1.01}, "success_rate 1.01: expected 0 to 1"),
        ({"success_rate": 92}, "success_rate 92: expected 0 to 1"),
        ({"success_rate": math.nan}, "success_rate nan: expected 0 to 1"),
        ({"success_rate": True}, "success_rate True: expected a number"),
        ({"success_rate": "0.9"}, "success_rate '0.9': expected a number"),
        ({"completion_seconds": -1}, "avg_completion_time -1: expected 0 or more"),
        ({"completion_seconds": math.inf}, "avg_completion_time inf: expected 0 or more"),
        ({"cost_nanos": -1}, "nano-dollars -1: expected 0 or more"),
        ({"cost_nanos": 0.15}, r"nano-dollars 0\.15: expected a whole number"),
        ({"success_rate": 1, "tasks": 0}, "number of tasks 0: expected 1 or more"),
        ({"success_rate": 1, "note": "\x00"}, "the note holds a NUL"),
    ],
)
def test_what_can_be_no_figure_is_refused_and_not_stored(
    session: Session, put: Put, given: dict[str, object], complaint: str
) -> None:
    with pytest.raises(RegistryError, match=complaint):
        state_performance(session, put(), **given)  # type: ignore[arg-type]
    assert session.scalar(sa.select(sa.func.count()).select_from(StatedPerformance)) == 0
