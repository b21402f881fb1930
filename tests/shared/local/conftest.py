"""A state folder of its own for each test, and an environment that names no service."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.local import services
from shared.settings import settings


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder that PostgreSQL's user may enter, which pytest's own may not be."""
    path = Path(tempfile.mkdtemp(prefix="mlops-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder; whatever a test leaves running in it is stopped."""
    for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    path = folder / "state"
    monkeypatch.setenv("MLOPS_STATE_DIR", str(path))
    monkeypatch.setenv("MLOPS_FLOWER_PORT", "0")
    monkeypatch.setenv("MLOPS_WEB_PORT", "0")
    settings.cache_clear()
    yield path
    services.stop(path)
    settings.cache_clear()
