"""The caps of a test: settled once, when it starts, and put to the values of each unit."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.metrics import COMPONENTS, AbMetric
from shared.abtest.plan import LARGEST_CAP, Plan
from shared.abtest.states import AbTestError

DAYS_BEFORE: Final = timedelta(days=28)
"Whole weeks."
LEAST_BEFORE: Final = 100
"Units, before any percentile is taken of them."
MOST_BEFORE: Final = 100_000
"Units that are looked at. Their digests are as good as drawn, so the first are a fair sample."


def settled(session: Session, plan: Plan, now: datetime) -> Plan:
    """The plan with its caps in stored numbers; a percentile is of the units of the 28 days before.

    Of all units of the tenant that did any of what the metric is about. Raises `AbTestError` where
    they are too few for the percentile, and where it is 0.
    """
    caps = {}
    for name, cap in plan.winsorize.items():
        if cap.quantile is None:
            caps[name] = plan.capped_at(name)
            continue
        metric = plan.metric(name)
        found = session.execute(
            _percentile(metric),
            {"quantile": cap.quantile, "since": now - DAYS_BEFORE, "most": MOST_BEFORE},
        ).one()
        least = max(LEAST_BEFORE, round(1 / (1 - cap.quantile)))
        told = f"cap of {name}: p{100 * cap.quantile:.6g} of the {DAYS_BEFORE.days} days before"
        if found.units < least:
            raise AbTestError(
                f"{told} is of {found.units} units, and it takes {least}; give a number of"
                f" {metric.unit} instead"
            )
        if not found.at:
            raise AbTestError(f"{told} is 0; give a number of {metric.unit} instead")
        caps[name] = plan.capped_at(name, min(int(found.at), LARGEST_CAP), found.units)
    return plan.model_copy(update={"winsorize": caps})


def capped(metric: AbMetric, cap: int, y: str, x: str) -> tuple[str, str]:
    """SQL of the y that counts, and of whether the unit is above its cap.

    The cap is one of y, or of y over x where x is how many times were measured: then it may be
    beyond 64 bits, and y and x have to be numeric.
    """
    most = str(cap) if metric.denominator is None else f"{cap} * {x}"
    return f"least({y}, {most})", f"{y} > {most}"


def _percentile(metric: AbMetric) -> sa.TextClause:
    """Of the units' own values, rounded up to a whole number."""

    def total(name: str) -> str:
        return f"sum({COMPONENTS[name]})"

    value = total(metric.numerator)
    if metric.denominator is not None:
        value = f"ceil({value} / nullif(CAST({total(metric.denominator)} AS numeric), 0))"
    known = " AND ".join(f"{total(name)} = 0" for name in metric.needs_none_of) or "true"
    return sa.text(
        f"""
        SELECT count(value) AS units,
            percentile_disc(CAST(:quantile AS double precision)) WITHIN GROUP (ORDER BY value) AS at
        FROM (
            SELECT CASE WHEN {known} THEN {value} END AS value FROM mlops.events e
            WHERE unit_id IS NOT NULL AND occurred_at >= :since
            GROUP BY unit_id ORDER BY unit_id LIMIT :most
        ) AS of_unit
        """  # noqa: S608 (names of columns)
    )
