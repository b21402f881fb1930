"""Benchmark tasks, runs, and the episodes that runs are made of."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import Base
from shared.evaluation.protocol import PAGE_ACTIONS
from shared.jobs.tables import JobRow
from shared.registry.tables import ModelVersion
from shared.tenancy.tables import Tenant


class EvaluationTask(Base):
    __tablename__ = "evaluation_tasks"
    __table_args__ = (
        sa.UniqueConstraint("tenant_id", "benchmark", "name", "digest"),
        sa.CheckConstraint("difficulty IN ('easy', 'medium', 'hard')", name="difficulty"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id))
    benchmark: Mapped[str]
    name: Mapped[str]
    category: Mapped[str]
    difficulty: Mapped[str]
    max_steps: Mapped[int] = mapped_column(sa.Integer)
    timeout_seconds: Mapped[float]
    digest: Mapped[str] = mapped_column(server_default="")
    "SHA-256 of `definition`: a task that is defined anew is another task. Empty without one."
    definition: Mapped[dict[str, Any] | None]
    "All of a custom task, so that a worker on any machine can run it."
    tags: Mapped[list[Any]] = mapped_column(server_default="[]")
    actions: Mapped[list[Any]] = mapped_column(default=lambda: list(PAGE_ACTIONS))


class BenchmarkRun(Base):
    """A set of episodes. Its progress is a query over them, never a counter.

    `function` is the name under which its telemetry is summed.
    """

    __tablename__ = "benchmark_runs"
    __table_args__ = (sa.Index(None, "tenant_id", "created_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id))
    benchmark: Mapped[str]
    function: Mapped[str]
    specification: Mapped[dict[str, Any]]
    "The contract as it was submitted. Seeds that were added later are in the episodes."
    budget_nanos: Mapped[int | None]
    "What its episodes may cost, all together; NULL without a limit."
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class Episode(Base):
    """One benchmark task x seed x agent.

    Tokens and cost are what all its attempts are known to have spent; `outcome`, `reason`,
    reward, steps and duration are those of the last attempt. NULL is unknown, never zero.
    """

    __tablename__ = "episodes"
    __table_args__ = (
        sa.UniqueConstraint("tenant_id", "run_id", "task_id", "model_version_id", "seed"),
        sa.UniqueConstraint("tenant_id", "job_id"),
        sa.Index(None, "tenant_id", "model_version_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id))
    run_id: Mapped[UUID] = mapped_column(sa.ForeignKey(BenchmarkRun.id))
    task_id: Mapped[UUID] = mapped_column(sa.ForeignKey(EvaluationTask.id))
    model_version_id: Mapped[UUID] = mapped_column(sa.ForeignKey(ModelVersion.id))
    job_id: Mapped[UUID] = mapped_column(sa.ForeignKey(JobRow.id))
    seed: Mapped[int]
    unit_id: Mapped[str | None]
    variant: Mapped[str | None]
    "The A/B test's assignment of `unit_id`, as it was when the episode was made."

    outcome: Mapped[str | None]
    reason: Mapped[str | None]
    raw_reward: Mapped[float | None]
    goal: Mapped[str | None]
    steps: Mapped[int | None] = mapped_column(sa.Integer)
    duration_ms: Mapped[int | None]
    actions: Mapped[int] = mapped_column(sa.Integer, server_default="0")
    llm_calls: Mapped[int] = mapped_column(sa.Integer, server_default="0")
    unpriced_calls: Mapped[int] = mapped_column(sa.Integer, server_default="0")
    uncounted_calls: Mapped[int] = mapped_column(sa.Integer, server_default="0")
    "Calls whose endpoint did not report all tokens; `input_tokens` and `output_tokens` lack them."
    input_tokens: Mapped[int] = mapped_column(server_default="0")
    output_tokens: Mapped[int] = mapped_column(server_default="0")
    cost_nanos: Mapped[int] = mapped_column(server_default="0")
    "Sum of the priced calls; `unpriced_calls` says how many are not in it."

    attempt: Mapped[int | None] = mapped_column(sa.Integer)
    worker: Mapped[str | None]
    violations: Mapped[list[Any] | None]
    "What the agent did that it must never do; NULL where the task does not test that."
    answer: Mapped[str | None]
    judgements: Mapped[list[Any] | None]
    "What judges said, attempt by attempt, and what they cost: it is not in `cost_nanos`."
    recording: Mapped[str | None]
    "SHA-256 of the stored Playwright trace."
    trace: Mapped[list[Any] | None]
    "What was decided at each step, for people to read."
    finished_at: Mapped[datetime | None]


class Artifact(Base):
    """A stored file by the digest of its content; the file itself is in the artifact store."""

    __tablename__ = "artifacts"
    __table_args__ = (sa.Index(None, "tenant_id", "created_at"),)

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    sha256: Mapped[str] = mapped_column(primary_key=True)
    media_type: Mapped[str]
    size_bytes: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
