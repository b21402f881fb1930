"""Registering a version of a feature, and finding it again by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import astuple
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.redaction import redacted
from shared.telemetry.features.built_in import BY_NAME, MONITORED
from shared.telemetry.features.definitions import (
    DataType,
    Feature,
    Source,
    SourceKind,
    UnfitFeatureError,
    UnknownFeatureError,
)
from shared.telemetry.features.tables import FeatureRow
from shared.tenancy.tenants import audit

LONGEST_NAME: Final = 100
LONGEST_OWNER: Final = 100
LONGEST_UNIT: Final = 20
LONGEST_TEXT: Final = 2_000
"Of a description, and of the words that name a query."

_NAME: Final = re.compile(rf"[A-Za-z][A-Za-z0-9_.-]{{0,{LONGEST_NAME - 1}}}")
_NEAR: Final = 5


def register_feature(
    session: Session,
    name: str,
    data_type: DataType,
    source: Source,
    owner: str,
    description: str,
    unit: str = "",
) -> Feature:
    """Store a feature as its next version; the same as its newest one again returns that one.

    Secrets in its texts are redacted. Raises `UnfitFeatureError`, also for the name of a feature
    that comes with the product.
    """
    if _NAME.fullmatch(name) is None:
        raise UnfitFeatureError(
            f"feature name {name[:LONGEST_NAME]!r}: it must be 1 to {LONGEST_NAME} letters,"
            " digits, '_', '.' or '-', a letter first"
        )
    if name in BY_NAME:
        raise UnfitFeatureError(
            f"{name} is measured from events and comes with the product:"
            " register a feature of your own under another name"
        )
    wanted = Feature(
        name=name,
        version=1,
        data_type=data_type,
        owner=_text("owner", owner, LONGEST_OWNER, least=1),
        description=_text("description", description, LONGEST_TEXT, least=1),
        unit=_text("unit", unit, LONGEST_UNIT),
        source=Source(source.kind, _text("source", source.name, LONGEST_TEXT, least=1)),
    )
    # Of two that register at once the second sees the first's version.
    session.execute(_ONE_AT_A_TIME, {"name": name})
    newest = _versions(session, name)[-1:]
    if newest and _defined(newest[0]) == _defined(wanted):
        return newest[0]
    version = newest[0].version + 1 if newest else 1
    row = FeatureRow(
        tenant_id=tenant_of(session),
        name=name,
        version=version,
        data_type=wanted.data_type.value,
        owner=wanted.owner,
        description=wanted.description,
        unit=wanted.unit,
        source_kind=wanted.source.kind.value,
        source=wanted.source.name,
    )
    session.add(row)
    session.flush()
    details = {
        "data_type": row.data_type,
        "owner": row.owner,
        "unit": row.unit,
        "source": str(wanted.source),
        "description": row.description,
    }
    audit(session, "feature.register", f"{name}@{version}", details)
    return _feature(row)


def features(session: Session) -> tuple[Feature, ...]:
    """The newest version of every feature: those that come with the product, then by name."""
    rows = session.scalars(
        sa.select(FeatureRow)
        .ext(distinct_on(FeatureRow.name))
        .order_by(FeatureRow.name, FeatureRow.version.desc())
    )
    return (*MONITORED, *map(_feature, rows))


def versions(session: Session, name: str) -> tuple[Feature, ...]:
    """All versions of a feature, the oldest first. Raises `UnknownFeatureError` if it has none."""
    if name in BY_NAME:
        return (BY_NAME[name],)
    found = _versions(session, name) if _NAME.fullmatch(name) else ()
    if not found:
        raise UnknownFeatureError(f"no feature {name[:200]!r}; {_near(session, name)}")
    return found


def find_features(session: Session, references: Sequence[str]) -> tuple[Feature, ...]:
    """What each of `references` names, in one query: `name@version`, or the newest of `name`.

    Raises `UnknownFeatureError` that lists near names.
    """
    asked = {reference.partition("@")[0] for reference in references}
    named = sorted(name for name in asked if _NAME.fullmatch(name))
    rows = session.scalars(
        sa.select(FeatureRow).where(FeatureRow.name.in_(named)).order_by(FeatureRow.version)
    )
    newest = dict(BY_NAME)
    by_key = {feature.key: feature for feature in MONITORED}
    for stored in map(_feature, rows):
        newest[stored.name] = by_key[stored.key] = stored
    found = []
    for reference in references:
        name, at, _ = reference.partition("@")
        feature = by_key.get(reference) if at else newest.get(name)
        if feature is None:
            hint = f"the newest is {newest[name].key}" if name in newest else _near(session, name)
            raise UnknownFeatureError(f"no feature {reference[:200]!r}; {hint}")
        found.append(feature)
    return tuple(found)


_ONE_AT_A_TIME: Final = sa.text(
    "SELECT pg_advisory_xact_lock("
    "hashtextextended('mlops.feature_store ' || current_setting('app.tenant') || :name, 0))"
)


def _versions(session: Session, name: str) -> tuple[Feature, ...]:
    rows = sa.select(FeatureRow).where(FeatureRow.name == name).order_by(FeatureRow.version)
    return tuple(map(_feature, session.scalars(rows)))


def _feature(row: FeatureRow) -> Feature:
    return Feature(
        name=row.name,
        version=row.version,
        data_type=DataType(row.data_type),
        owner=row.owner,
        description=row.description,
        unit=row.unit,
        source=Source(SourceKind(row.source_kind), row.source),
        created_at=row.created_at,
    )


def _defined(feature: Feature) -> tuple[object, ...]:
    """All of a feature but which version it is and when it was made."""
    name, _, *rest, _ = astuple(feature)
    return (name, *rest)


def _text(what: str, text: str, longest: int, least: int = 0) -> str:
    shown = redacted(text.strip())
    # A query is written in lines.
    printable = shown.translate({ord("\n"): " ", ord("\t"): " "}).isprintable()
    if not least <= len(shown) <= longest or not printable:
        raise UnfitFeatureError(
            f"{what} of {len(shown)} characters; expected {least} to {longest} printable ones"
        )
    return shown


def _near(session: Session, name: str) -> str:
    known = [feature.name for feature in features(session)]
    near = difflib.get_close_matches(name[:LONGEST_NAME], known, n=_NEAR, cutoff=0.5)
    return "near it: " + ", ".join(near) if near else "`mlops feature list` shows those there are"
