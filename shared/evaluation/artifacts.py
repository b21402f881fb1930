"""Pictures and traces as files named by the SHA-256 of their content, in a folder a tenant.

On several machines the root, which has the folders of all tenants, is a folder that they share.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.content_store import ContentStore, Stored
from shared.database import TenantId, system_session, tenant_of, tenant_session
from shared.evaluation.tables import Artifact
from shared.settings import settings

log = logging.getLogger(__name__)

JPEG: Final = "image/jpeg"
ZIP: Final = "application/zip"

LARGEST: Final = 64 * 2**20
"Bytes of one file; what is larger is not kept."

_DELETED_AT_ONCE: Final = 1_000


class ArtifactStore(ContentStore):
    """One tenant's pictures and traces."""

    def __init__(self, tenant_id: UUID, root: Path | None = None) -> None:
        super().__init__((root or artifacts_folder()) / str(tenant_id), LARGEST)


def artifacts_folder() -> Path:
    return settings().artifacts or settings().state_dir / "artifacts"


def record_stored(session: Session, stored: Sequence[Stored]) -> None:
    """Write the rows of these files; one that is there counts as stored now."""
    if not stored:
        return
    tenant_id = tenant_of(session)
    statement = insert(Artifact)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id", "sha256"], set_={"created_at": sa.func.now()}
        ),
        [
            {
                "tenant_id": tenant_id,
                "sha256": one.sha256,
                "media_type": one.media_type,
                "size_bytes": one.size_bytes,
            }
            # One order for all writers: two episodes at once must not wait for each other.
            for one in sorted({one.sha256: one for one in stored}.values(), key=_by_digest)
        ],
    )


def _by_digest(stored: Stored) -> str:
    return stored.sha256


def prune_all() -> int:
    """`prune` for every tenant; returns how many files were removed."""
    with system_session() as session:
        tenants = session.scalars(sa.text("SELECT mlops.tenant_ids()")).all()
    return sum(prune(TenantId(tenant)) for tenant in tenants)


def prune(tenant_id: TenantId, limit_bytes: int | None = None) -> int:
    """Remove a tenant's oldest files above the limit, and those that no result came of.

    An episode whose pictures are gone says so where it is shown.
    """
    limit = settings().artifacts_bytes if limit_bytes is None else limit_bytes
    store = ArtifactStore(tenant_id)
    with tenant_session(tenant_id) as session:
        gone = set(session.scalars(_OLDEST, {"limit": limit}))
    unclaimed = list(store.unclaimed())
    for first in range(0, len(unclaimed), _DELETED_AT_ONCE):
        some = unclaimed[first : first + _DELETED_AT_ONCE]
        with tenant_session(tenant_id) as session:
            known = session.scalars(sa.select(Artifact.sha256).where(Artifact.sha256.in_(some)))
            gone |= set(some) - set(known)
    for sha256 in gone:
        try:
            store.remove(sha256)
        except OSError as error:
            log.warning("%s stays in %s: %s", sha256, store.folder, error.strerror)
    return len(gone)


_OLDEST = sa.text(
    """
    DELETE FROM mlops.artifacts WHERE sha256 IN (
        SELECT sha256 FROM (
            SELECT sha256, sum(size_bytes) OVER (ORDER BY created_at DESC, sha256) AS newer
            FROM mlops.artifacts) AS a
        WHERE newer > :limit)
    RETURNING sha256
    """
)
