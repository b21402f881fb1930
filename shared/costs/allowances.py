"""What one episode may spend while it is played: a reservation that goes on from step to step."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from shared.costs.reserving import Refused, Reservation, go_on, reserve, settle
from shared.database import TenantId


@dataclass(frozen=True)
class Cost:
    """Of some calls: what those with a price came to, and how many had none."""

    nanos: int
    unpriced: int


class Allowance:
    """Of one attempt of an episode; may be used by any thread, in its order.

    The next step is expected to cost what the dearest so far did, the first one nothing. So each
    episode can exceed a budget by one step.
    """

    def __init__(
        self, tenant_id: TenantId, model: str, function: str, *, lease_seconds: float
    ) -> None:
        self._tenant_id = tenant_id
        self._model = model
        self._function = function
        self._lease_seconds = lease_seconds
        self._held: Reservation | None = None
        self._settled = Cost(0, 0)
        self._dearest = 0
        self._lock = threading.Lock()

    def begin(self) -> Refused | None:
        """Whether the first step may be taken: None, or why not."""
        with self._lock:
            return self._keep(
                reserve(
                    self._tenant_id,
                    self._model,
                    self._function,
                    0,
                    lease_seconds=self._lease_seconds,
                )
            )

    def step(self, so_far: Cost) -> Refused | None:
        """Whether another step may be taken, now that all calls came to `so_far`."""
        with self._lock:
            if self._held is None:
                return None
            actual = self._since(so_far)
            self._dearest = max(self._dearest, actual)
            return self._keep(go_on(self._held, actual, self._dearest))

    def end(self, in_all: Cost | None) -> None:
        """Settle what came to `in_all`; None: it is not known. A second time is nothing."""
        with self._lock:
            held, self._held = self._held, None
            if held is not None:
                settle(held, None if in_all is None else self._since(in_all))

    def _since(self, so_far: Cost) -> int:
        """What came since it was last asked. Where a call has no price, at least the estimate."""
        known = so_far.nanos - self._settled.nanos
        unpriced = so_far.unpriced > self._settled.unpriced
        self._settled = so_far
        return max(known, self._dearest) if unpriced else known

    def _keep(self, answer: Reservation | Refused) -> Refused | None:
        if isinstance(answer, Refused):
            self._held = None
            return answer
        self._held = answer
        return None
