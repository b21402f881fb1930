"""Commands in a tenant of the test's own, and a folder that `MetricsCollector` sends to."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from click.testing import Result
from typer.testing import CliRunner

from mlops.cli import app
from mlops.metrics import MetricsCollector
from mlops.telemetry.sending import RefusedBatchError, WaitError
from shared.database import TenantId
from shared.settings import settings
from shared.tenancy.tenants import create_tenant


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


@dataclass(frozen=True)
class Receiver:
    """A service that takes batches, one file each, and does what its `state` says."""

    folder: Path

    def become(self, state: str) -> None:
        """`there`, `away`, `silent` (does not answer), `full 0.2` (seconds), or `refusing`."""
        draft = self.folder / f".{uuid4()}"
        draft.write_text(state)
        draft.rename(self.folder / "state")

    def send(self, batch_id: UUID, packed: bytes, events: int) -> None:
        match (self.folder / "state").read_text().split():
            case ["away"]:
                raise ConnectionRefusedError("nobody is there")
            case ["full", seconds]:
                raise WaitError(float(seconds))
            case ["refusing"]:
                raise RefusedBatchError("it is not a batch")
            case ["silent"]:
                while (self.folder / "state").read_text() == "silent":
                    time.sleep(0.01)
                raise TimeoutError("it has not answered")
        assert len(zlib.decompress(packed).splitlines()) == events
        # One file for each time that it was sent: a second delivery is to be seen.
        draft = self.folder / f".{uuid4()}"
        draft.write_bytes(packed)
        draft.rename(self.folder / f"{time.time_ns():020}_{batch_id}_{os.getpid()}.received")

    def batches(self) -> list[list[dict[str, Any]]]:
        """The events of each delivery, in their order."""
        files = sorted(self.folder.glob("*.received"))
        return [
            [json.loads(line) for line in zlib.decompress(file.read_bytes()).splitlines()]
            for file in files
        ]

    def events(self) -> list[dict[str, Any]]:
        return [event for batch in self.batches() for event in batch]

    def event(self) -> dict[str, Any]:
        """The only one."""
        [event] = self.events()
        return event


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
