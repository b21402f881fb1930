"""The artifact store: whole files or none, each once, and never more than there is room for."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from shared import content_store
from shared.content_store import ContentStore, NotStoredError
from shared.database import TenantId, tenant_session
from shared.evaluation.artifacts import (
    JPEG,
    ZIP,
    ArtifactStore,
    prune,
    record_stored,
)
from shared.evaluation.tables import Artifact


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(uuid4(), tmp_path / "store")


def files(store: ArtifactStore) -> list[Path]:
    return [path for path in store.folder.rglob("*") if path.is_file()]


def test_what_is_stored_is_read_by_its_digest(store: ArtifactStore) -> None:
    stored = store.put(b"picture", JPEG)
    assert stored.sha256 == hashlib.sha256(b"picture").hexdigest()
    assert store.read(stored.sha256) == b"picture"
    assert store.path(stored.sha256).parent.name == stored.sha256[:2]


def test_the_same_content_is_stored_once(store: ArtifactStore) -> None:
    first = store.put(b"picture", JPEG)
    os.utime(store.path(first.sha256), (1, 1))
    assert store.put(b"picture", JPEG) == first
    assert len(files(store)) == 1
    # It is not taken for something that nobody has wanted for a long time.
    assert list(store.unclaimed()) == []


def test_a_file_that_was_written_elsewhere_is_taken_over(store: ArtifactStore) -> None:
    with store.new_file() as temporary:
        temporary.write_bytes(b"trace")
        stored = store.adopt(temporary, ZIP)
    assert (store.read(stored.sha256), stored.size_bytes) == (b"trace", 5)
    with pytest.raises(ValueError, match="broken off"), store.new_file() as temporary:
        temporary.write_bytes(b"half of a tr")
        raise ValueError("broken off")
    assert len(files(store)) == 1


@pytest.mark.parametrize("spoilt", [b"", b"pictur", b"Picture"])
def test_what_a_crash_has_spoilt_is_not_shown(store: ArtifactStore, spoilt: bytes) -> None:
    stored = store.put(b"picture", JPEG)
    store.path(stored.sha256).write_bytes(spoilt)
    assert store.read(stored.sha256) is None


def test_what_a_crash_has_cut_short_is_stored_anew(store: ArtifactStore) -> None:
    stored = store.put(b"picture", JPEG)
    store.path(stored.sha256).write_bytes(b"")
    store.put(b"picture", JPEG)
    assert store.read(stored.sha256) == b"picture"


def test_what_is_not_there_is_not_there(store: ArtifactStore) -> None:
    assert store.read("0" * 64) is None


@pytest.fixture
def no_room() -> Iterator[None]:
    """The kernel refuses to let a file of this process grow, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_nothing_half_written(store: ArtifactStore, no_room: None) -> None:
    with pytest.raises(OSError, match="too large"):
        store.put(b"x" * 100, JPEG)
    assert files(store) == []


def test_what_is_too_large_is_refused(
    tmp_path: Path,
) -> None:
    store = ContentStore(tmp_path / "store", largest=6)
    with pytest.raises(NotStoredError, match="7 bytes are too many for one file; at most 6"):
        store.put(b"picture", JPEG)


def test_the_last_of_the_disk_is_left_to_others(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content_store, "FREE_AT_LEAST", 2**60)
    with pytest.raises(NotStoredError, match="too few to store more"):
        store.put(b"picture", JPEG)


@pytest.fixture
def kept(
    tenant: TenantId, tmp_path: Path, with_environment: Callable[..., None]
) -> tuple[ArtifactStore, list[str]]:
    """A tenant's store with three pictures of ten bytes, the oldest first."""
    with_environment(MLOPS_ARTIFACTS=str(tmp_path / "store"))
    store = ArtifactStore(tenant)
    stored = [store.put(f"picture {n:02}".encode(), JPEG) for n in range(3)]
    for age, one in zip((3, 2, 1), stored, strict=True):
        with tenant_session(tenant) as session:
            record_stored(session, [one, one])
            session.execute(
                sa.update(Artifact)
                .where(Artifact.sha256 == one.sha256)
                .values(created_at=datetime.now(UTC) - timedelta(hours=age))
            )
    return store, [one.sha256 for one in stored]


def rows(tenant: TenantId) -> set[str]:
    with tenant_session(tenant) as session:
        return set(session.scalars(sa.select(Artifact.sha256)))


@pytest.mark.parametrize(("limit", "removed"), [(30, 0), (29, 1), (10, 2), (0, 3)])
def test_the_oldest_beyond_the_limit_are_removed(
    tenant: TenantId, kept: tuple[ArtifactStore, list[str]], limit: int, removed: int
) -> None:
    store, digests = kept
    assert prune(tenant, limit) == removed
    left = digests[removed:]
    assert rows(tenant) == set(left)
    assert {path.name for path in files(store)} == set(left)


def test_what_is_stored_again_is_young_again(
    tenant: TenantId, kept: tuple[ArtifactStore, list[str]]
) -> None:
    store, digests = kept
    with tenant_session(tenant) as session:
        record_stored(session, [store.put(b"picture 00", JPEG)])
    prune(tenant, 10)
    assert rows(tenant) == {digests[0]}


def test_files_without_a_result_are_removed_after_a_day(
    tenant: TenantId, kept: tuple[ArtifactStore, list[str]]
) -> None:
    store, digests = kept
    fresh, old = store.put(b"fresh", JPEG), store.put(b"old", JPEG)
    with store.new_file() as temporary:
        leftover = temporary.rename(temporary.with_name(".new-left"))
    for path in (store.path(old.sha256), store.path(digests[0]), leftover):
        os.utime(path, (1, 1))
    assert prune(tenant) == 1
    assert {path.name for path in files(store)} == {*digests, fresh.sha256}


def test_a_tenant_does_not_see_the_files_of_another(
    kept: tuple[ArtifactStore, list[str]],
) -> None:
    _, digests = kept
    stranger = ArtifactStore(uuid4())
    assert [stranger.read(digest) for digest in digests] == [None] * 3
