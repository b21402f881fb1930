"""What A/B tests have shown units of this process, on its way to PostgreSQL with the telemetry."""

from __future__ import annotations

import logging
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
from shared.process_end import at_process_end
from shared.settings import settings

log = logging.getLogger(__name__)

SECONDS: Final = 2.0
"How long an exposure waits at most before it is handed to the collector."


class Exposing:
    """Hands exposures to a collector every `SECONDS`, until it is closed.

    The collector sends them as it sends all events, and keeps them on disk where that cannot be:
    what was shown is not forgotten because a service is away.
    """

    def __init__(
        self, tenant_id: TenantId, buffer: ExposureBuffer, metrics: MetricsCollector | None = None
    ) -> None:
        """Without `metrics` the collector is one of its own, made when it is needed."""
        self._tenant_id = tenant_id
        self._buffer = buffer
        self._metrics = metrics
        self._begin()
        _open.add(self)

    def send_by(self, metrics: MetricsCollector) -> None:
        """Hand over to another collector from now on."""
        self._metrics = metrics

    def hand_over(self) -> int:
        """Hand over what is pending; how many exposures."""
        return self._buffer.drain(self._tell)

    def close(self) -> None:
        """Hand over what is left, and stop."""
        _open.discard(self)
        self._stopped.set()
        self._thread.join()
        self.hand_over()
        # A child of a fork that has shown nobody anything has nothing to wait for.
        if self._handed_over and self._metrics is not None:
            self._metrics.flush()

    def _begin(self) -> None:
        self._handed_over = False
        self._failed = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mlops-exposing", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(SECONDS):
            try:
                self.hand_over()
            except Exception:
                # Nothing is lost by it, but would be without this thread.
                if not self._failed:
                    log.exception("A/B exposures are not handed over, and wait")
                self._failed = True
            else:
                self._failed = False

    def _tell(self, shown: Sequence[Exposure]) -> None:
        metrics = self._collector()
        self._handed_over = True
        for one in shown:
            metrics.record_exposure(
                one.test_id,
                one.unit_id,
                one.variant,
                slot=one.slot,
                occurred_at=datetime.fromtimestamp(one.at, UTC),
            )

    def _collector(self) -> MetricsCollector:
        """The one that was given, as long as it is open."""
        if self._metrics is None or self._metrics.closed:
            folder = settings().state_dir.expanduser().absolute() / "spill" / str(self._tenant_id)
            self._metrics = MetricsCollector(
                transport=DatabaseTransport(self._tenant_id), spill_folder=folder
            )
        return self._metrics


_open: Final[set[Exposing]] = set()
_of_tenants: Final[dict[TenantId, Exposing]] = {}
_lock = threading.Lock()


def exposing_of(tenant_id: TenantId, metrics: MetricsCollector | None = None) -> Exposing:
    """This process's one for a tenant. It sends by the collector that was given last, as long as
    that is open, else by one of its own."""
    with _lock:
        found = _of_tenants.get(tenant_id)
        if found is None:
            found = _of_tenants[tenant_id] = Exposing(tenant_id, exposures_of(tenant_id), metrics)
        elif metrics is not None:
            found.send_by(metrics)
        return found


def _close_all() -> None:
    for one in list(_open):
        one.close()


def _begin_anew() -> None:
    global _lock
    _lock = threading.Lock()
    for one in list(_open):
        one._begin()


os.register_at_fork(after_in_child=_begin_anew)
at_process_end(_close_all)
