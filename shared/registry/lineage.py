"""What a version was made from, and what speaks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.registry.errors import RegistryError
from shared.registry.fitting import required_label
from shared.registry.tables import ModelVersion


@dataclass(frozen=True)
class Lineage:
    """None is what nobody has said."""

    parent_id: UUID | None = None
    dataset_version: str | None = None
    prompt_version: str | None = None
    evaluation_runs: tuple[UUID, ...] = ()

    def __post_init__(self) -> None:
        for what, label in (
            ("the dataset version", self.dataset_version),
            ("the prompt version", self.prompt_version),
        ):
            if label is not None:
                required_label(what, label)

    @property
    def columns(self) -> dict[str, Any]:
        """As `mlops.model_versions` has it."""
        return {
            "parent_id": self.parent_id,
            "dataset_version": self.dataset_version,
            "prompt_version": self.prompt_version,
            "evaluation_runs": [str(run) for run in dict.fromkeys(self.evaluation_runs)],
        }

    @property
    def audited(self) -> dict[str, Any]:
        """What of it was said, as JSON."""
        said = {name: value for name, value in self.columns.items() if value}
        return said | ({"parent_id": str(self.parent_id)} if self.parent_id else {})


UNSAID = Lineage()


def lineage_of(version: ModelVersion) -> Lineage:
    return Lineage(
        version.parent_id,
        version.dataset_version,
        version.prompt_version,
        tuple(UUID(run) for run in version.evaluation_runs),
    )


def ancestors(session: Session, version: ModelVersion) -> Sequence[ModelVersion]:
    """What the version was made from: its parent, that one's parent, and so on."""
    found = []
    following = version.parent_id
    while following is not None:
        parent = session.get_one(ModelVersion, following)
        found.append(parent)
        following = parent.parent_id
    return found


def children(session: Session, version: ModelVersion) -> Sequence[ModelVersion]:
    """What was made from the version, in the order in which it was registered."""
    return session.scalars(
        sa.select(ModelVersion)
        .where(ModelVersion.parent_id == version.id)
        .order_by(ModelVersion.created_at, ModelVersion.id)
    ).all()


def require_no_circle(session: Session, version: ModelVersion, parent_id: UUID) -> None:
    """Raises `RegistryError` if `parent_id` is the version itself or was made from it.

    Holds until the transaction ends: nobody else gives a version another parent meanwhile.
    """
    session.execute(_ONE_AT_A_TIME)
    parents = (
        sa.select(ModelVersion.id, ModelVersion.parent_id)
        .where(ModelVersion.id == parent_id)
        .cte("parents", recursive=True)
    )
    parents = parents.union(
        sa.select(ModelVersion.id, ModelVersion.parent_id).join(
            parents, ModelVersion.id == parents.c.parent_id
        )
    )
    if session.scalar(sa.select(parents.c.id).where(parents.c.id == version.id)) is not None:
        parent = session.get_one(ModelVersion, parent_id)
        raise RegistryError(
            f"{version.model.name}@{version.version} cannot be made from"
            f" {parent.model.name}@{parent.version}, which is itself or was made from it"
        )


# Two who each make their version the other's parent would both find no circle.
_ONE_AT_A_TIME: Final = sa.text(
    "SELECT pg_advisory_xact_lock("
    "hashtextextended('mlops.model_versions.parent_id ' || current_setting('app.tenant'), 0))"
)


FindRun = Callable[[str], UUID]
"""The benchmark run that is meant. Raises ValueError, in one line, where there is none."""


def said(
    resolve: Callable[[str], ModelVersion],
    find_run: FindRun,
    given: Mapping[str, Any],
    before: Lineage = UNSAID,
) -> Lineage:
    """`before` with what is given of `parent`, `dataset_version`, `prompt_version` and
    `evaluation_runs`; what is None stays as it was. Raises `RegistryError`."""
    parent, runs = given.get("parent"), given.get("evaluation_runs")
    dataset, prompt = given.get("dataset_version"), given.get("prompt_version")
    try:
        return Lineage(
            before.parent_id if parent is None else resolve(parent).id,
            before.dataset_version if dataset is None else dataset,
            before.prompt_version if prompt is None else prompt,
            before.evaluation_runs if runs is None else tuple(find_run(str(run)) for run in runs),
        )
    except RegistryError:
        raise
    except ValueError as error:
        raise RegistryError(str(error)) from None
