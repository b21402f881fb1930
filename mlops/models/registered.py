"""A registered version as people see it, with everything that is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from shared.registry.aliases import aliases
from shared.registry.models import key
from shared.registry.stages import Stage
from shared.registry.stated import Stated, stated
from shared.registry.tables import ModelVersion


@dataclass(frozen=True)
class RegisteredModel:
    """A version of a model. None, and an empty text, is what nobody has said."""

    id: UUID
    model: str
    "`name@version`: what telemetry and benchmark runs call it."
    name: str
    version: str
    stage: Stage
    aliases: tuple[str, ...]
    agent: str
    parameters: Mapping[str, Any]
    description: str
    parent: str | None
    dataset_version: str | None
    prompt_version: str | None
    evaluation_runs: tuple[str, ...]
    created_at: datetime
    fixed_at: datetime | None
    "When it came to production for the first time: it does not change from then on."
    stated: Mapping[str, Stated]
    "What people said of its performance; none of it was measured here."

    @property
    def fields(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def registered(session: Session, versions: Sequence[ModelVersion]) -> list[RegisteredModel]:
    """What is known of each of the versions, in their order."""
    named, said = aliases(session), stated(session, [one.id for one in versions])
    return [
        RegisteredModel(
            id=one.id,
            model=key(one),
            name=one.model.name,
            version=one.version,
            stage=Stage(one.stage),
            aliases=tuple(named.get(one.id, ())),
            agent=one.agent,
            parameters=one.parameters,
            description=one.description,
            parent=_parent(session, one),
            dataset_version=one.dataset_version,
            prompt_version=one.prompt_version,
            evaluation_runs=tuple(one.evaluation_runs),
            created_at=one.created_at,
            fixed_at=one.fixed_at,
            stated=said.get(one.id, {}),
        )
        for one in versions
    ]


def _parent(session: Session, version: ModelVersion) -> str | None:
    if version.parent_id is None:
        return None
    return key(session.get_one(ModelVersion, version.parent_id))
