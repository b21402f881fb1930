"""Registering a version of a model, and finding it again by name."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.registry.tables import Model, ModelVersion
from shared.registry.versions import parse_version
from shared.tenancy.tenants import audit

LONGEST_NAME: Final = 100

CheckAgent = Callable[[str, Mapping[str, Any]], object]
"""Raises ValueError, in one line, unless there is such an agent and it takes the parameters."""


class RegistryError(ValueError):
    """A model is not there, or cannot be registered like this; the message is one line."""


def register(
    session: Session,
    name: str,
    version: str,
    agent: str,
    parameters: Mapping[str, Any],
    description: str = "",
    *,
    check: CheckAgent,
) -> ModelVersion:
    """Store a version of a model; the same again returns the one that is there.

    `description` is the model's, taken with its first version. Raises `RegistryError` for a name
    or version that is not fit, for what `check` refuses, and for a version that is there with
    another agent or other parameters: what was measured under a version must stay what it was.
    """
    _require_fit(name, description)
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
        audit(session, "model.register", key(registered), {"agent": agent, "parameters": stored})
    elif (registered.agent, registered.parameters) != (agent, stored):
        raise RegistryError(
            f"{key(registered)} is registered with another agent or other parameters:"
            " register the change as a new version"
        )
    return registered


def resolve(session: Session, reference: str) -> ModelVersion:
    """The version that `name@version` names, or the newest by precedence that `name` has.

    Raises `RegistryError` that lists near names when there is none.
    """
    name, at, version = reference.partition("@")
    query = sa.select(ModelVersion).join(ModelVersion.model).where(Model.name == name)
    if at:
        query = query.where(ModelVersion.version == version)
    found = session.scalars(query).all() if "\x00" not in reference else ()
    if not found:
        raise RegistryError(f"no model {reference[:200]!r} is registered; {_near(session, name)}")
    # Versions that differ in build metadata alone have the same precedence.
    return max(found, key=lambda one: (parse_version(one.version), one.created_at))


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


def _require_fit(name: str, description: str) -> None:
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise RegistryError(
            f"model name {name[:LONGEST_NAME]!r}: it must be 1 to {LONGEST_NAME} printable"
            " characters, with no space at either end"
        )
    if "@" in name:
        raise RegistryError(f"model name {name!r} has an @, which stands before the version")
    if "\x00" in description:
        raise RegistryError("the description holds a NUL character")


def _as_stored(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as JSON gives them back, so that they compare with what is stored."""
    try:
        text = json.dumps(dict(parameters), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RegistryError(f"the parameters are not JSON: {error}") from None
    if "\\u0000" in text:
        raise RegistryError("the parameters hold a NUL character")
    stored: dict[str, Any] = json.loads(text)
    return stored
