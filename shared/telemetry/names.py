"""How many different names a tenant may use: what is beyond the cap of a field is "other".

Rollups have a row per name and hour, so a sender that puts an identifier into a name would make
them as large as the events. The names that came first stay; `mlops.telemetry_names` holds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.database import TenantId, tenant_of
from shared.telemetry.tables import TelemetryName

CAPS: Final[Mapping[str, int]] = {
    "model": 1_000,
    "function": 1_000,
    "variant": 200,
    "provider": 200,
    "llm_model": 1_000,
    "error_type": 500,
    "action": 1_000,
    "name": 1_000,
    "host": 1_000,
}
"Fields of an event, and how many names each may have."

OTHER: Final = "other"

Names = frozenset[tuple[str, str]]
"(field, name)"

_TENANTS_KNOWN: Final = 1_000

_known: dict[TenantId, Names] = {}
"What this process has seen stored; more may be by now."


def beyond_the_caps(session: Session, used: Names) -> Names:
    """The names of `used` that are not stored, since their field has as many as it may have.

    The others are stored with the session's transaction, and known from the next one on: it may
    yet be rolled back.
    """
    tenant_id = tenant_of(session)
    known = _known.get(tenant_id, frozenset())
    unseen = used - known
    # Names are never removed, so a field that is full stays full: nobody need be asked or waited
    # for.
    full = {field for field, cap in CAPS.items() if sum(of == field for of, _ in known) >= cap}
    if all(field in full for field, _ in unseen):
        return unseen
    # Two workers that counted at the same time would both find room.
    session.execute(_ONE_AT_A_TIME)
    # What this transaction has stored was first seen when it began.
    committed = TelemetryName.first_seen_at != sa.func.now()
    found = session.execute(sa.select(TelemetryName.field, TelemetryName.name, committed)).all()
    stored = frozenset((field, name) for field, name, _ in found)
    _remember(tenant_id, frozenset((field, name) for field, name, sure in found if sure))
    refused, taken = set(), []
    room = {field: cap - sum(kept == field for kept, _ in stored) for field, cap in CAPS.items()}
    for field, name in sorted(unseen - stored):
        if room[field] > 0:
            room[field] -= 1
            taken.append({"tenant_id": tenant_id, "field": field, "name": name})
        else:
            refused.add((field, name))
    if taken:
        session.execute(insert(TelemetryName).on_conflict_do_nothing(), taken)
    return frozenset(refused)


_ONE_AT_A_TIME: Final = sa.text(
    "SELECT pg_advisory_xact_lock("
    "hashtextextended('mlops.telemetry_names ' || current_setting('app.tenant'), 0))"
)


def _remember(tenant_id: TenantId, stored: Names) -> None:
    if len(_known) >= _TENANTS_KNOWN:
        _known.clear()
    _known[tenant_id] = stored
