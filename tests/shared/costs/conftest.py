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
        sums = {
            "cost_nanos": nanos,
            "llm_calls": calls,
            "unpriced_calls": unpriced,
            "simulated_calls": simulated,
            "tasks": tasks,
            "successes": successes,
        }
        with tenant_session(tenant) as session:
            for period in Period:
                key = {
                    "tenant_id": tenant,
                    "period": period.value,
                    "starts_on": period.start(day),
                    "model": model,
                    "function": function,
                    "variant": variant,
                }
                # Rows of sums are replaced and never changed.
                before = session.get(CostTracking, tuple(key.values()))
                if before is None:
                    session.add(CostTracking(**key, **sums))
                    continue
                added = {name: getattr(before, name) + value for name, value in sums.items()}
                session.delete(before)
                session.flush()
                session.add(CostTracking(**key, **added))

    return put
