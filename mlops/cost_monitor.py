"""What each function costs, from Python.

import asyncio
from mlops import MLOpsCostMonitor

for function, metrics in asyncio.run(MLOpsCostMonitor().analyze_costs()).items():
    print(function, metrics.total_cost, metrics.request_count)
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from shared.costs import report
from shared.costs.ratios import NoInterval
from shared.database import TenantId, tenant_session
from shared.evaluation.intervals import Interval
from shared.money import NANOS
from shared.tenancy.tenants import current_tenant


@dataclass(frozen=True)
class FunctionCost:
    """What the model calls of one function came to. Money is dollars; unknown is None, never 0."""

    total_cost: float | None
    "Of the requests that have a price; None where none has."
    request_count: int
    "Calls of language models."
    unpriced_requests: int
    "Not in `total_cost`: their price is not known."
    simulated_requests: int
    "In `total_cost`, at a price that is stated as simulated: no real money."
    cost_per_request: float | None
    cost_per_success: float | None
    "Of all tasks over the successful ones; None where a request has no price."
    cost_per_success_interval: Interval | None
    "95 %, from how much the hours or days differ; None where too few are known."
    tasks: int
    successes: int
    success_interval: Interval | None
    "Wilson's, 95 %."

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return asdict(self)


class MLOpsCostMonitor:
    """The costs of one tenant: that of `MLOPS_API_KEY` or `MLOPS_TENANT` unless one is given."""

    def __init__(self, tenant_id: TenantId | None = None) -> None:
        self._tenant_id = tenant_id

    async def analyze_costs(self, days: int = 1) -> dict[str, FunctionCost]:
        """The cost of each function in the last `days` of the UTC calendar, today included.

        The dearest first. From the rollups, which are made once a minute. ValueError unless
        1 <= days <= 3660.
        """
        return await asyncio.to_thread(self._analyzed, days)

    def _analyzed(self, days: int) -> dict[str, FunctionCost]:
        start, end_before = report.days_until(datetime.now(UTC).date(), days)
        with tenant_session(self._tenant_id or current_tenant()) as session:
            found = report.report(session, start, end_before, report.By.FUNCTION)
        return {line.name: _cost(line) for line in found.lines}


def _cost(line: report.Line) -> FunctionCost:
    return FunctionCost(
        total_cost=_dollars(line.cost_nanos),
        request_count=line.llm_calls,
        unpriced_requests=line.unpriced_calls,
        simulated_requests=line.simulated_calls,
        cost_per_request=_dollars(line.nanos_per_request),
        cost_per_success=_dollars(line.nanos_per_success),
        cost_per_success_interval=_interval(line),
        tasks=line.tasks,
        successes=line.successes,
        success_interval=line.success_interval,
    )


def _interval(line: report.Line) -> Interval | None:
    found = line.nanos_per_success_interval
    if isinstance(found, NoInterval):
        return None
    return Interval(found.low / NANOS, found.high / NANOS)


def _dollars(nanos: float | None) -> float | None:
    return None if nanos is None else nanos / NANOS
