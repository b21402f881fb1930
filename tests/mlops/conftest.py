"""Commands in a tenant of the test's own, and a folder that `MetricsCollector` sends to."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import Result
from typer.testing import CliRunner

from mlops.cli import app
from mlops.metrics import MetricsCollector
from shared.database import TenantId
from shared.settings import settings
from shared.tenancy.tenants import create_tenant
from tests.mlops.receiving import Receiver


@pytest.fixture
def name(services: object) -> str:
    """Of the test's own tenant."""
    return f"commands-{uuid4()}"


@pytest.fixture
def tenant(name: str) -> TenantId:
    return create_tenant(name)


@pytest.fixture
def mlops(name: str, tenant: TenantId, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """A command in this process, in the test's own tenant."""

    def run(*arguments: str, width: int = 250) -> Result:
        with monkeypatch.context() as patch:
            patch.setenv("MLOPS_TENANT", name)
            patch.setattr("mlops.console.out.width", width)
            settings.cache_clear()
            result = CliRunner().invoke(app, list(arguments))
        settings.cache_clear()
        return result

    return run


@pytest.fixture
def receiver(tmp_path: Path) -> Receiver:
    folder = tmp_path / "received"
    folder.mkdir()
    made = Receiver(folder)
    made.become("there")
    return made


@pytest.fixture
def spill(tmp_path: Path) -> Path:
    return tmp_path / "spill"


@pytest.fixture
def collector(
    receiver: Receiver, spill: Path, request: pytest.FixtureRequest
) -> Callable[..., MetricsCollector]:
    """Make a collector that sends to the receiver; it is closed after the test."""

    def make(**limits: Any) -> MetricsCollector:
        made = MetricsCollector(**{"transport": receiver, "spill_folder": spill} | limits)
        request.addfinalizer(made.close)
        return made

    return make


@pytest.fixture
def metrics(collector: Callable[..., MetricsCollector]) -> MetricsCollector:
    return collector()


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Wait for a condition; fail after twenty seconds."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "it has not happened"
            time.sleep(0.01)

    return wait
