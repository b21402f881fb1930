"""The services of one measurement: PostgreSQL as durable as `mlops up` has it, and Redis."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from migrations.run import upgrade
from shared import broker, database
from shared.local.ephemeral import TemporaryServices, temporary_services
from shared.settings import settings

URLS = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL")


@contextmanager
def measured_services() -> Iterator[TemporaryServices]:
    """New servers, migrated; this process and those it starts use them. Raises `ServiceError`."""
    with (
        open_folder() as folder,
        temporary_services(folder, durable=True) as servers,
        environment(
            DATABASE_URL=servers.database_url,
            DATABASE_OWNER_URL=servers.database_owner_url,
            REDIS_URL=servers.redis_url,
        ),
    ):
        upgrade(servers.database_owner_url, servers.database_url)
        yield servers
        database.engine().dispose()


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that PostgreSQL's own user may enter, also when we are root."""
    with tempfile.TemporaryDirectory(prefix="mlops-benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@contextmanager
def environment(**variables: str | None) -> Iterator[None]:
    """These variables for the time of the block, absent where None; the settings are read anew."""
    before = {name: os.environ.get(name) for name in variables}
    _set(variables)
    try:
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    settings.cache_clear()
    broker.celery_app.cache_clear()


@contextmanager
def python_process(*arguments: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m <arguments>` beside us, ended with the block; what it says is thrown away."""
    with subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=os.environ | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
