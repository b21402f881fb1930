"""Roles, row-level security, and the few functions that look over the wall."""

from __future__ import annotations

from alembic import op

from migrations.definer import joined_to_definer

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Roles belong to the server and not to the database: another database may have made them, or an
# administrator for an owner who may not make roles.
ROLES = """
DO $$
DECLARE
    role text;
    becoming text := CASE WHEN current_setting('server_version_num')::int >= 160000
                          THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    FOREACH role IN ARRAY ARRAY['mlops_app', 'mlops_definer'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = role);
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END LOOP;
    IF NOT pg_has_role(current_user, 'mlops_app', becoming) THEN
        GRANT mlops_app TO CURRENT_USER;
    END IF;
END $$;
GRANT USAGE ON SCHEMA mlops TO mlops_app, mlops_definer;
"""

# What the application does with the rows of each table, and no more: what happened cannot be made
# not to have happened.
RIGHTS = {
    "api_keys": "SELECT, INSERT, UPDATE",
    "audit_log": "SELECT, INSERT",
    "jobs": "SELECT, INSERT, UPDATE",
    "models": "SELECT, INSERT",
    # A row is locked while its next card is written, and that takes the right to update it.
    "model_versions": "SELECT, INSERT, UPDATE (id)",
    "evaluation_tasks": "SELECT, INSERT, UPDATE",
    "benchmark_runs": "SELECT, INSERT",
    "episodes": "SELECT, INSERT, UPDATE",
    "events": "SELECT, INSERT",
    "dirty_hours": "SELECT, INSERT, UPDATE, DELETE",
    "model_performance": "SELECT, INSERT, DELETE",
    "cost_tracking": "SELECT, INSERT, DELETE",
    "drift_detection": "SELECT, INSERT",
    "model_cards": "SELECT, INSERT",
    "ab_tests": "SELECT, INSERT, UPDATE",
    "alerts": "SELECT, INSERT, UPDATE",
}

CURRENT_TENANT = "nullif(current_setting('app.tenant', true), '')::uuid"

# What each function below has to read. Its role sees all tenants, and can do nothing else.
READ_BY_DEFINER = ("tenants", "api_keys", "jobs", "dirty_hours")

FUNCTIONS = {
    "tenant_id_by_name(tenant_name text)": """
        RETURNS uuid LANGUAGE sql STABLE AS
        $$ SELECT id FROM mlops.tenants WHERE name = tenant_name $$""",
    "tenant_id_by_key(hash bytea)": """
        RETURNS uuid LANGUAGE sql STABLE AS
        $$ SELECT tenant_id FROM mlops.api_keys WHERE key_hash = hash AND revoked_at IS NULL $$""",
    "tenant_ids()": """
        RETURNS SETOF uuid LANGUAGE sql STABLE AS
        $$ SELECT id FROM mlops.tenants ORDER BY created_at $$""",
    "tenants_with_dirty_hours()": """
        RETURNS SETOF uuid LANGUAGE sql STABLE AS
        $$ SELECT DISTINCT tenant_id FROM mlops.dirty_hours $$""",
    # A message is missing when its retry is due, when its queue has run empty without it, or
    # when it has been out so long that waiting for the queue to run empty is no plan.
    "jobs_to_send(empty_queues text[], patience interval, at_most int)": """
        RETURNS TABLE (tenant_id uuid, job_id uuid, kind text, queue text)
        LANGUAGE sql STABLE AS $$
            SELECT j.tenant_id, j.id, j.kind, j.queue FROM mlops.jobs j
            WHERE j.status = 'queued' AND j.not_before <= now() AND (
                j.sent_at < j.not_before
                OR (j.queue = ANY (empty_queues) AND j.sent_at < now() - patience)
                OR j.sent_at < now() - interval '10 minutes' * j.sends
            ) ORDER BY j.sent_at LIMIT at_most
        $$""",
    "jobs_with_expired_leases(at_most int)": """
        RETURNS TABLE (tenant_id uuid, job_id uuid) LANGUAGE sql STABLE AS $$
            SELECT j.tenant_id, j.id FROM mlops.jobs j
            WHERE j.status = 'running' AND j.lease_expires_at < now()
            ORDER BY j.lease_expires_at LIMIT at_most
        $$""",
    "queue_depths()": """
        RETURNS TABLE (queue text, queued bigint, running bigint,
                       oldest_queued_seconds double precision)
        LANGUAGE sql STABLE AS $$
            SELECT j.queue,
                   count(*) FILTER (WHERE j.status = 'queued'),
                   count(*) FILTER (WHERE j.status = 'running'),
                   extract(epoch FROM now() - min(greatest(j.created_at, j.not_before))
                           FILTER (WHERE j.status = 'queued' AND j.not_before <= now()))::float8
            FROM mlops.jobs j WHERE j.status IN ('queued', 'running') GROUP BY j.queue
        $$""",
}

# Runs as the owner, because partitions are the owner's. A partition is made beside the table and
# then attached: creating it in place would lock out everybody who reads or writes events.
PARTITIONS = """
CREATE FUNCTION mlops.ensure_event_partitions(first date, last date) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    day date;
    name text;
    made int := 0;
BEGIN
    IF last - first > 800 THEN
        RAISE EXCEPTION 'at most 800 days at once, not %', last - first;
    END IF;
    FOR day IN SELECT first + n FROM generate_series(0, last - first) AS n LOOP
        name := 'events_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass('mlops.' || name) IS NOT NULL;
        PERFORM pg_advisory_xact_lock(hashtext('mlops.events'));
        CONTINUE WHEN to_regclass('mlops.' || name) IS NOT NULL;
        EXECUTE format('CREATE TABLE mlops.%I (LIKE mlops.events INCLUDING DEFAULTS)', name);
        EXECUTE format('ALTER TABLE mlops.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE mlops.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'ALTER TABLE mlops.events ATTACH PARTITION mlops.%I FOR VALUES FROM (%L) TO (%L)',
            name, day::text || ' 00:00:00+00', (day + 1)::text || ' 00:00:00+00');
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;
REVOKE ALL ON FUNCTION mlops.ensure_event_partitions(date, date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION mlops.ensure_event_partitions(date, date) TO mlops_app;
"""

# The job is the truth about how an episode ended: one whose worker died three times never wrote
# a result of its own, and one that is tried again has none yet. `scored` are those whose end says
# something of the agent.
EPISODE_RESULTS = """
CREATE VIEW mlops.episode_results WITH (security_invoker = true) AS
SELECT e.id, e.tenant_id, e.run_id, e.task_id, e.model_version_id, e.job_id, e.seed, e.unit_id,
       e.variant, e.raw_reward, e.goal, e.steps, e.duration_ms, e.actions, e.llm_calls,
       e.unpriced_calls, e.uncounted_calls, e.input_tokens, e.output_tokens, e.cost_nanos,
       j.attempt, e.worker, e.finished_at, j.status AS job_status, ended.outcome,
       coalesce(ended.outcome NOT IN ('environment_error', 'cancelled'), false) AS scored,
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


def upgrade() -> None:
    op.execute(ROLES)
    for table, rights in RIGHTS.items():
        op.execute(f"GRANT {rights} ON mlops.{table} TO mlops_app")
        _wall(table, "tenant_id")
    op.execute("GRANT SELECT, INSERT ON mlops.tenants TO mlops_app")
    _wall("tenants", "id")
    op.execute("GRANT SELECT, INSERT, DELETE ON mlops.timetable_slots TO mlops_app")
    op.execute("GRANT SELECT ON mlops.alembic_version TO mlops_app")
    for table in READ_BY_DEFINER:
        op.execute(f"GRANT SELECT ON mlops.{table} TO mlops_definer")
        op.execute(
            f"CREATE POLICY over_the_wall ON mlops.{table} FOR SELECT TO mlops_definer USING (true)"
        )
    with joined_to_definer(op.get_bind()):
        _make_functions()
    op.execute(PARTITIONS)
    op.execute("SELECT mlops.ensure_event_partitions(current_date - 1, current_date + 7)")
    op.execute(EPISODE_RESULTS)


def _make_functions() -> None:
    op.execute("GRANT CREATE ON SCHEMA mlops TO mlops_definer")
    for signature, body in FUNCTIONS.items():
        # pg_temp is searched first where it is not named, and anybody may put a table there.
        op.execute(
            f"CREATE FUNCTION mlops.{signature} {body}"
            " SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
        )
        op.execute(f"REVOKE ALL ON FUNCTION mlops.{_typed(signature)} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION mlops.{_typed(signature)} TO mlops_app")
        op.execute(f"ALTER FUNCTION mlops.{_typed(signature)} OWNER TO mlops_definer")
    op.execute("REVOKE CREATE ON SCHEMA mlops FROM mlops_definer")


def _wall(table: str, column: str) -> None:
    op.execute(f"ALTER TABLE mlops.{table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE mlops.{table} FORCE ROW LEVEL SECURITY")
    # A subselect is evaluated once per statement, not once per row.
    condition = f"{column} = (SELECT {CURRENT_TENANT})"
    op.execute(
        f"CREATE POLICY tenant ON mlops.{table} TO mlops_app"
        f" USING ({condition}) WITH CHECK ({condition})"
    )


def _typed(signature: str) -> str:
    """`f(a text, b int)` as `f(text, int)`: how PostgreSQL names a function."""
    name, _, rest = signature.partition("(")
    arguments = [part.split(maxsplit=1)[1] for part in rest.rstrip(")").split(",") if part.strip()]
    return f"{name}({', '.join(arguments)})"
