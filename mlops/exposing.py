"""What A/B tests have shown units of this process, on its way to PostgreSQL with the telemetry."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from mlops.metrics import MetricsCollector
from mlops.telemetry.sending import DatabaseTransport
from shared.abtest.copies import exposures_of
from shared.abtest.exposures import Exposure, ExposureBuffer
from shared.database import TenantId
from shared.settings import settings

SECONDS: Final = 2.0
"How long an exposure waits at most before it is handed to the collector."


class Exposing:
    """Hands exposures to a collector every `SECONDS`, until it is closed.

    The collector sends them as it sends all events, and keeps them on disk where that cannot be:
    what was shown is not forgotten because a service is away.
    """

    def __init__(self, buffer: ExposureBuffer, metrics: MetricsCollector) -> None:
        self._buffer = buffer
        self._metrics = metrics
        self._begin()
        _open.add(self)

    def hand_over(self) -> int:
        """Hand over what is pending; how many exposures."""
        return self._buffer.drain(self._tell)

    def close(self) -> None:
        """Hand over what is left, and stop."""
        _open.discard(self)
        self._stopped.set()
        self._thread.join()
        self.hand_over()
        self._metrics.flush()

    def _begin(self) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mlops-exposing", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(SECONDS):
            self.hand_over()

    def _tell(self, shown: Sequence[Exposure]) -> None:
        for one in shown:
            self._metrics.record_exposure(
                one.test_id,
                one.unit_id,
                one.variant,
                slot=one.slot,
                occurred_at=datetime.fromtimestamp(one.at, UTC),
            )


_open: Final[set[Exposing]] = set()
_of_tenants: Final[dict[TenantId, Exposing]] = {}


def exposing_of(tenant_id: TenantId, metrics: MetricsCollector | None = None) -> Exposing:
    """This process's one for a tenant, made at the first call, with `metrics` or one of its own."""
    found = _of_tenants.get(tenant_id)
    if found is None:
        if metrics is None:
            spill = settings().state_dir.expanduser().absolute() / "spill" / str(tenant_id)
            metrics = MetricsCollector(transport=DatabaseTransport(tenant_id), spill_folder=spill)
        found = _of_tenants[tenant_id] = Exposing(exposures_of(tenant_id), metrics)
    return found


def _close_all() -> None:
    for one in list(_open):
        one.close()


def _begin_anew() -> None:
    for one in list(_open):
        one._begin()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_begin_anew)
