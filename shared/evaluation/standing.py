"""Where a run stands: how many of its episodes wait, run and have ended, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Standing:
    """Of one run. Money is nano-dollars; `unpriced_calls` are not in `cost_nanos`."""

    queued: int
    running: int
    scored: int
    environment_errors: int
    over_budget: int
    cancelled: int
    cost_nanos: int
    unpriced_calls: int
    budget_nanos: int | None

    @property
    def ended(self) -> int:
        return self.scored + self.missing

    @property
    def missing(self) -> int:
        """Ended without a result that counts: what `resume` does again."""
        return self.environment_errors + self.over_budget + self.cancelled

    @property
    def total(self) -> int:
        return self.queued + self.running + self.ended

    @property
    def done(self) -> bool:
        return self.ended == self.total

    @property
    def environment_error_rate(self) -> float | None:
        """Of the episodes that the agents were let play; None where there is none."""
        played = self.scored + self.environment_errors
        return self.environment_errors / played if played else None


_STANDING = sa.text(
    """
    SELECT count(*) FILTER (WHERE e.job_status = 'queued') AS queued,
           count(*) FILTER (WHERE e.job_status = 'running') AS running,
           count(*) FILTER (WHERE e.scored) AS scored,
           count(*) FILTER (WHERE e.outcome = 'environment_error') AS environment_errors,
           count(*) FILTER (WHERE e.outcome = 'budget_exceeded') AS over_budget,
           count(*) FILTER (WHERE e.outcome = 'cancelled') AS cancelled,
           coalesce(sum(e.cost_nanos), 0)::bigint AS cost_nanos,
           coalesce(sum(e.unpriced_calls), 0)::bigint AS unpriced_calls,
           (SELECT budget_nanos FROM mlops.benchmark_runs WHERE id = :run) AS budget_nanos
    FROM mlops.episode_results e WHERE e.run_id = :run
    """
)


def standing(session: Session, run_id: UUID) -> Standing:
    return Standing(**session.execute(_STANDING, {"run": run_id}).one()._mapping)
