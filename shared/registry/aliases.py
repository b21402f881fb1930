"""Names that lead to one version of a model and can be moved to another, such as `champion`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.references import near
from shared.registry.errors import RegistryError
from shared.registry.models import key, lock
from shared.registry.stages import Stage
from shared.registry.tables import ModelAlias, ModelVersion
from shared.tenancy.tenants import audit

# Begins with a letter, as no version does, so that what stands behind the @ is one or the other.
_ALIAS: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_TAKEN: Final = frozenset({"latest", "newest", *Stage})


def required_alias(alias: str) -> str:
    """`alias` if it can be one; raises `RegistryError`."""
    if not _ALIAS.fullmatch(alias):
        raise RegistryError(
            f"alias {alias[:64]!r}: it must be a letter and then letters, digits, '.', '_' or '-',"
            " 64 at most"
        )
    if alias.lower() in _TAKEN:
        raise RegistryError(
            f"alias {alias!r} would be taken for a stage or for the newest version: choose another"
        )
    return alias


def set_alias(session: Session, version: ModelVersion, alias: str) -> ModelVersion | None:
    """Let `alias` lead to `version`; returns the version that it led to before.

    Raises `RegistryError` for what can be no alias.
    """
    required_alias(alias)
    lock(session, version.model_id)
    before = _found(session, version.model_id, alias)
    if before is not None and before.id == version.id:
        return before
    values = {"model_version_id": version.id, "moved_at": sa.func.now()}
    named = {"tenant_id": tenant_of(session), "model_id": version.model_id, "alias": alias}
    session.execute(
        insert(ModelAlias)
        .values(**named, **values)
        .on_conflict_do_update(index_elements=list(named), set_=values)
    )
    said = {"alias": alias, "before": None if before is None else key(before)}
    audit(session, "model.alias", key(version), said)
    return before


def remove_alias(session: Session, version: ModelVersion, alias: str) -> ModelVersion:
    """Let an alias of the version's model lead nowhere; returns the version that it led to.

    Raises `RegistryError` if there is no such alias.
    """
    lock(session, version.model_id)
    before = _found(session, version.model_id, alias)
    if before is None:
        known = session.scalars(
            sa.select(ModelAlias.alias)
            .where(ModelAlias.model_id == version.model_id)
            .order_by(ModelAlias.alias)
        ).all()
        raise RegistryError(
            f"{version.model.name} has no alias {alias[:64]!r}; {near(alias, known)}"
        )
    session.execute(
        sa.delete(ModelAlias).where(
            ModelAlias.model_id == version.model_id, ModelAlias.alias == alias
        )
    )
    audit(session, "model.unalias", key(before), {"alias": alias})
    return before


def aliases(session: Session) -> Mapping[UUID, Sequence[str]]:
    """The aliases that lead to each version that has some, by its identifier."""
    found: dict[UUID, list[str]] = {}
    for one in session.scalars(sa.select(ModelAlias).order_by(ModelAlias.alias)):
        found.setdefault(one.model_version_id, []).append(one.alias)
    return found


def _found(session: Session, model_id: UUID, alias: str) -> ModelVersion | None:
    if not _ALIAS.fullmatch(alias):
        return None
    return session.scalar(
        sa.select(ModelVersion)
        .join(ModelAlias, ModelAlias.model_version_id == ModelVersion.id)
        .where(ModelAlias.model_id == model_id, ModelAlias.alias == alias)
    )
