"""Spending, written as the day's sums that the roll-up makes of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest

from shared.costs.aggregation import Period
from shared.costs.tables import CostTracking
from shared.database import TenantId, tenant_session

Spend = Callable[..., None]


@pytest.fixture
def spend(tenant: TenantId) -> Spend:
    """What has been rolled up for today, or another day, in its day, week and month."""

    def put(
        nanos: int,
        *,
        calls: int = 1,
        unpriced: int = 0,
        simulated: int = 0,
        model: str = "buyer@1",
        function: str = "checkout",
        variant: str = "",
        tasks: int = 0,
        successes: int = 0,
        on: date | None = None,
    ) -> None:
        day = on or datetime.now(UTC).date()
        with tenant_session(tenant) as session:
            for period in Period:
                key = (tenant, period.value, period.start(day), model, function, variant)
                row = session.get(CostTracking, key)
                if row is None:
                    names = ("tenant_id", "period", "starts_on", "model", "function", "variant")
                    row = CostTracking(**dict(zip(names, key, strict=True)))
                    for name in ("cost_nanos", "llm_calls", "unpriced_calls", "simulated_calls"):
                        setattr(row, name, 0)
                    row.episodes = row.successes = 0
                    session.add(row)
                row.cost_nanos += nanos
                row.llm_calls += calls
                row.unpriced_calls += unpriced
                row.simulated_calls += simulated
                row.episodes += tasks
                row.successes += successes
                session.flush()

    return put
