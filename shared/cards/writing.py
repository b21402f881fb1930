"""Writing the next version of a model's card, and handing cards out as files."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from shared.cards.figures import compute_figures
from shared.cards.rendering import Subject, render
from shared.cards.tables import ModelCardRow
from shared.database import tenant_of
from shared.evaluation.agents.parameters import STAND_IN
from shared.evaluation.agents.registry import describe_registered
from shared.jobs.contracts import WriteCard
from shared.registry.models import resolve
from shared.registry.tables import ModelVersion


class CardError(ValueError):
    """Cards cannot be handed out like this; the message is one line."""


def step(session: Session, job: WriteCard) -> dict[str, Any]:
    """Write the card that a job asks for."""
    card = write_card(session, job.model)
    return {"card_id": str(card.id), "number": card.number, "content_hash": card.content_hash}


def write_card(session: Session, model: str) -> ModelCardRow:
    """The card of `name@version`, or of the newest version of `name`, as the tables are now.

    When nothing that it says has changed, that is the newest card there is, and none is added.
    Raises `RegistryError` for a model that is not registered.
    """
    version = resolve(session, model)
    # One writer at a time: two would give their cards the same number.
    session.execute(
        sa.select(ModelVersion.id).where(ModelVersion.id == version.id).with_for_update()
    )
    figures = compute_figures(session, version, datetime.now(UTC))
    content = render(_subject(version), figures)
    content_hash = hashlib.sha256(content.encode()).hexdigest()
    newest = newest_card(session, version)
    if newest is not None and newest.content_hash == content_hash:
        return newest
    card = ModelCardRow(
        tenant_id=tenant_of(session),
        model_version_id=version.id,
        number=1 if newest is None else newest.number + 1,
        content=content,
        content_hash=content_hash,
        figures=[figure.model_dump(mode="json") for figure in figures],
    )
    session.add(card)
    session.flush()
    return card


def newest_card(session: Session, version: ModelVersion) -> ModelCardRow | None:
    return session.scalars(
        sa.select(ModelCardRow)
        .where(ModelCardRow.model_version_id == version.id)
        .order_by(ModelCardRow.number.desc())
        .limit(1)
    ).one_or_none()


def export(session: Session, directory: Path) -> list[Path]:
    """Write the newest card of every model's version to a file each; return the files.

    The folder is made if need be, and files of the same name are replaced. Raises `CardError` if
    that cannot be done.
    """
    newest = sa.select(ModelCardRow, ModelVersion).join(
        ModelVersion, ModelVersion.id == ModelCardRow.model_version_id
    )
    newest = newest.ext(distinct_on(ModelCardRow.model_version_id)).order_by(
        ModelCardRow.model_version_id, ModelCardRow.number.desc()
    )
    written = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for card, version in session.execute(newest):
            path = directory / file_name(version.model.name, version.version)
            _replace(path, card.content)
            written.append(path)
    except OSError as error:
        raise CardError(f"cards cannot be written to {directory}: {error.strerror}") from None
    return sorted(written)


def file_name(name: str, version: str) -> str:
    """A name that is one on every file system, different for every model and version.

    Names that had to be changed for that carry a hash of what they were.
    """
    safe = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip(".-")[:60]
    safe_version = version.lower()
    if not safe or (safe, safe_version) != (name, version):
        digest = hashlib.sha256(f"{name}@{version}".encode()).hexdigest()[:8]
        safe = f"{safe or 'model'}-{digest}"
    return f"{safe}@{safe_version}.md"


def _replace(path: Path, content: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(content, encoding="utf-8", newline="\n")
    part.replace(path)


def _subject(version: ModelVersion) -> Subject:
    described = _described(version)
    return Subject(
        name=version.model.name,
        version=version.version,
        agent=version.agent,
        description=version.description or version.model.description,
        registered=f"{version.created_at:%Y-%m-%d %H:%M} UTC",
        settings=tuple(
            (name, value) for name, value in sorted(described.items()) if name != "kind"
        ),
        is_stand_in=STAND_IN in (described.get(part) for part in ("base_url", "model", "provider")),
    )


def _described(version: ModelVersion) -> Mapping[str, object]:
    try:
        return describe_registered(version.agent, version.parameters)
    except ValueError:
        # An agent of an earlier release: what was stored is all that is known.
        return version.parameters
