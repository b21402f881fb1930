"""What the evaluation engine keeps: whole tasks, safety, answers, recordings, priorities."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from migrations.definer import joined_to_definer
from migrations.walls import wall

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# As before, and with the columns that this version adds. An episode that its run's budget did not
# allow says nothing of the agent.
EPISODE_RESULTS = """
CREATE VIEW mlops.episode_results WITH (security_invoker = true) AS
SELECT e.id, e.tenant_id, e.run_id, e.task_id, e.model_version_id, e.job_id, e.seed, e.unit_id,
       e.variant, e.raw_reward, e.goal, e.steps, e.duration_ms, e.actions, e.llm_calls,
       e.unpriced_calls, e.uncounted_calls, e.input_tokens, e.output_tokens, e.cost_nanos,
       e.violations, e.answer, e.recording,
       j.attempt, e.worker, e.finished_at, j.status AS job_status, ended.outcome,
       coalesce(ended.outcome NOT IN ('environment_error', 'budget_exceeded', 'cancelled'), false)
           AS scored,
       CASE j.status WHEN 'succeeded' THEN e.reason
                     WHEN 'failed' THEN j.error
                     WHEN 'cancelled' THEN coalesce(j.error, 'cancelled') END AS reason
FROM mlops.episodes e JOIN mlops.jobs j ON j.id = e.job_id AND j.tenant_id = e.tenant_id
CROSS JOIN LATERAL (
    SELECT CASE j.status WHEN 'succeeded' THEN e.outcome
                         WHEN 'failed' THEN coalesce(e.outcome, 'environment_error')
                         WHEN 'cancelled' THEN 'cancelled' END AS outcome) AS ended;
GRANT SELECT ON mlops.episode_results TO mlops_app;
"""

# As before, and with each job's priority: what is sent again must not wait behind what came later.
JOBS_TO_SEND = """
CREATE FUNCTION mlops.jobs_to_send(empty_queues text[], patience interval, at_most int)
RETURNS TABLE (tenant_id uuid, job_id uuid, kind text, queue text, priority smallint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT j.tenant_id, j.id, j.kind, j.queue, j.priority FROM mlops.jobs j
    WHERE j.status = 'queued' AND j.not_before <= now() AND (
        j.sent_at < j.not_before
        OR (j.queue = ANY (empty_queues) AND j.sent_at < now() - patience)
        OR j.sent_at < now() - interval '10 minutes' * j.sends
    ) ORDER BY j.priority, j.sent_at LIMIT at_most
$$;
REVOKE ALL ON FUNCTION mlops.jobs_to_send(text[], interval, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION mlops.jobs_to_send(text[], interval, int) TO mlops_app;
ALTER FUNCTION mlops.jobs_to_send(text[], interval, int) OWNER TO mlops_definer;
"""


BEFORE_THERE_WERE_TABS = (
    '["click", "double_click", "hover", "fill", "select_option", "press", "drag", "scroll",'
    ' "wait", "report_infeasible"]'
)
"What the tasks of earlier versions allow."


def upgrade() -> None:
    for column in (
        sa.Column("digest", sa.Text(), server_default="", nullable=False),
        sa.Column("definition", JSONB(), nullable=True),
        sa.Column("tags", JSONB(), server_default="[]", nullable=False),
        sa.Column("actions", JSONB(), server_default=BEFORE_THERE_WERE_TABS, nullable=False),
    ):
        op.add_column("evaluation_tasks", column, schema="mlops")
    # It was for the rows that are there: a task that allows nothing must not come about by default.
    op.alter_column("evaluation_tasks", "actions", server_default=None, schema="mlops")
    op.drop_constraint(
        "evaluation_tasks_tenant_id_benchmark_name_key", "evaluation_tasks", schema="mlops"
    )
    op.create_unique_constraint(
        "evaluation_tasks_tenant_id_benchmark_name_digest_key",
        "evaluation_tasks",
        ["tenant_id", "benchmark", "name", "digest"],
        schema="mlops",
    )
    for column in (
        sa.Column("violations", JSONB(none_as_null=True), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("judgements", JSONB(none_as_null=True), nullable=True),
        sa.Column("recording", sa.Text(), nullable=True),
    ):
        op.add_column("episodes", column, schema="mlops")
    op.add_column(
        "jobs",
        sa.Column("priority", sa.SmallInteger(), server_default="5", nullable=False),
        schema="mlops",
    )
    with joined_to_definer(op.get_bind()):
        op.execute("DROP FUNCTION mlops.jobs_to_send(text[], interval, int)")
        op.execute("GRANT CREATE ON SCHEMA mlops TO mlops_definer")
        op.execute(JOBS_TO_SEND)
        op.execute("REVOKE CREATE ON SCHEMA mlops FROM mlops_definer")
    op.add_column(
        "benchmark_runs",
        sa.Column("budget_nanos", sa.BigInteger(), nullable=True),
        schema="mlops",
    )
    # The rest of a run stays what it was asked to be. The right also lets a run be locked.
    op.execute("GRANT UPDATE (budget_nanos) ON mlops.benchmark_runs TO mlops_app")
    op.create_table(
        "artifacts",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["mlops.tenants.id"]),
        sa.PrimaryKeyConstraint("tenant_id", "sha256"),
        schema="mlops",
    )
    op.create_index(
        "artifacts_tenant_id_created_at_idx",
        "artifacts",
        ["tenant_id", "created_at"],
        schema="mlops",
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON mlops.artifacts TO mlops_app")
    wall("artifacts")
    op.execute("DROP VIEW mlops.episode_results")
    op.execute(EPISODE_RESULTS)
