"""The tables of the spine."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("occurred_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("function", sa.Text(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column("episode_id", sa.Uuid(), nullable=True),
        sa.Column("success", sa.Boolean(), nullable=True),
        sa.Column("error_type", sa.Text(), nullable=True),
        sa.Column("latency_ms", sa.BigInteger(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("llm_model", sa.Text(), nullable=True),
        sa.Column("input_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cached_input_tokens", sa.BigInteger(), nullable=True),
        sa.Column("output_tokens", sa.BigInteger(), nullable=True),
        sa.Column("query_length", sa.BigInteger(), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("dom_nodes", sa.BigInteger(), nullable=True),
        sa.Column("cost_nanos", sa.BigInteger(), nullable=True),
        sa.Column("cost_reason", sa.Text(), nullable=True),
        sa.Column("price_simulated", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "attributes",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("tenant_id", "event_id", "occurred_at", name=op.f("events_pkey")),
        schema="mlops",
        postgresql_partition_by="RANGE (occurred_at)",
    )
    op.create_index(
        op.f("events_tenant_id_occurred_at_idx"),
        "events",
        ["tenant_id", "occurred_at"],
        unique=False,
        schema="mlops",
    )
    op.create_table(
        "tenants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("tenants_pkey")),
        sa.UniqueConstraint("name", name=op.f("tenants_name_key")),
        schema="mlops",
    )
    op.create_table(
        "timetable_slots",
        sa.Column("entry", sa.Text(), nullable=False),
        sa.Column("slot", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("entry", "slot", name=op.f("timetable_slots_pkey")),
        schema="mlops",
    )
    op.create_table(
        "ab_tests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("success_metric", sa.Text(), nullable=False),
        sa.Column("variants", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("table_version", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["mlops.tenants.id"], name=op.f("ab_tests_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("ab_tests_pkey")),
        sa.UniqueConstraint(
            "tenant_id", "environment", "name", name=op.f("ab_tests_tenant_id_environment_name_key")
        ),
        schema="mlops",
    )
    op.create_table(
        "alerts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column(
            "details", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False
        ),
        sa.Column(
            "raised_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "last_seen_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("times_seen", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("resolved_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "severity IN ('info', 'warning', 'critical')", name=op.f("alerts_severity_check")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["mlops.tenants.id"], name=op.f("alerts_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("alerts_pkey")),
        schema="mlops",
    )
    op.create_index(
        "alerts_open_idx",
        "alerts",
        ["tenant_id", "fingerprint"],
        unique=True,
        schema="mlops",
        postgresql_where="resolved_at IS NULL",
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("revoked_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["mlops.tenants.id"], name=op.f("api_keys_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("api_keys_pkey")),
        sa.UniqueConstraint("tenant_id", "key_hash", name=op.f("api_keys_tenant_id_key_hash_key")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("api_keys_tenant_id_name_key")),
        schema="mlops",
    )
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column(
            "at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column(
            "details", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["mlops.tenants.id"], name=op.f("audit_log_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_log_pkey")),
        schema="mlops",
    )
    op.create_index(
        op.f("audit_log_tenant_id_at_idx"),
        "audit_log",
        ["tenant_id", "at"],
        unique=False,
        schema="mlops",
    )
    op.create_table(
        "benchmark_runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("benchmark", sa.Text(), nullable=False),
        sa.Column("function", sa.Text(), nullable=False),
        sa.Column("specification", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "created_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["mlops.tenants.id"], name=op.f("benchmark_runs_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("benchmark_runs_pkey")),
        schema="mlops",
    )
    op.create_index(
        op.f("benchmark_runs_tenant_id_created_at_idx"),
        "benchmark_runs",
        ["tenant_id", "created_at"],
        unique=False,
        schema="mlops",
    )
    op.create_table(
        "cost_tracking",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("function", sa.Text(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column(
            "computed_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("llm_calls", sa.BigInteger(), nullable=False),
        sa.Column("unpriced_calls", sa.BigInteger(), nullable=False),
        sa.Column("simulated_calls", sa.BigInteger(), nullable=False),
        sa.Column("cost_nanos", sa.BigInteger(), nullable=False),
        sa.Column("episodes", sa.BigInteger(), nullable=False),
        sa.Column("successes", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "period IN ('day', 'week', 'month')", name=op.f("cost_tracking_period_check")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["mlops.tenants.id"], name=op.f("cost_tracking_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint(
            "tenant_id",
            "period",
            "starts_on",
            "model",
            "function",
            "variant",
            name=op.f("cost_tracking_pkey"),
        ),
        schema="mlops",
    )
    op.create_table(
        "dirty_hours",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("hour", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "marked_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["mlops.tenants.id"], name=op.f("dirty_hours_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "hour", name=op.f("dirty_hours_pkey")),
        schema="mlops",
    )
    op.create_table(
        "drift_detection",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("sweep_id", sa.Uuid(), nullable=False),
        sa.Column(
            "created_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("test", sa.Text(), nullable=False),
        sa.Column("baseline", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("current", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("n_baseline", sa.BigInteger(), nullable=False),
        sa.Column("n_current", sa.BigInteger(), nullable=False),
        sa.Column("statistic", sa.Double(), nullable=True),
        sa.Column("p_value", sa.Double(), nullable=True),
        sa.Column("p_adjusted", sa.Double(), nullable=True),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("effect_name", sa.Text(), nullable=True),
        sa.Column("effect_size", sa.Double(), nullable=True),
        sa.Column("minimum_effect", sa.Double(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["mlops.tenants.id"], name=op.f("drift_detection_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("drift_detection_pkey")),
        sa.UniqueConstraint(
            "tenant_id",
            "sweep_id",
            "model",
            "metric",
            "test",
            name=op.f("drift_detection_tenant_id_sweep_id_model_metric_test_key"),
        ),
        schema="mlops",
    )
    op.create_index(
        op.f("drift_detection_tenant_id_created_at_idx"),
        "drift_detection",
        ["tenant_id", "created_at"],
        unique=False,
        schema="mlops",
    )
    op.create_table(
        "evaluation_tasks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("benchmark", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("difficulty", sa.Text(), nullable=False),
        sa.Column("max_steps", sa.Integer(), nullable=False),
        sa.Column("timeout_seconds", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "difficulty IN ('easy', 'medium', 'hard')",
            name=op.f("evaluation_tasks_difficulty_check"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["mlops.tenants.id"], name=op.f("evaluation_tasks_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("evaluation_tasks_pkey")),
        sa.UniqueConstraint(
            "tenant_id",
            "benchmark",
            "name",
            name=op.f("evaluation_tasks_tenant_id_benchmark_name_key"),
        ),
        schema="mlops",
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default="queued", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column(
            "not_before",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "sent_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("sends", sa.Integer(), server_default="1", nullable=False),
        sa.Column("lease_expires_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("claim_id", sa.Uuid(), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("cancel_requested_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("finished_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')",
            name=op.f("jobs_status_check"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["mlops.tenants.id"], name=op.f("jobs_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("jobs_pkey")),
        sa.UniqueConstraint(
            "tenant_id",
            "kind",
            "idempotency_key",
            name=op.f("jobs_tenant_id_kind_idempotency_key_key"),
        ),
        schema="mlops",
    )
    op.create_index(
        "jobs_lease_idx",
        "jobs",
        ["lease_expires_at"],
        unique=False,
        schema="mlops",
        postgresql_where="status = 'running'",
    )
    op.create_index(
        "jobs_queued_idx",
        "jobs",
        ["queue", "sent_at"],
        unique=False,
        schema="mlops",
        postgresql_where="status = 'queued'",
    )
    op.create_index(
        op.f("jobs_tenant_id_created_at_idx"),
        "jobs",
        ["tenant_id", "created_at"],
        unique=False,
        schema="mlops",
    )
    op.create_table(
        "model_performance",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("hour", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("function", sa.Text(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column(
            "computed_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("episodes", sa.BigInteger(), nullable=False),
        sa.Column("successes", sa.BigInteger(), nullable=False),
        sa.Column("actions", sa.BigInteger(), nullable=False),
        sa.Column("action_errors", sa.BigInteger(), nullable=False),
        sa.Column("page_loads", sa.BigInteger(), nullable=False),
        sa.Column("llm_calls", sa.BigInteger(), nullable=False),
        sa.Column("llm_errors", sa.BigInteger(), nullable=False),
        sa.Column("errors_by_type", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_nanos", sa.BigInteger(), nullable=False),
        sa.Column("unpriced_calls", sa.BigInteger(), nullable=False),
        sa.Column("simulated_calls", sa.BigInteger(), nullable=False),
        sa.Column("step_latency_ms", sa.LargeBinary(), nullable=False),
        sa.Column("llm_latency_ms", sa.LargeBinary(), nullable=False),
        sa.Column("page_load_ms", sa.LargeBinary(), nullable=False),
        sa.Column("query_length", sa.LargeBinary(), nullable=False),
        sa.Column("confidence", sa.LargeBinary(), nullable=False),
        sa.Column("tokens", sa.LargeBinary(), nullable=False),
        sa.Column("dom_nodes", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["mlops.tenants.id"], name=op.f("model_performance_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint(
            "tenant_id", "hour", "model", "function", "variant", name=op.f("model_performance_pkey")
        ),
        schema="mlops",
    )
    op.create_table(
        "models",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "created_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["mlops.tenants.id"], name=op.f("models_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("models_pkey")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("models_tenant_id_name_key")),
        schema="mlops",
    )
    op.create_table(
        "model_versions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column(
            "parameters",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
        ),
        sa.Column(
            "created_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["model_id"], ["mlops.models.id"], name=op.f("model_versions_model_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["mlops.tenants.id"], name=op.f("model_versions_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("model_versions_pkey")),
        sa.UniqueConstraint(
            "tenant_id",
            "model_id",
            "version",
            name=op.f("model_versions_tenant_id_model_id_version_key"),
        ),
        schema="mlops",
    )
    op.create_table(
        "episodes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("model_version_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=True),
        sa.Column("variant", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("raw_reward", sa.Double(), nullable=True),
        sa.Column("goal", sa.Text(), nullable=True),
        sa.Column("steps", sa.Integer(), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.Column("actions", sa.Integer(), server_default="0", nullable=False),
        sa.Column("llm_calls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("unpriced_calls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("uncounted_calls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cost_nanos", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("trace", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("finished_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["mlops.jobs.id"], name=op.f("episodes_job_id_fkey")),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["mlops.model_versions.id"],
            name=op.f("episodes_model_version_id_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["mlops.benchmark_runs.id"], name=op.f("episodes_run_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["mlops.evaluation_tasks.id"], name=op.f("episodes_task_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["mlops.tenants.id"], name=op.f("episodes_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("episodes_pkey")),
        sa.UniqueConstraint("tenant_id", "job_id", name=op.f("episodes_tenant_id_job_id_key")),
        sa.UniqueConstraint(
            "tenant_id",
            "run_id",
            "task_id",
            "model_version_id",
            "seed",
            name=op.f("episodes_tenant_id_run_id_task_id_model_version_id_seed_key"),
        ),
        schema="mlops",
    )
    op.create_index(
        op.f("episodes_tenant_id_model_version_id_idx"),
        "episodes",
        ["tenant_id", "model_version_id"],
        unique=False,
        schema="mlops",
    )
    op.create_table(
        "model_cards",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("model_version_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("figures", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "created_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["mlops.model_versions.id"],
            name=op.f("model_cards_model_version_id_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["mlops.tenants.id"], name=op.f("model_cards_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("model_cards_pkey")),
        sa.UniqueConstraint(
            "tenant_id",
            "model_version_id",
            "number",
            name=op.f("model_cards_tenant_id_model_version_id_number_key"),
        ),
        schema="mlops",
    )
