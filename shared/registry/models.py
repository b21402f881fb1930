"""Registering a version of a model, finding it again, and changing what is said of it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.references import by_identifier
from shared.registry.errors import RegistryError as RegistryError
from shared.registry.fitting import LONGEST_NAME, required_name, required_text
from shared.registry.lineage import UNSAID, Lineage, lineage_of, require_no_circle
from shared.registry.tables import Model, ModelAlias, ModelVersion
from shared.registry.versions import parse_version
from shared.tenancy.tenants import audit

LARGEST: Final = 1_000_000
"Characters of parameters as JSON."
_LEAST_OF_AN_IDENTIFIER: Final = 4
"Digits: of fewer, a name that is not there would too often be the beginning of an identifier."

CheckAgent = Callable[[str, Mapping[str, Any]], object]
"""Raises ValueError, in one line, unless there is such an agent and it takes the parameters."""


def register(
    session: Session,
    name: str,
    version: str,
    agent: str,
    parameters: Mapping[str, Any],
    description: str = "",
    *,
    check: CheckAgent,
    lineage: Lineage = UNSAID,
) -> ModelVersion:
    """Store a version of a model; the same again returns the one that is there.

    `description` is the version's, and that of its first version the model's too. Raises
    `RegistryError` for a name or version that is not fit, for what `check` refuses, and for a
    version that is there as something else: what was measured under a version must stay what it
    was.
    """
    required_name(name)
    required_text("the description", description)
    try:
        parse_version(version)
        check(agent, parameters)
    except ValueError as error:
        raise RegistryError(str(error)) from None
    stored = _as_stored(parameters)
    tenant_id = tenant_of(session)
    session.execute(
        insert(Model)
        .values(tenant_id=tenant_id, name=name, description=description)
        .on_conflict_do_nothing()
    )
    model_id = session.scalars(sa.select(Model.id).where(Model.name == name)).one()
    new_id = session.scalar(
        insert(ModelVersion)
        .values(
            tenant_id=tenant_id,
            model_id=model_id,
            version=version,
            agent=agent,
            parameters=stored,
            description=description,
            **lineage.columns,
        )
        .on_conflict_do_nothing()
        .returning(ModelVersion.id)
    )
    registered = session.scalars(
        sa.select(ModelVersion).where(
            ModelVersion.model_id == model_id, ModelVersion.version == version
        )
    ).one()
    if new_id is not None:
        said = {"agent": agent, "parameters": stored, **lineage.audited}
        audit(session, "model.register", key(registered), said)
        return registered
    if (registered.agent, registered.parameters) != (agent, stored):
        raise RegistryError(
            f"{key(registered)} is registered with another agent or other parameters:"
            " register the change as a new version"
        )
    if registered.description not in ("", description) and description:
        raise RegistryError(f"{key(registered)} is registered with another description: edit that")
    if lineage not in (UNSAID, lineage_of(registered)):
        raise RegistryError(f"{key(registered)} is registered with another lineage: edit that")
    if description and not registered.description:
        return change(session, registered, description=description)
    return registered


def change(
    session: Session,
    version: ModelVersion,
    *,
    description: str | None = None,
    lineage: Lineage | None = None,
) -> ModelVersion:
    """Say something else of a version; None leaves what was said.

    Raises `RegistryError` once the version has been in production, and for a parent that was made
    from it.
    """
    wanted: dict[str, Any] = {} if lineage is None else lineage.columns
    if description is not None:
        wanted["description"] = required_text("the description", description)
    lock(session, version.model_id)
    changes = {name: value for name, value in wanted.items() if getattr(version, name) != value}
    if not changes:
        return version
    if version.fixed_at is not None:
        raise RegistryError(
            f"{key(version)} has been in production since {version.fixed_at:%Y-%m-%d %H:%M} UTC:"
            " what is said of it does not change any more; register a new version"
        )
    if changes.get("parent_id") is not None:
        require_no_circle(session, version, changes["parent_id"])
    for name, value in changes.items():
        setattr(version, name, value)
    session.flush()
    told = {name: str(one) if isinstance(one, UUID) else one for name, one in changes.items()}
    audit(session, "model.change", key(version), told)
    return version


def lock(session: Session, model_id: UUID) -> Sequence[ModelVersion]:
    """All versions of a model as they are now, locked until the transaction ends."""
    return session.scalars(
        sa.select(ModelVersion)
        .where(ModelVersion.model_id == model_id)
        .order_by(ModelVersion.id)
        # Whoever only refers to a version, as a run or a child does, need not wait.
        .with_for_update(of=ModelVersion, key_share=True)
        .execution_options(populate_existing=True)
    ).all()


def resolve(session: Session, reference: str) -> ModelVersion:
    """The version that is meant: `name@version`, `name@alias`, the newest by precedence of `name`,
    or its identifier or the unique beginning of one, of four digits at least.

    Raises `RegistryError` that lists near names when there is none.
    """
    reference = str(reference)
    found = _named(session, reference) if "\x00" not in reference else ()
    if not found:
        raise RegistryError(
            f"no model {reference[:200]!r} is registered;"
            f" {_near(session, reference.partition('@')[0])}"
        )
    # Versions that differ in build metadata alone have the same precedence.
    return max(found, key=lambda one: (parse_version(one.version), one.created_at))


def _named(session: Session, reference: str) -> Sequence[ModelVersion]:
    name, at, version = reference.partition("@")
    query = sa.select(ModelVersion).join(ModelVersion.model).where(Model.name == name)
    if at:
        aliased = sa.select(ModelAlias.model_version_id).where(
            ModelAlias.model_id == Model.id, ModelAlias.alias == version
        )
        query = query.where(sa.or_(ModelVersion.version == version, ModelVersion.id.in_(aliased)))
    found = session.scalars(query).all()
    if found or at or len(reference.strip()) < _LEAST_OF_AN_IDENTIFIER:
        return found
    found = session.scalars(
        by_identifier(sa.select(ModelVersion), ModelVersion.id, reference)
    ).all()
    if len(found) > 1:
        raise RegistryError(f"more than one model begins with {reference!r}: give more of it")
    return found


def versions(session: Session) -> Sequence[ModelVersion]:
    """All versions of all models, by name and precedence."""
    found = session.scalars(sa.select(ModelVersion)).all()
    return sorted(
        found, key=lambda one: (one.model.name, parse_version(one.version), one.created_at)
    )


def key(version: ModelVersion) -> str:
    """`name@1.0.0`: what telemetry calls the model."""
    return f"{version.model.name}@{version.version}"


def _near(session: Session, name: str) -> str:
    known = [key(one) for one in versions(session)]
    if not known:
        return "there is none yet"
    by_name: dict[str, list[str]] = {}
    for one in known:
        by_name.setdefault(one.partition("@")[0], []).append(one)
    near = difflib.get_close_matches(name[:LONGEST_NAME], by_name, n=5, cutoff=0.5)
    shown = [one for found in near for one in by_name[found]] or known
    more = f" and {len(shown) - 10} more" if len(shown) > 10 else ""
    return ("near it: " if near else "there is: ") + ", ".join(shown[-10:]) + more


def _as_stored(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as JSON gives them back, so that they compare with what is stored."""
    try:
        text = json.dumps(dict(parameters), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RegistryError(f"the parameters are not JSON: {error}") from None
    if "\\u0000" in text:
        raise RegistryError("the parameters hold a NUL character")
    stored: dict[str, Any] = json.loads(text)
    required_text("the parameters as JSON", json.dumps(stored, ensure_ascii=False), LARGEST)
    return stored
