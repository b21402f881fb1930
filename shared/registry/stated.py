"""Performance as people state it: kept with who said it and when, and never taken for measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.registry.errors import RegistryError
from shared.registry.fitting import required_text
from shared.registry.models import key
from shared.registry.tables import ModelVersion, StatedPerformance
from shared.tenancy.tenants import actor, audit

FIGURES: Final = ("success_rate", "completion_seconds", "cost_nanos")
_MOST_NANOS: Final = 10**30


@dataclass(frozen=True)
class Stated:
    """One figure as it was stated last."""

    value: float | int
    tasks: int | None
    "None where nobody has said of how many."
    stated_by: str
    stated_at: datetime
    note: str


def state_performance(
    session: Session,
    version: ModelVersion,
    *,
    success_rate: float | None = None,
    completion_seconds: float | None = None,
    cost_nanos: int | None = None,
    tasks: int | None = None,
    note: str = "",
) -> StatedPerformance:
    """Keep what somebody says of a version: a share, seconds and nano-dollars of a task.

    At least one figure; None is not said, and leaves standing what was. Raises `RegistryError`
    for what can be no such figure.
    """
    figures = {
        "success_rate": _number("success_rate", success_rate, most=1),
        "completion_seconds": _number("avg_completion_time", completion_seconds),
        "cost_nanos": _whole("the cost in nano-dollars", cost_nanos, least=0),
    }
    if all(value is None for value in figures.values()):
        raise RegistryError(
            "nothing is stated: give success_rate, avg_completion_time or cost_per_task"
        )
    made = StatedPerformance(
        tenant_id=tenant_of(session),
        model_version_id=version.id,
        **figures,
        tasks=_whole("the number of tasks", tasks, least=1),
        note=required_text("the note", note),
        stated_by=actor(),
    )
    session.add(made)
    session.flush()
    said = {name: value for name, value in figures.items() if value is not None}
    if tasks is not None:
        said["tasks"] = tasks
    audit(session, "model.performance", key(version), said)
    return made


def stated(session: Session, version_ids: Sequence[UUID]) -> Mapping[UUID, Mapping[str, Stated]]:
    """Each figure as it was stated last, by version and by name; without what nobody stated."""
    found: dict[UUID, dict[str, Stated]] = {}
    for row in session.scalars(
        sa.select(StatedPerformance)
        .where(StatedPerformance.model_version_id.in_(version_ids))
        .order_by(StatedPerformance.id)
    ):
        figures = found.setdefault(row.model_version_id, {})
        for name in FIGURES:
            value = getattr(row, name)
            if value is not None:
                figures[name] = Stated(value, row.tasks, row.stated_by, row.stated_at, row.note)
    return found


def _number(name: str, value: float | None, most: float = math.inf) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RegistryError(f"{name} {value!r:.60}: expected a number")
    if not (math.isfinite(value) and 0 <= value <= most):
        expected = f"0 to {most:g}" if math.isfinite(most) else "0 or more, and finite"
        raise RegistryError(f"{name} {value!r:.60}: expected {expected}")
    return float(value)


def _whole(name: str, value: int | None, least: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise RegistryError(f"{name} {value!r:.60}: expected a whole number")
    if not least <= value <= (_MOST_NANOS if least == 0 else 2**63 - 1):
        raise RegistryError(f"{name} {value!r:.60}: expected {least} or more, and no such number")
    return value
