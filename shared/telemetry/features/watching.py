"""Which features are watched for drift: all but those that were switched off."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.telemetry.features.definitions import Feature
from shared.telemetry.features.registering import features, find_features
from shared.telemetry.features.tables import FeatureWatch
from shared.tenancy.tenants import audit


def watched_features(session: Session) -> tuple[Feature, ...]:
    """What drift is looked for in: what is monitored, then the tenant's own, in newest version."""
    off = set(session.scalars(sa.select(FeatureWatch.feature).where(~FeatureWatch.watched)))
    return tuple(feature for feature in features(session) if feature.name not in off)


def watch(session: Session, name: str) -> bool:
    """Look for drift in a feature again; False if that was so already.

    Raises `UnknownFeatureError`.
    """
    return _switch(session, name, on=True)


def unwatch(session: Session, name: str) -> bool:
    """Look for drift in a feature no longer; False if that was so already.

    What was found in it stays, alerts included. Raises as `watch` does.
    """
    return _switch(session, name, on=False)


def _switch(session: Session, name: str, *, on: bool) -> bool:
    find_features(session, [name])
    now = session.scalar(sa.select(FeatureWatch.watched).where(FeatureWatch.feature == name))
    if on is (now is None or now):
        return False
    switched = insert(FeatureWatch).values(tenant_id=tenant_of(session), feature=name, watched=on)
    session.execute(
        switched.on_conflict_do_update(
            index_elements=["tenant_id", "feature"],
            set_={"watched": on, "changed_at": sa.func.now()},
        )
    )
    audit(session, "feature.watch" if on else "feature.unwatch", name)
    return True
