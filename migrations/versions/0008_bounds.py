"""Sums of any size, hours that cannot be summed, what may be closed, and what features keep."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.definer import joined_to_definer
from migrations.walls import CURRENT_TENANT

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Who has waited longest comes first.
TENANTS_TO_SUM = """
CREATE OR REPLACE FUNCTION mlops.tenants_with_dirty_hours() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT tenant_id FROM mlops.dirty_hours WHERE not_before <= now()
    GROUP BY tenant_id ORDER BY min(marked_at)
$$;
"""

# What every tenant has closed, summed or not. NULL where one has closed nothing yet.
CLOSED_FOR_ALL = """
CREATE OR REPLACE FUNCTION mlops.events_closed_before() RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN every(t.events_from IS NOT NULL) THEN min(t.events_from) END
    FROM mlops.tenants t
$$;
"""

UNSUMMED_DAYS = """
CREATE FUNCTION mlops.days_with_dirty_hours() RETURNS SETOF date
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT DISTINCT CAST(hour AT TIME ZONE 'UTC' AS date) FROM mlops.dirty_hours
$$;
REVOKE ALL ON FUNCTION mlops.days_with_dirty_hours() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION mlops.days_with_dirty_hours() TO mlops_app;
ALTER FUNCTION mlops.days_with_dirty_hours() OWNER TO mlops_definer;
"""

# As before; but an hour that is not summed, which may be for ever, keeps its own events and no
# others.
REMOVE_CLOSED = f"""
CREATE OR REPLACE FUNCTION mlops.remove_closed_events(before timestamptz) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH removed AS (
        DELETE FROM mlops.events e USING mlops.tenants t
        WHERE t.id = {CURRENT_TENANT}
            AND e.tenant_id = t.id AND e.occurred_at < least(before, t.events_from)
            AND NOT EXISTS (SELECT FROM mlops.dirty_hours d
                            WHERE d.tenant_id = t.id
                                AND d.hour = date_trunc('hour', e.occurred_at, 'UTC'))
        RETURNING 1)
    SELECT count(*) FROM removed
$$;
"""  # noqa: S608 (the expression of the walls)

DROP_CLOSED = """
CREATE OR REPLACE FUNCTION mlops.drop_closed_event_partitions() RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    closed timestamptz := mlops.events_closed_before();
    unsummed date[] := ARRAY(SELECT mlops.days_with_dirty_hours());
    name text;
    day date;
    dropped int := 0;
BEGIN
    PERFORM set_config('lock_timeout', '2s', true);
    FOR name IN
        SELECT child.relname FROM pg_inherits
        JOIN pg_class child ON child.oid = inhrelid
        WHERE inhparent = 'mlops.events'::regclass AND child.relname ~ '^events_[0-9]{8}$'
        ORDER BY child.relname
    LOOP
        day := to_date(right(name, 8), 'YYYYMMDD');
        EXIT WHEN closed IS NULL OR (day + 1)::timestamp AT TIME ZONE 'UTC' > closed;
        CONTINUE WHEN day = ANY (unsummed);
        EXECUTE format('DROP TABLE mlops.%I', name);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
EXCEPTION WHEN lock_not_available THEN
    RETURN 0;
END $$;
"""

# The application may say how long events are kept, a day at least, and not when they end: so of
# what happened it can remove nothing that is younger than a day.
CLOSE = f"""
CREATE FUNCTION mlops.close_old_hours(at timestamptz) RETURNS timestamptz
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE mlops.tenants t
    SET events_from = greatest(t.events_from,
        (date_trunc('day', least(at, now()) AT TIME ZONE 'UTC') - t.event_days * interval '1 day')
            AT TIME ZONE 'UTC')
    WHERE t.id = {CURRENT_TENANT}
    RETURNING t.events_from
$$;
REVOKE ALL ON FUNCTION mlops.close_old_hours(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION mlops.close_old_hours(timestamptz) TO mlops_app;
ALTER FUNCTION mlops.close_old_hours(timestamptz) OWNER TO mlops_definer;
"""  # noqa: S608 (the expression of the walls)

# A value that is not the newest before the closed hours, of those that were known by then, is no
# answer to any question about a time after them.
REMOVE_SUPERSEDED = f"""
CREATE FUNCTION mlops.remove_superseded_feature_values() RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH removed AS (
        DELETE FROM mlops.feature_values v USING mlops.tenants t
        WHERE t.id = {CURRENT_TENANT} AND v.tenant_id = t.id AND v.event_time < t.events_from
            AND EXISTS (
                SELECT FROM mlops.feature_values later
                WHERE later.tenant_id = v.tenant_id AND later.feature = v.feature
                    AND later.version = v.version AND later.entity = v.entity
                    AND (later.event_time, later.written_at, later.id)
                        > (v.event_time, v.written_at, v.id)
                    AND later.event_time < t.events_from AND later.written_at < t.events_from)
        RETURNING 1)
    SELECT count(*) FROM removed
$$;
REVOKE ALL ON FUNCTION mlops.remove_superseded_feature_values() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION mlops.remove_superseded_feature_values() TO mlops_app;
ALTER FUNCTION mlops.remove_superseded_feature_values() OWNER TO mlops_definer;
"""  # noqa: S608 (the expression of the walls)


def upgrade() -> None:
    _make_sums_whole_numbers()
    _tell_of_hours_that_cannot_be_summed()
    _close_by_the_days_alone()
    _let_go_of_old_feature_values()


def _make_sums_whole_numbers() -> None:
    """Of days and longer: a bigint ends at nine billion dollars.

    Rewrites both tables: a row a day of each model, function and variant, in seconds.
    """
    for table in ("daily_performance", "cost_tracking"):
        op.alter_column(table, "cost_nanos", type_=sa.Numeric(38, 0), schema="mlops")


def _tell_of_hours_that_cannot_be_summed() -> None:
    for column in (
        sa.Column("tries", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column(
            "not_before",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
    ):
        op.add_column("dirty_hours", column, schema="mlops")
    with joined_to_definer(op.get_bind()):
        op.execute("GRANT CREATE ON SCHEMA mlops TO mlops_definer")
        for function in (TENANTS_TO_SUM, CLOSED_FOR_ALL, UNSUMMED_DAYS, REMOVE_CLOSED):
            op.execute(function)
        op.execute("REVOKE CREATE ON SCHEMA mlops FROM mlops_definer")
    op.execute(DROP_CLOSED)


def _close_by_the_days_alone() -> None:
    op.create_check_constraint(
        "tenants_event_days_check", "tenants", "event_days BETWEEN 1 AND 800", schema="mlops"
    )
    op.execute("REVOKE UPDATE (events_from) ON mlops.tenants FROM mlops_app")
    op.execute("GRANT UPDATE (events_from) ON mlops.tenants TO mlops_definer")
    op.execute(
        "CREATE POLICY closing ON mlops.tenants FOR UPDATE TO mlops_definer"
        f" USING (id = (SELECT {CURRENT_TENANT}))"
    )
    with joined_to_definer(op.get_bind()):
        op.execute("GRANT CREATE ON SCHEMA mlops TO mlops_definer")
        op.execute(CLOSE)
        op.execute("REVOKE CREATE ON SCHEMA mlops FROM mlops_definer")


def _let_go_of_old_feature_values() -> None:
    op.execute("GRANT SELECT, DELETE ON mlops.feature_values TO mlops_definer")
    op.execute(
        "CREATE POLICY superseded ON mlops.feature_values TO mlops_definer"
        f" USING (tenant_id = (SELECT {CURRENT_TENANT}))"
    )
    with joined_to_definer(op.get_bind()):
        op.execute("GRANT CREATE ON SCHEMA mlops TO mlops_definer")
        op.execute(REMOVE_SUPERSEDED)
        op.execute("REVOKE CREATE ON SCHEMA mlops FROM mlops_definer")
