"""Telemetry as a data plane: batches on their way, what was rejected, more to sum, retention.

One transaction, which rebuilds the key of `mlops.events`: until it is over nobody reads or writes
events and rollups. A lock that it does not get within ten seconds ends it (`env.py`), and nothing
has changed. How long it takes, measured on two cores with all of it in memory: 1.5 s for each
million events, and 7 minutes for each million rollups, which are packed anew a thousand at a time.
"""

from __future__ import annotations

import struct

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from migrations.definer import joined_to_definer
from migrations.walls import CURRENT_TENANT, wall

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# What every tenant has closed and summed. NULL where one has closed nothing yet.
CLOSED_FOR_ALL = """
CREATE FUNCTION mlops.events_closed_before() RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN every(t.events_from IS NOT NULL)
                THEN least(min(t.events_from), (SELECT min(hour) FROM mlops.dirty_hours)) END
    FROM mlops.tenants t
$$;
REVOKE ALL ON FUNCTION mlops.events_closed_before() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION mlops.events_closed_before() TO mlops_app;
ALTER FUNCTION mlops.events_closed_before() OWNER TO mlops_definer;
"""

# The application may not delete what happened. This deletes nothing but what its tenant has closed
# and summed; but the application may close what it likes, until a later version takes that right.
REMOVE_CLOSED = """
CREATE FUNCTION mlops.remove_closed_events(before timestamptz) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH removed AS (
        DELETE FROM mlops.events e USING mlops.tenants t
        WHERE t.id = nullif(current_setting('app.tenant', true), '')::uuid
            AND e.tenant_id = t.id AND e.occurred_at < least(before, t.events_from)
            AND NOT EXISTS (SELECT FROM mlops.dirty_hours d
                            WHERE d.tenant_id = t.id AND d.hour < t.events_from)
        RETURNING 1)
    SELECT count(*) FROM removed
$$;
REVOKE ALL ON FUNCTION mlops.remove_closed_events(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION mlops.remove_closed_events(timestamptz) TO mlops_app;
ALTER FUNCTION mlops.remove_closed_events(timestamptz) OWNER TO mlops_definer;
"""

# Runs as the owner, because partitions are the owner's. It takes the table from everybody for a
# moment, and rather comes again than makes them wait.
DROP_CLOSED = """
CREATE FUNCTION mlops.drop_closed_event_partitions() RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    closed timestamptz := mlops.events_closed_before();
    name text;
    dropped int := 0;
BEGIN
    PERFORM set_config('lock_timeout', '2s', true);
    FOR name IN
        SELECT child.relname FROM pg_inherits
        JOIN pg_class child ON child.oid = inhrelid
        WHERE inhparent = 'mlops.events'::regclass AND child.relname ~ '^events_[0-9]{8}$'
        ORDER BY child.relname
    LOOP
        EXIT WHEN closed IS NULL
            OR (to_date(right(name, 8), 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC' > closed;
        EXECUTE format('DROP TABLE mlops.%I', name);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
EXCEPTION WHEN lock_not_available THEN
    RETURN 0;
END $$;
REVOKE ALL ON FUNCTION mlops.drop_closed_event_partitions() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION mlops.drop_closed_event_partitions() TO mlops_app;
"""

EVENT_COLUMNS = (
    sa.Column("error_message", sa.Text(), nullable=True),
    sa.Column("error_category", sa.Text(), nullable=True),
    sa.Column("error_shape", sa.Text(), nullable=True),
    sa.Column("first_token_ms", sa.BigInteger(), nullable=True),
    sa.Column("cache_write_tokens", sa.BigInteger(), nullable=True),
    sa.Column("reasoning_tokens", sa.BigInteger(), nullable=True),
    sa.Column("total_tokens", sa.BigInteger(), nullable=True),
    sa.Column("quality", sa.Double(), nullable=True),
    sa.Column("host", sa.Text(), nullable=True),
    sa.Column("name", sa.Text(), nullable=True),
    sa.Column("value", sa.Double(), nullable=True),
)

ROLLUP_COLUMNS = (
    sa.Column("tasks_started", sa.BigInteger(), server_default="0", nullable=False),
    sa.Column("errors_by_category", JSONB(), server_default="{}", nullable=False),
    sa.Column("cache_write_tokens", sa.BigInteger(), server_default="0", nullable=False),
    sa.Column("reasoning_tokens", sa.BigInteger(), server_default="0", nullable=False),
    sa.Column("uncounted_calls", sa.BigInteger(), server_default="0", nullable=False),
    sa.Column("first_token_ms", sa.LargeBinary(), server_default="", nullable=False),
    sa.Column("quality", sa.LargeBinary(), server_default="", nullable=False),
)

RIGHTS = {
    "event_batches": "SELECT, INSERT, DELETE",
    "rejected_events": "SELECT, INSERT, DELETE",
    "telemetry_names": "SELECT, INSERT",
    "custom_metrics": "SELECT, INSERT, DELETE",
    "error_messages": "SELECT, INSERT, DELETE",
    "daily_performance": "SELECT, INSERT, DELETE",
    "dirty_days": "SELECT, INSERT, UPDATE, DELETE",
}


def upgrade() -> None:
    _call_episodes_tasks()
    _index_events_by_time()
    for column in EVENT_COLUMNS:
        op.add_column("events", column, schema="mlops")
    for column in ROLLUP_COLUMNS:
        op.add_column("model_performance", column, schema="mlops")
    _make_tables()
    _keep_histograms_as_they_are()
    _pack_histograms_anew()
    _make_days()
    for table, rights in RIGHTS.items():
        op.execute(f"GRANT {rights} ON mlops.{table} TO mlops_app")
        wall(table)
    _make_retention()


def _call_episodes_tasks() -> None:
    """Telemetry speaks of tasks, of which an evaluation's episodes are some."""
    op.alter_column("events", "episode_id", new_column_name="task_id", schema="mlops")
    for table in ("model_performance", "cost_tracking"):
        op.alter_column(table, "episodes", new_column_name="tasks", schema="mlops")
    # The wall stops the owner as well, and what is there has to be changed for all tenants.
    for table, change in (
        ("events", "kind = 'task_end' WHERE kind = 'episode'"),
        (
            "model_performance",
            "errors_by_type = replace(errors_by_type::text, '\"episode.', '\"task_end.')::jsonb"
            " WHERE errors_by_type::text LIKE '%\"episode.%'",
        ),
    ):
        op.execute(f"ALTER TABLE mlops.{table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"UPDATE mlops.{table} SET {change}")  # noqa: S608 (the texts above)
        op.execute(f"ALTER TABLE mlops.{table} FORCE ROW LEVEL SECURITY")


def _index_events_by_time() -> None:
    """One index instead of two: of a tenant's hour, and of an event that is sent again."""
    op.drop_constraint("events_pkey", "events", schema="mlops")
    op.drop_index("events_tenant_id_occurred_at_idx", "events", schema="mlops")
    op.create_primary_key(
        "events_pkey", "events", ["tenant_id", "occurred_at", "event_id"], schema="mlops"
    )


def _make_tables() -> None:
    op.create_table(
        "event_batches",
        _tenant(),
        sa.Column("id", sa.Uuid(), nullable=False),
        _time("received_at", sa.text("now()")),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        schema="mlops",
    )
    # It is compressed already: PostgreSQL need not try.
    op.execute("ALTER TABLE mlops.event_batches ALTER COLUMN body SET STORAGE EXTERNAL")
    op.create_table(
        "rejected_events",
        _tenant(),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        _time("received_at", sa.text("now()")),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "digest"),
        schema="mlops",
    )
    op.create_index(
        "rejected_events_tenant_id_received_at_idx",
        "rejected_events",
        ["tenant_id", "received_at"],
        schema="mlops",
    )
    op.create_table(
        "telemetry_names",
        _tenant(),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        _time("first_seen_at", sa.text("now()")),
        sa.PrimaryKeyConstraint("tenant_id", "field", "name"),
        schema="mlops",
    )
    op.create_table(
        "custom_metrics",
        _tenant(),
        *_hour_and_group(),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        *(
            sa.Column(name, sa.Double(), nullable=False)
            for name in ("mean", "variance", "minimum", "maximum", "latest")
        ),
        _time("latest_at"),
        sa.PrimaryKeyConstraint(
            "tenant_id", "hour", "model", "function", "variant", "host", "name"
        ),
        schema="mlops",
    )
    op.create_table(
        "error_messages",
        _tenant(),
        *_hour_and_group(),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        _time("latest_at"),
        sa.PrimaryKeyConstraint(
            "tenant_id", "hour", "model", "function", "variant", "kind", "category", "message"
        ),
        schema="mlops",
    )


HISTOGRAMS = (
    "step_latency_ms", "llm_latency_ms", "page_load_ms", "first_token_ms", "query_length",
    "confidence", "quality", "tokens", "dom_nodes",
)  # fmt: skip


ROWS_AT_ONCE = 1_000


def _keep_histograms_as_they_are() -> None:
    """Compressing them takes as long as counting them, at each write and again at each look."""
    for column in HISTOGRAMS:
        op.execute(
            f"ALTER TABLE mlops.model_performance ALTER COLUMN {column} SET STORAGE EXTERNAL"
        )


def _pack_histograms_anew() -> None:
    """Records of (bin: uint32, count: uint64) become those of `shared.telemetry.histograms`."""
    connection = op.get_bind()
    names = [name for name in HISTOGRAMS if name not in ("first_token_ms", "quality")]
    read = sa.text(
        f"SELECT tenant_id, hour, model, function, variant, {', '.join(names)}"  # noqa: S608
        " FROM mlops.model_performance"
    )
    write = sa.text(
        f"UPDATE mlops.model_performance SET {', '.join(f'{name} = :{name}' for name in names)}"  # noqa: S608
        " WHERE tenant_id = :tenant_id AND hour = :hour AND model = :model"
        " AND function = :function AND variant = :variant"
    )
    op.execute("ALTER TABLE mlops.model_performance NO FORCE ROW LEVEL SECURITY")
    # A cursor of the server's: it goes on with the rows as they were, and few of them are here at
    # any time.
    with connection.execute(read, execution_options={"yield_per": ROWS_AT_ONCE}) as rows:
        for some in rows.mappings().partitions():
            connection.execute(
                write,
                [
                    dict(row) | {name: _packed_anew(bytes(row[name])) for name in names}
                    for row in some
                ],
            )
    op.execute("ALTER TABLE mlops.model_performance FORCE ROW LEVEL SECURITY")


def _packed_anew(packed: bytes) -> bytes:
    records = []
    for bin_, count in struct.iter_unpack("<IQ", packed):
        place = 0
        while count:
            count, digit = divmod(count, 65_536)
            if digit:
                records.append(struct.pack("<HH", place << 12 | bin_, digit))
            place += 1
    return b"".join(records)


def _make_days() -> None:
    """Days beside hours; those that are there are yet to be added up."""
    op.execute(
        "CREATE TABLE mlops.daily_performance"
        " (LIKE mlops.model_performance INCLUDING DEFAULTS INCLUDING STORAGE)"
    )
    op.drop_column("daily_performance", "hour", schema="mlops")
    op.add_column("daily_performance", sa.Column("day", sa.Date(), nullable=False), schema="mlops")
    op.create_primary_key(
        "daily_performance_pkey",
        "daily_performance",
        ["tenant_id", "day", "model", "function", "variant"],
        schema="mlops",
    )
    op.create_foreign_key(
        "daily_performance_tenant_id_fkey",
        "daily_performance",
        "tenants",
        ["tenant_id"],
        ["id"],
        source_schema="mlops",
        referent_schema="mlops",
    )
    op.create_table(
        "dirty_days",
        _tenant(),
        sa.Column("day", sa.Date(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "day"),
        schema="mlops",
    )
    op.execute("ALTER TABLE mlops.model_performance NO FORCE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE mlops.dirty_hours NO FORCE ROW LEVEL SECURITY")
    # Their events are all there: what this version counts besides is counted of them as well.
    op.execute(
        "INSERT INTO mlops.dirty_hours (tenant_id, hour) SELECT DISTINCT tenant_id, hour"
        " FROM mlops.model_performance WHERE hour > now() - interval '89 days'"
        " ON CONFLICT DO NOTHING"
    )
    op.execute("ALTER TABLE mlops.dirty_hours FORCE ROW LEVEL SECURITY")
    op.execute(
        "INSERT INTO mlops.dirty_days SELECT DISTINCT tenant_id,"
        " CAST(hour AT TIME ZONE 'UTC' AS date) FROM mlops.model_performance"
    )
    op.execute("ALTER TABLE mlops.model_performance FORCE ROW LEVEL SECURITY")


def _tenant() -> sa.Column[object]:
    return sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("mlops.tenants.id"), nullable=False)


def _time(name: str, default: sa.TextClause | None = None) -> sa.Column[object]:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), server_default=default, nullable=False)


def _hour_and_group() -> tuple[sa.Column[object], ...]:
    return (
        _time("hour"),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("model", "function", "variant")),
    )


def _make_retention() -> None:
    op.add_column(
        "tenants",
        sa.Column("event_days", sa.BigInteger(), server_default="90", nullable=False),
        schema="mlops",
    )
    op.add_column(
        "tenants",
        sa.Column("events_from", sa.TIMESTAMP(timezone=True), nullable=True),
        schema="mlops",
    )
    op.execute("GRANT UPDATE (event_days, events_from) ON mlops.tenants TO mlops_app")
    op.execute("GRANT SELECT, DELETE ON mlops.events TO mlops_definer")
    op.execute(
        "CREATE POLICY closed ON mlops.events TO mlops_definer"
        f" USING (tenant_id = (SELECT {CURRENT_TENANT}))"
    )
    with joined_to_definer(op.get_bind()):
        op.execute("GRANT CREATE ON SCHEMA mlops TO mlops_definer")
        op.execute(CLOSED_FOR_ALL)
        op.execute(REMOVE_CLOSED)
        op.execute("REVOKE CREATE ON SCHEMA mlops FROM mlops_definer")
    op.execute(DROP_CLOSED)
