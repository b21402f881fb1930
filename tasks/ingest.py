"""Queue `ingest`: one batch of telemetry per message."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from shared.costs.prices import Unpriced, shipped_prices
from shared.jobs.contracts import IngestEvents
from shared.telemetry.events import LlmCallEvent
from shared.telemetry.ingestion import CallCost, ingest
from tasks.declaring import transactional_task

log = logging.getLogger(__name__)

REASONS_KEPT = 10
"How many of a batch's refused events the job's result names."


def store_batch(session: Session, job: IngestEvents) -> Mapping[str, Any]:
    """Store the batch; the result counts its events and names the first that were refused."""
    counts = ingest(session, job.events, call_cost, datetime.now(UTC))
    if counts.rejected:
        log.warning("refused %d of %d events", len(counts.rejected), len(job.events))
    return {
        "stored": counts.stored,
        "duplicates": counts.duplicates,
        "rejected": len(counts.rejected),
        "reasons": [
            {"event": refused.event, "reason": refused.reason}
            for refused in counts.rejected[:REASONS_KEPT]
        ],
    }


def call_cost(call: LlmCallEvent) -> CallCost:
    """The cost of a call by the price of its day."""
    price = shipped_prices().price(call, call.occurred_at)
    if isinstance(price, Unpriced):
        return CallCost(None, price.reason)
    return CallCost(price.nanos, price.version, price.simulated)


ingest_events = transactional_task(IngestEvents, store_batch)
