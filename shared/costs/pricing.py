"""A tenant's prices: its own entries in the database, before those that all have."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, Protocol
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.costs.overrides import PriceOverride
from shared.costs.prices import PricedCall, PriceTable, Unpriced, shipped_prices
from shared.costs.tables import PriceOverrideRow
from shared.database import TenantId, tenant_of
from shared.money import NANOS
from shared.telemetry.gaps import Gap
from shared.telemetry.ingestion import CallCost
from shared.tenancy.tenants import audit

STATED: Final = "stated by the caller"
"Why a cost is known that no table gave."
MOST_NANOS: Final = 10_000 * NANOS
"Of one call. More is a mistake, and a few of it would be more than the sums of an hour can hold."
_TENANTS_KEPT: Final = 64


class RecordedCall(PricedCall, Protocol):
    """A call as its event has it; `shared.telemetry.events.LlmCallEvent` is one."""

    @property
    def occurred_at(self) -> datetime: ...
    @property
    def cost_dollars(self) -> Decimal | None: ...


@dataclass(frozen=True)
class Replaced:
    """What became of a tenant's own prices."""

    before: int
    after: int
    version: str
    "That of the table which now holds; it is stored with every call that it prices."


def call_cost(prices: PriceTable, call: RecordedCall) -> CallCost:
    """What a call cost: as its caller stated it, else by the price of its day."""
    if call.cost_dollars is not None:
        return _stated(call.cost_dollars)
    price = prices.price(call, call.occurred_at)
    if isinstance(price, Unpriced):
        return CallCost(None, price.reason)
    if price.nanos > MOST_NANOS:
        return CallCost(None, _beyond(f"the price gives ${price.nanos / NANOS:,.0f}"))
    return CallCost(price.nanos, price.version, price.simulated, price.provider)


def _stated(dollars: Decimal) -> CallCost:
    if not dollars.is_finite() or not 0 <= dollars <= MOST_NANOS // NANOS:
        return CallCost(None, _beyond(f"a cost of ${dollars:.3g} was stated"))
    return CallCost(int((dollars * NANOS).to_integral_value(ROUND_HALF_EVEN)), STATED)


def _beyond(what: str) -> str:
    return f"{Gap.BEYOND_A_CALL}: {what}; expected 0 to ${MOST_NANOS // NANOS:,}"


class _Cache:
    """The newest table of each tenant; may be used by any thread."""

    def __init__(self) -> None:
        self._tables: OrderedDict[TenantId, tuple[UUID, PriceTable]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, tenant_id: TenantId, import_id: UUID) -> PriceTable | None:
        with self._lock:
            kept = self._tables.get(tenant_id)
            return kept[1] if kept is not None and kept[0] == import_id else None

    def put(self, tenant_id: TenantId, import_id: UUID, table: PriceTable) -> None:
        with self._lock:
            self._tables[tenant_id] = import_id, table
            self._tables.move_to_end(tenant_id)
            if len(self._tables) > _TENANTS_KEPT:
                self._tables.popitem(last=False)


_cache: Final = _Cache()
_CURRENT: Final = sa.text(
    "SELECT CAST(current_setting('app.tenant') AS uuid) AS tenant_id,"
    " (SELECT import_id FROM mlops.price_overrides LIMIT 1) AS import_id"
)


def tenant_prices(session: Session) -> PriceTable:
    """The prices that hold for the session's tenant now.

    One look-up of a single row; the entries are read only when they were imported anew. Asked
    once per batch or episode, so that all of it is priced by one table, and the next by the next.
    """
    current = session.execute(_CURRENT).one()
    if current.import_id is None:
        return shipped_prices()
    tenant_id = TenantId(current.tenant_id)
    table = _cache.get(tenant_id, current.import_id)
    if table is None:
        rows = session.scalars(sa.select(PriceOverrideRow)).all()
        if not rows:
            return shipped_prices()
        table = PriceTable(map(_entry, rows), shipped_prices().shipped)
        # Another import may have come between the two statements: each row says which was its.
        _cache.put(tenant_id, rows[0].import_id, table)
    return table


def replace_own_prices(session: Session, entries: Iterable[PriceOverride]) -> Replaced:
    """Make these the tenant's own prices, instead of all that it had; with an audit row."""
    own = tuple(entries)
    tenant_id = tenant_of(session)
    session.execute(_ONE_AT_A_TIME)
    before = len(
        session.scalars(sa.delete(PriceOverrideRow).returning(PriceOverrideRow.model)).all()
    )
    import_id = uuid4()
    if own:
        rows = [{"tenant_id": tenant_id, "import_id": import_id} | dict(entry) for entry in own]
        session.execute(sa.insert(PriceOverrideRow), rows)
    version = PriceTable(own, shipped_prices().shipped).version
    done = Replaced(before, len(own), version)
    audit(session, "prices.import", "own prices", vars(done))
    return done


# Two imports at once would each delete what was there before and then both insert.
_ONE_AT_A_TIME: Final = sa.text(
    "SELECT pg_advisory_xact_lock("
    "hashtextextended('mlops.price_overrides ' || current_setting('app.tenant'), 0))"
)


def _entry(row: PriceOverrideRow) -> PriceOverride:
    return PriceOverride(**{name: getattr(row, name) for name in PriceOverride.model_fields})
