"""What sweeps have found, as it is read: of many functions no object is made for each test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import TenantId
from shared.drift.reading import findings_of, newest_findings
from shared.drift.tables import DriftDetection, DriftSubject, SweepKind
from shared.drift.verdicts import DriftState
from shared.jobs.contracts import WindowOf

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


def test_findings_are_told_apart_and_their_tests_are_not_made_objects(
    session: Session, tenant: TenantId
) -> None:
    sweep = uuid4()
    baseline = WindowOf(start=NOON - timedelta(days=7), end=NOON)
    current = WindowOf(start=NOON, end=NOON + timedelta(days=1), function="shop")
    session.add(
        DriftSubject(
            tenant_id=tenant, function="shop", model="buyer@1", kind=SweepKind.TIMETABLE,
            sweep_id=sweep,
        )
    )  # fmt: skip
    for metric in ("tokens", "confidence"):
        for n, test in enumerate(("anderson_darling", "kolmogorov_smirnov")):
            session.add(
                DriftDetection(
                    tenant_id=tenant, sweep_id=sweep, function="shop", model="buyer@1",
                    metric=metric, test=test, baseline=baseline.model_dump(mode="json"),
                    current=current.model_dump(mode="json"), n_baseline=70, n_current=10,
                    statistic=1.5 + n, p_value=0.01, p_adjusted=0.02 + n, threshold=0.05,
                    effect_name="ks_distance" if n else "auc", effect_size=0.3 + n,
                    minimum_effect=0.1 if n else None, usual_effect=0.04 if n else None,
                    verdict="drift", change="1 to 2", reason="1 to 2; moved",
                )
            )  # fmt: skip
    session.flush()
    session.expunge_all()
    loaded: list[object] = []
    sa.event.listen(session, "loaded_as_persistent", lambda _, one: loaded.append(one))
    found = newest_findings(session)
    assert not [one for one in loaded if isinstance(one, DriftDetection)]
    assert found == findings_of(session, sweep)
    assert [one.metric for one in found] == ["confidence", "tokens"]
    one = found[1]
    assert (one.state, one.baseline, one.current) == (DriftState.DRIFT, baseline, current)
    assert (one.effect_name, one.effect_size, one.minimum_effect) == ("ks_distance", 1.3, 0.1)
    assert (one.p_adjusted, one.usual_effect, one.change) == (0.02, 0.04, "1 to 2")
    assert [(test.name, test.statistic, test.p_adjusted) for test in one.tests] == [
        ("anderson_darling", 1.5, 0.02),
        ("kolmogorov_smirnov", 2.5, 1.02),
    ]
