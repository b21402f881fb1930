"""Where a run stands: how many of its episodes wait, run and have ended, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Standing:
    """Of one run. Money is nano-dollars.

    `cost_nanos` is that of agents and judges, without `unpriced_calls`, which are the agents',
    and `unpriced_judge_calls`.
    """

    queued: int
    running: int
    scored: int
    environment_errors: int
    over_budget: int
    cancelled: int
    cost_nanos: int
    unpriced_calls: int
    unpriced_judge_calls: int
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
           coalesce(sum(e.unpriced_calls), 0)::bigint AS unpriced_calls,
           (SELECT coalesce(sum((one->>'unpriced_calls')::bigint), 0)::bigint
            FROM mlops.episodes j CROSS JOIN LATERAL jsonb_array_elements(
                CASE jsonb_typeof(j.judgements) WHEN 'array' THEN j.judgements ELSE '[]' END
            ) AS one WHERE j.run_id = :run) AS unpriced_judge_calls,
           (SELECT budget_nanos FROM mlops.benchmark_runs WHERE id = :run) AS budget_nanos
    FROM mlops.episode_results e WHERE e.run_id = :run
    """
)


_SPENT = sa.text(
    """
    SELECT coalesce(sum(e.cost_nanos + coalesce(judges.nanos, 0)), 0)::bigint
    FROM mlops.episodes e
    LEFT JOIN LATERAL (
        SELECT sum((one->>'cost_nanos')::bigint) AS nanos
        FROM jsonb_array_elements(
            CASE jsonb_typeof(e.judgements) WHEN 'array' THEN e.judgements ELSE '[]' END) AS one
    ) AS judges ON e.judgements IS NOT NULL
    WHERE e.run_id = :run AND NOT e.id = ANY(:besides)
    """
).bindparams(sa.bindparam("besides", type_=ARRAY(sa.Uuid)))


def standing(session: Session, run_id: UUID) -> Standing:
    row = session.execute(_STANDING, {"run": run_id}).one()
    return Standing(**row._mapping, cost_nanos=spent_nanos(session, run_id))


def spent_nanos(session: Session, run_id: UUID, besides: Sequence[UUID] = ()) -> int:
    """Known cost of a run, all attempts and judges, without that of the episodes `besides`."""
    return int(session.scalar(_SPENT, {"run": run_id, "besides": list(besides)}) or 0)
