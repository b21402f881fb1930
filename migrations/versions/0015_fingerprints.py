"""Alerts of names with colons in them are told apart."""

from __future__ import annotations

from alembic import op

from migrations.definer import joined_to_definer
from migrations.walls import CURRENT_TENANT

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def escaped(part: str) -> str:
    """The same as `shared.alerts.names.fingerprint` does to each part."""
    return f"replace(replace({part}, '%', '%25'), ':', '%3A')"


def fingerprint(kind: str, *of: str) -> str:
    """An expression: the kind, and expressions of what tells its alerts apart."""
    return " || ':' || ".join((f"'{kind}'", *map(escaped, of)))


FINGERPRINTS = {
    "drift": ("details->>'function'", "details->>'model'", "details->>'metric'"),
    "data_quality": (
        "details->>'function'",
        "details->>'model'",
        "coalesce(details->>'field', '')",
        "details->>'check'",
    ),
    "cost_anomaly": ("details->>'rule'", "details->>'model'", "details->>'function'"),
}

# An alert whose details do not say what it is of keeps its name.
RENAME = """
UPDATE mlops.alerts a SET fingerprint = named.fingerprint
FROM (SELECT id, {name} AS fingerprint FROM mlops.alerts WHERE kind = '{kind}') named
WHERE a.id = named.id AND a.resolved_at IS NULL AND a.fingerprint <> named.fingerprint
    AND NOT EXISTS (
        SELECT FROM mlops.alerts other
        WHERE other.tenant_id = a.tenant_id AND other.resolved_at IS NULL
            AND other.fingerprint = named.fingerprint)
"""

# As of 0012, with the fingerprint of this version.
REMOVE_FINDINGS = f"""
CREATE OR REPLACE FUNCTION mlops.remove_old_drift_findings() RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH removed AS (
        DELETE FROM mlops.drift_detection d USING mlops.tenants t
        WHERE t.id = {CURRENT_TENANT} AND d.tenant_id = t.id AND d.created_at < t.events_from
            AND NOT EXISTS (
                SELECT FROM mlops.drift_subjects newest
                WHERE newest.tenant_id = d.tenant_id AND newest.sweep_id = d.sweep_id
                    AND newest.function = d.function AND newest.model = d.model)
            AND NOT EXISTS (
                SELECT FROM mlops.alerts a
                WHERE a.tenant_id = d.tenant_id AND a.resolved_at IS NULL
                    AND a.fingerprint = {fingerprint("drift", "d.function", "d.model", "d.metric")}
                    AND a.details->>'sweep_id' = CAST(d.sweep_id AS text))
            AND NOT EXISTS (
                SELECT FROM mlops.drift_baselines b
                WHERE b.tenant_id = d.tenant_id AND b.starts_at IS NOT NULL
                    AND b.function IN ('', d.function) AND b.model IN ('', d.model)
                    AND CAST(d.current->>'start' AS timestamptz) = b.starts_at
                    AND CAST(d.current->>'end' AS timestamptz) = b.ends_at)
        RETURNING 1)
    SELECT count(*) FROM removed
$$;
"""  # noqa: S608 (expressions of this file and of the walls)


def upgrade() -> None:
    # The wall stops the owner as well, and this is for all tenants.
    op.execute("ALTER TABLE mlops.alerts NO FORCE ROW LEVEL SECURITY")
    for kind, of in FINGERPRINTS.items():
        op.execute(RENAME.format(kind=kind, name=fingerprint(kind, *of)))
    op.execute("ALTER TABLE mlops.alerts FORCE ROW LEVEL SECURITY")
    with joined_to_definer(op.get_bind()):
        op.execute("GRANT CREATE ON SCHEMA mlops TO mlops_definer")
        op.execute(REMOVE_FINDINGS)
        op.execute("REVOKE CREATE ON SCHEMA mlops FROM mlops_definer")
