"""What the tests stand on: a real PostgreSQL and a real Redis, one pair per test process.

Every test has a tenant of its own. The wall between tenants is what the product rests on, so it is
also what keeps the tests apart: nothing is rolled back and nothing is truncated.
"""

from __future__ import annotations

import functools
import gc
import signal
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import redis
import typer.testing
from sqlalchemy.orm import Session
from xdist.scheduler import LoadScopeScheduling

from migrations.run import upgrade
from shared import broker, database
from shared.database import TenantId, tenant_session
from shared.local.ephemeral import TemporaryServices, temporary_services
from shared.redis_client import redis_client
from shared.settings import settings
from shared.tenancy.tenants import create_tenant

if TYPE_CHECKING:
    from workers.browser import BrowserRuntime

# What is imported and collected stays. To look through it for garbage again and again, while it
# grows and at each later look, takes seconds of every test process.
gc.disable()

# A run in the background of a shell inherits SIGINT as ignored, and so would the commands that the
# tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing on a shared machine.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")

# To build all commands takes most of the time of a command in a test; once in a process is enough.
typer.testing._get_command = functools.cache(typer.testing._get_command)


class _ByFile(LoadScopeScheduling):
    """A file's tests share their fixtures, and the tests of the cluster share the cluster."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "cluster" if "tests/cluster/" in file else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest by itself begins first: nothing else is to wait for its end."""
    items.sort(key=lambda item: "tests/cluster/" not in item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporaryServices]:
    """PostgreSQL, migrated, and Redis; the environment of this process names both."""
    with ExitStack() as stack:
        found = stack.enter_context(temporary_services(tmp_path_factory.mktemp("services")))
        environment = {
            "DATABASE_URL": found.database_url,
            "DATABASE_OWNER_URL": found.database_owner_url,
            "REDIS_URL": found.redis_url,
            "MLOPS_STATE_DIR": str(tmp_path_factory.mktemp("state")),
            "MLOPS_LEASE_SECONDS": "3",
            "MLOPS_RESEND_AFTER_SECONDS": "2",
        }
        stack.callback(_forget)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in environment.items():
            patch.setenv(name, value)
        _forget()
        upgrade(found.database_owner_url, found.database_url)
        yield found
        for engine in database._engines.values():
            engine.dispose()
        if broker.celery_app.cache_info().currsize:
            broker.celery_app().close()
        redis_client().close()


def _forget() -> None:
    settings.cache_clear()
    broker.celery_app.cache_clear()


@pytest.fixture
def tenant(services: TemporaryServices) -> TenantId:
    """A tenant that only this test knows."""
    return create_tenant(f"test-{uuid.uuid4()}")


@pytest.fixture
def session(tenant: TenantId) -> Iterator[Session]:
    """A transaction of the test's tenant, committed at the end of the test."""
    with tenant_session(tenant) as open_session:
        yield open_session


@pytest.fixture
def clean_redis(services: TemporaryServices) -> redis.Redis:
    """The test process's own Redis, emptied."""
    client = redis_client()
    client.flushall()
    return client


@pytest.fixture(scope="session")
def browser() -> Iterator[BrowserRuntime]:
    """The test process's own browser: as in a worker, each episode has a context of its own."""
    # Most test processes need neither it nor its imports.
    from workers.browser import BrowserRuntime

    runtime = BrowserRuntime(contexts=4)
    yield runtime
    runtime.close()


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder of the test's own."""
    monkeypatch.setenv("MLOPS_STATE_DIR", str(tmp_path / "state"))
    settings.cache_clear()
    yield tmp_path / "state"
    settings.cache_clear()


@pytest.fixture
def with_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Set environment variables as keywords; the settings are read anew."""

    def set_all(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()

    yield set_all
    settings.cache_clear()
