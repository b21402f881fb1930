"""Leave to spend for tracked calls, from the budgets of the tenant that have a hard stop.

Unlike recording, asking for it takes the caller's time: a round trip to Redis, and now and then one
to PostgreSQL, which is why a collector does so only if it is told to. What cannot be asked cannot
refuse: while neither answers, calls are made, and the log says so once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from mlops.telemetry import usage

if TYPE_CHECKING:
    from shared.costs.prices import PriceTable
    from shared.costs.reserving import Reservation
    from shared.database import TenantId

log = logging.getLogger("mlops.metrics")

_PRICES_SECONDS: Final = 60.0
"How old the tenant's prices may be."


_MOST_REMEMBERED: Final = 10_000
"Models and functions; one that is forgotten is expected to cost nothing, as at first."


class BudgetExceededError(RuntimeError):
    """A hard stop leaves no room for a call, which was not made; the message names the budget."""


@dataclass(frozen=True)
class _Call:
    """What a call is priced by."""

    occurred_at: datetime
    cost_dollars: Decimal | None = None
    provider: str | None = None
    llm_model: str | None = None
    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None


_PRICED_BY: Final = tuple(
    name for name in _Call.__dataclass_fields__ if name not in ("occurred_at", "cost_dollars")
)


class HardStops:
    """Reserves what a call is expected to cost, which is what the dearest before it did.

    The first call of a model and function is expected to cost nothing, so each process can exceed
    a budget by one call.
    """

    def __init__(self, tenant_id: TenantId | None = None) -> None:
        self._tenant_id = tenant_id
        self._dearest: dict[tuple[str, str], int] = {}
        self._prices: tuple[float, PriceTable] | None = None
        self._complained = False

    def begin(self, model: str | None, function: str | None) -> Reservation | None:
        """Leave for a call, to be settled by `end`; None if there is nothing to be settled.

        Raises `BudgetExceededError`.
        """
        from shared.costs.reserving import Refused, reserve
        from shared.telemetry.events import UNKNOWN

        whose = (model or UNKNOWN, function or UNKNOWN)
        try:
            answer = reserve(self._tenant(), *whose, self._dearest.get(whose, 0))
        except Exception as error:  # noqa: BLE001 (whatever is away, the caller's work goes on)
            self._complain(error)
            return None
        self._complained = False
        if isinstance(answer, Refused):
            raise BudgetExceededError(answer.reason)
        return answer if answer.holds else None

    def end(self, held: Reservation, fields: Mapping[str, Any]) -> None:
        """Settle what a call with these fields of `record_llm_call` has cost, as far as known."""
        from shared.costs.reserving import settle

        try:
            nanos = self._cost(fields)
            if nanos is not None:
                self._remember((held.model, held.function), nanos)
            settle(held, nanos)
        except Exception as error:  # noqa: BLE001 (as above; its lease runs out by itself)
            self._complain(error)

    def _remember(self, whose: tuple[str, str], nanos: int) -> None:
        before = self._dearest.pop(whose, 0)
        # Whoever puts an identifier into a name must not fill the memory.
        if len(self._dearest) >= _MOST_REMEMBERED:
            self._dearest.pop(next(iter(self._dearest)), None)
        self._dearest[whose] = max(nanos, before)

    def _cost(self, fields: Mapping[str, Any]) -> int | None:
        from shared.costs.pricing import call_cost

        said = usage.read(fields.get("response") or [])
        stated = fields.get("cost")
        known = {name: fields.get(name) for name in _PRICED_BY}
        call = _Call(
            datetime.now(UTC),
            None if stated is None else Decimal(str(stated)),
            **{name: said.get(name) if value is None else value for name, value in known.items()},
        )
        return call_cost(self._own_prices(), call).nanos

    def _own_prices(self) -> PriceTable:
        from shared.costs.pricing import tenant_prices
        from shared.database import tenant_session

        if self._prices is None or time.monotonic() > self._prices[0]:
            with tenant_session(self._tenant()) as session:
                self._prices = time.monotonic() + _PRICES_SECONDS, tenant_prices(session)
        return self._prices[1]

    def _tenant(self) -> TenantId:
        from shared.tenancy.tenants import current_tenant

        if self._tenant_id is None:
            self._tenant_id = current_tenant()
        return self._tenant_id

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            log.warning("hard stops of budgets cannot be asked for: %s", type(error).__name__)
        self._complained = True
