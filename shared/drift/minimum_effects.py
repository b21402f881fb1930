"""From where on a metric's difference matters, where a tenant has said so itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.drift.effects import Effect
from shared.drift.monitored import RULES
from shared.drift.tables import DriftEffect
from shared.drift.verdicts import CATEGORY_RULE, DEFAULT_RULE, MetricRule
from shared.drift.wording import magnitude_said
from shared.telemetry.features.built_in import BY_NAME
from shared.telemetry.features.definitions import DataType
from shared.telemetry.features.registering import find_features
from shared.tenancy.tenants import audit

SHARES: Final = (0.001, 1.0)
TIMES: Final = (1.05, 100.0)
"For what is told in times the expected: so much more, or less, matters."


class MinimumEffectError(ValueError):
    """An effect that no metric can have; the message is one line."""


@dataclass(frozen=True)
class SetEffect:
    """From where on a metric matters to the tenant: a magnitude, see `effects.magnitude`."""

    metric: str
    minimum_effect: float
    effect: Effect
    changed_at: datetime


def set_minimum_effect(session: Session, metric: str, told: float) -> SetEffect:
    """From the next sweep on. Leaves an audit row.

    `told` is a share of values, 0.001 to 1, or for request volume times the expected, 1.05 to 100.
    Raises `UnknownFeatureError` for a metric that there is not, `MinimumEffectError` for an effect
    that it cannot have.
    """
    metric, rule = _rule(session, metric)
    in_times = rule.effect is Effect.VOLUME_RATIO
    least, most = TIMES if in_times else SHARES
    if not least <= told <= most:
        kind = "so many times the expected" if in_times else "a share of values"
        raise MinimumEffectError(
            f"{told:g} of {metric}, whose effect is {kind}; expected {least:g} to {most:g}"
        )
    magnitude = told - 1 if in_times else told
    values = {"minimum_effect": magnitude, "changed_at": sa.func.now()}
    changed_at = session.scalars(
        insert(DriftEffect)
        .values(tenant_id=tenant_of(session), metric=metric, **values)
        .on_conflict_do_update(index_elements=["tenant_id", "metric"], set_=values)
        .returning(DriftEffect.changed_at)
    ).one()
    said = magnitude_said(rule.effect, magnitude)
    audit(session, "drift.effect.set", metric, {"matters_from": said})
    return SetEffect(metric, magnitude, rule.effect, changed_at)


def remove_minimum_effect(session: Session, metric: str) -> bool:
    """Back to what is built in; False if none was set. Leaves an audit row."""
    removed = session.scalars(
        sa.delete(DriftEffect).where(DriftEffect.metric == metric).returning(DriftEffect.metric)
    ).all()
    if removed:
        audit(session, "drift.effect.remove", metric)
    return bool(removed)


def minimum_effects(session: Session) -> tuple[SetEffect, ...]:
    """All that were set, by metric."""
    rows = session.scalars(sa.select(DriftEffect).order_by(DriftEffect.metric))
    return tuple(
        SetEffect(
            row.metric, row.minimum_effect, _rule(session, row.metric)[1].effect, row.changed_at
        )
        for row in rows
    )


def chosen_effects(session: Session) -> Mapping[str, float]:
    """The magnitudes that were set, by metric."""
    rows = session.execute(sa.select(DriftEffect.metric, DriftEffect.minimum_effect))
    return {row.metric: row.minimum_effect for row in rows}


def _rule(session: Session, metric: str) -> tuple[str, MetricRule]:
    """The metric's name and what is built in of it."""
    (feature,) = find_features(session, [metric])
    if feature.name in BY_NAME:
        return feature.name, RULES.get(feature.name, DEFAULT_RULE)
    return feature.name, DEFAULT_RULE if feature.data_type is DataType.NUMBER else CATEGORY_RULE
