"""Values of features are kept as long as events; what holds at a time since then stays readable."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import TenantId, tenant_session
from shared.telemetry.features.definitions import DataType, Source
from shared.telemetry.features.reading import FeatureVector, Knowledge, read_as_of, read_latest
from shared.telemetry.features.registering import register_feature
from shared.telemetry.features.tables import FeatureValueRow
from shared.telemetry.features.writing import write_values
from shared.telemetry.retention import keep_for, keep_no_longer

NOW = datetime.now(UTC)
EDGE = NOW.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=30)
"Where the events of a tenant that keeps 30 days begin."
DAY = timedelta(days=1)


def write(session: Session, entity: str, time: datetime, value: float, at: datetime) -> None:
    write_values(session, "basket", [(entity, time, value)], at)


def register(session: Session) -> None:
    source = Source.parse("nightly sum of the orders")
    register_feature(session, "basket", DataType.NUMBER, source, "shop", "What is in the basket.")


def kept(session: Session, entity: str) -> list[float | None]:
    rows = sa.select(FeatureValueRow.number_value).where(FeatureValueRow.entity == entity)
    return list(session.scalars(rows.order_by(FeatureValueRow.event_time, FeatureValueRow.id)))


def let_go(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        keep_for(session, 30)
    keep_no_longer(NOW, [tenant])


def test_old_values_go_and_the_last_one_of_each_entity_stays(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        register(session)
        for value, time in enumerate((EDGE - 9 * DAY, EDGE - 3 * DAY, EDGE - DAY, EDGE + DAY)):
            write(session, "ann", time, value, time)
        write(session, "bob", EDGE - 300 * DAY, 7, EDGE - 300 * DAY)
        # What was corrected since then is what a reader of that time would have got.
        write(session, "eve", EDGE - 2 * DAY, 1, EDGE - 2 * DAY)
        write(session, "eve", EDGE - 2 * DAY, 2, EDGE + DAY)
    let_go(tenant)
    with tenant_session(tenant) as session:
        assert kept(session, "ann") == [2, 3]
        assert kept(session, "bob") == [7]
        assert kept(session, "eve") == [1, 2]
        (latest,) = read_latest(session, ["basket"], ["bob"])
        assert latest.values == {"basket": 7}


def test_what_is_read_at_a_time_since_then_is_what_it_was(tenant: TenantId) -> None:
    rng = random.Random(3)
    entities = ("a", "b", "c")
    points = [
        (entity, EDGE + timedelta(hours=hours))
        for entity, hours in itertools.product(entities, range(0, 240, 20))
    ]

    def read() -> list[tuple[FeatureVector, ...]]:
        with tenant_session(tenant) as session:
            return [read_as_of(session, ["basket"], points, knowledge) for knowledge in Knowledge]

    with tenant_session(tenant) as session:
        register(session)
        for value in range(120):
            time = EDGE + timedelta(hours=rng.randrange(-200, 200))
            at = max(time, EDGE + timedelta(hours=rng.randrange(-200, 240)))
            write(session, rng.choice(entities), time, value, at)
    before = read()
    let_go(tenant)
    with tenant_session(tenant) as session:
        left = session.scalar(sa.select(sa.func.count()).select_from(FeatureValueRow)) or 0
    assert 60 < left < 110
    assert read() == before
