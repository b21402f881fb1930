"""Bringing a version to a stage, and into the archive.

How much traffic a version gets is no matter of this module: here one decides which version is the
one in production.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.registry.errors import RegistryError
from shared.registry.models import key, lock
from shared.registry.stages import Stage, require_move, target_of
from shared.registry.tables import ModelDeployment, ModelVersion
from shared.tenancy.tenants import actor, audit


class Others(StrEnum):
    """What becomes of the other versions of the model that are in production."""

    ARCHIVE = "archive"
    KEEP = "keep"


@dataclass(frozen=True)
class Deployed:
    """What a deployment has changed."""

    version: ModelVersion
    came_from: Stage
    archived: tuple[ModelVersion, ...]
    "They were in production before."

    @property
    def moved(self) -> bool:
        """False where the version was there already."""
        return self.came_from != self.version.stage


def deploy(
    session: Session,
    version: ModelVersion,
    target: str = Stage.PRODUCTION,
    *,
    others: Others = Others.ARCHIVE,
) -> Deployed:
    """Bring a version to development, staging or production; where it is already, it stays.

    In production it takes the place of the model's other versions, unless `others` are kept. What
    is in production for the first time never changes any more. Raises `RegistryError` for a target
    that is none and a move that is not allowed; nothing is changed then.
    """
    stage = target_of(target)
    siblings = lock(session, version.model_id)
    came_from = Stage(version.stage)
    if came_from is not stage:
        _move(session, version, stage, "model.deploy")
        session.add(
            ModelDeployment(
                tenant_id=tenant_of(session),
                model_version_id=version.id,
                target=stage,
                came_from=came_from,
                deployed_by=actor(),
            )
        )
    archived = []
    if stage is Stage.PRODUCTION and others is Others.ARCHIVE:
        archived = [
            one for one in siblings if one.stage == Stage.PRODUCTION and one.id != version.id
        ]
    for one in archived:
        _move(session, one, Stage.ARCHIVED, "model.archive", replaced_by=key(version))
    session.flush()
    return Deployed(version, came_from, tuple(archived))


def archive(session: Session, version: ModelVersion) -> bool:
    """Put a version away; False if it was in the archive already."""
    lock(session, version.model_id)
    if version.stage == Stage.ARCHIVED:
        return False
    _move(session, version, Stage.ARCHIVED, "model.archive")
    return True


def deployments(session: Session, version: ModelVersion) -> Sequence[ModelDeployment]:
    """Where a version was put, the newest first."""
    return session.scalars(
        sa.select(ModelDeployment)
        .where(ModelDeployment.model_version_id == version.id)
        .order_by(ModelDeployment.id.desc())
    ).all()


def _move(
    session: Session, version: ModelVersion, stage: Stage, action: str, **said: object
) -> None:
    before = Stage(version.stage)
    try:
        require_move(before, stage, fixed=version.fixed_at is not None)
    except RegistryError as error:
        raise RegistryError(f"{key(version)}: {error}") from None
    version.stage = stage
    session.flush()
    # The trigger that fixes what has come to production.
    session.refresh(version, ["stage", "fixed_at"])
    audit(session, action, key(version), {"from": before, "to": stage, **said})
