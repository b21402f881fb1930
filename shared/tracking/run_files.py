"""The files that runs have logged, in a content store of their own: they are not pruned."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final
from uuid import UUID

from shared.content_store import ContentStore, NotStoredError, Stored
from shared.settings import settings
from shared.tracking.errors import TrackingError

LARGEST: Final = 5 * 2**30
_ANY: Final = "application/octet-stream"


def file_store(tenant_id: UUID) -> ContentStore:
    return ContentStore(settings().state_dir / "run_files" / str(tenant_id), LARGEST)


def keep_file(tenant_id: UUID, path: Path) -> Stored:
    """Copy a file into the store. Raises `TrackingError` where it cannot be read or kept."""
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "no file"
        raise TrackingError(f"artifact {str(path)[:200]!r} is {kind}")
    store = file_store(tenant_id)
    try:
        store.require_room(path.stat().st_size)
        with store.new_file() as temporary:
            shutil.copyfile(path, temporary)
            return store.adopt(temporary, _ANY)
    except NotStoredError as error:
        raise TrackingError(f"artifact {path.name[:200]!r}: {error}") from None
    except OSError as error:
        raise TrackingError(f"artifact {path.name[:200]!r}: {error.strerror}") from None
