"""Pictures and traces as files named by the SHA-256 of their content, in a folder a tenant.

`<root>/<tenant>/<first two digits>/<digest>`. The same content is stored once. A file appears
whole or not at all, and what is read is checked against its name: so nothing waits for the disk
when it is written, and what a crash spoils counts as not kept. On several machines the root is a
folder that they share.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.database import TenantId, system_session, tenant_of, tenant_session
from shared.evaluation.tables import Artifact
from shared.settings import settings

log = logging.getLogger(__name__)

JPEG: Final = "image/jpeg"
ZIP: Final = "application/zip"

FREE_AT_LEAST: Final = 512 * 2**20
"Bytes that the disk keeps for others, who may be a database."

LARGEST: Final = 64 * 2**20
"Bytes of one file; what is larger is not kept."

_UNCLAIMED_SECONDS: Final = 86_400
"After so long a file without a row has none coming."

_DELETED_AT_ONCE: Final = 1_000


class NotStoredError(Exception):
    """There is no room for a file, or it is too large; the message is one line."""


@dataclass(frozen=True)
class Stored:
    """A file that is in the store, for a row of `artifacts`."""

    sha256: str
    media_type: str
    size_bytes: int


class ArtifactStore:
    """One tenant's files. Errors of the disk pass through as `OSError`."""

    def __init__(self, tenant_id: UUID, root: Path | None = None) -> None:
        self.folder = (root or artifacts_folder()) / str(tenant_id)

    def put(self, content: bytes, media_type: str) -> Stored:
        """Store the content; raises `NotStoredError` when it is too large or the disk is full."""
        self._require_room(len(content))
        stored = Stored(hashlib.sha256(content).hexdigest(), media_type, len(content))
        if not self._is_there(stored):
            with self.new_file() as temporary:
                temporary.write_bytes(content)
                self._move(temporary, stored)
        return stored

    def adopt(self, temporary: Path, media_type: str) -> Stored:
        """Take over a file that was written to `new_file`; raises as `put` does."""
        with temporary.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        stored = Stored(sha256, media_type, temporary.stat().st_size)
        self._require_room(stored.size_bytes)
        if not self._is_there(stored):
            self._move(temporary, stored)
        return stored

    @contextmanager
    def new_file(self) -> Iterator[Path]:
        """An empty file in the store's folder, to be written; what is left of it is removed."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".new-")
        os.close(handle)
        try:
            yield Path(name)
        finally:
            with suppress(OSError):
                Path(name).unlink(missing_ok=True)

    def read(self, sha256: str) -> bytes | None:
        """The content; None when it is no longer kept, or not on this machine."""
        try:
            content = self.path(sha256).read_bytes()
        except OSError:
            return None
        return content if hashlib.sha256(content).hexdigest() == sha256 else None

    def path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256

    def remove(self, sha256: str) -> None:
        self.path(sha256).unlink(missing_ok=True)

    def unclaimed(self) -> Iterator[str]:
        """Digests of files that nothing has stored again for a day, and half-written leftovers."""
        before = time.time() - _UNCLAIMED_SECONDS
        for file in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            with suppress(FileNotFoundError):
                if file.stat().st_mtime < before:
                    yield file.name
        for leftover in self.folder.glob(".new-*"):
            with suppress(FileNotFoundError):
                if leftover.stat().st_mtime < before:
                    leftover.unlink()

    def _is_there(self, stored: Stored) -> bool:
        path = self.path(stored.sha256)
        try:
            whole = path.stat().st_size == stored.size_bytes
            if whole:
                os.utime(path)
        except OSError:
            return False
        return whole

    def _move(self, temporary: Path, stored: Stored) -> None:
        path = self.path(stored.sha256)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        temporary.replace(path)

    def _require_room(self, size: int) -> None:
        if size > LARGEST:
            raise NotStoredError(f"{size} bytes are too many for one file; at most {LARGEST}")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        free = shutil.disk_usage(self.folder).free
        if free - size < FREE_AT_LEAST:
            raise NotStoredError(f"{free} bytes are free in {self.folder}: too few to store more")


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
