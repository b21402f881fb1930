"""How long it is kept what was wrong with events as they came."""

from __future__ import annotations

from alembic import op

from migrations.definer import joined_to_definer
from migrations.walls import CURRENT_TENANT

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# A check reads its window, of which what a sweep looks back at is the longest, and its baseline.
# Of what came before the edge nobody knows any more, also where a baseline is set there later.
REMOVE_FAULTS = f"""
CREATE FUNCTION mlops.remove_old_event_faults() RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH edge AS (
        SELECT t.id, least(
            t.events_from,
            date_trunc('day', now(), 'UTC') - interval '35 days'
                - coalesce(max(b.hours), 0) * interval '1 hour',
            min(b.starts_at)) AS at
        FROM mlops.tenants t LEFT JOIN mlops.drift_baselines b ON b.tenant_id = t.id
        WHERE t.id = {CURRENT_TENANT} AND t.events_from IS NOT NULL
        GROUP BY t.id, t.events_from),
    moved AS (
        UPDATE mlops.tenants t SET faults_from = edge.at FROM edge
        WHERE t.id = edge.id AND t.faults_from < edge.at),
    removed AS (
        DELETE FROM mlops.event_faults f USING edge
        WHERE f.tenant_id = edge.id AND f.hour < edge.at
        RETURNING 1)
    SELECT count(*) FROM removed
$$;
REVOKE ALL ON FUNCTION mlops.remove_old_event_faults() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION mlops.remove_old_event_faults() TO mlops_app;
ALTER FUNCTION mlops.remove_old_event_faults() OWNER TO mlops_definer;
"""  # noqa: S608 (the expression of the walls)


def upgrade() -> None:
    op.execute("GRANT SELECT, DELETE ON mlops.event_faults TO mlops_definer")
    op.execute("GRANT UPDATE (faults_from) ON mlops.tenants TO mlops_definer")
    op.execute(
        "CREATE POLICY old_faults ON mlops.event_faults TO mlops_definer"
        f" USING (tenant_id = (SELECT {CURRENT_TENANT}))"
    )
    with joined_to_definer(op.get_bind()):
        op.execute("GRANT CREATE ON SCHEMA mlops TO mlops_definer")
        op.execute(REMOVE_FAULTS)
        op.execute("REVOKE CREATE ON SCHEMA mlops FROM mlops_definer")
