"""A database of an earlier version, with what was in it, becomes one of this version."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from migrations.run import configuration, upgrade
from shared.alerts.names import fingerprint
from shared.database import Base, psycopg_url
from shared.evaluation.protocol import PAGE_ACTIONS
from shared.local.ephemeral import TemporaryServices
from shared.telemetry.histograms import Histogram

MANY = 1_500


@pytest.fixture
def database(services: TemporaryServices) -> Iterator[str]:
    """The owner's URL of an empty database of this test's own."""
    owner = sa.make_url(services.database_owner_url)
    assert owner.username is not None
    name = f"earlier_{uuid.uuid4().hex}"
    server = sa.create_engine(psycopg_url(services.superuser_url), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} OWNER {owner.username}"))
        yield owner.set(database=name).render_as_string(hide_password=False)
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


def at_version(connection: sa.Connection, revision: str) -> None:
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def as_superuser(database: str, services: TemporaryServices) -> sa.Engine:
    """Over the walls between tenants, which stop the owner as well."""
    url = sa.make_url(services.superuser_url).set(database=sa.make_url(database).database)
    return sa.create_engine(
        psycopg_url(url.render_as_string(hide_password=False)), poolclass=sa.NullPool
    )


def test_tasks_of_the_first_version_allow_what_they_allowed(
    database: str, services: TemporaryServices
) -> None:
    engine = sa.create_engine(psycopg_url(database), poolclass=sa.NullPool)
    tenant, task = uuid.uuid4(), uuid.uuid4()
    with engine.begin() as connection:
        at_version(connection, "0002")
    with as_superuser(database, services).begin() as connection:
        connection.execute(
            sa.text("INSERT INTO mlops.tenants (id, name) VALUES (:id, 'early')"), {"id": tenant}
        )
        connection.execute(
            sa.text(
                "INSERT INTO mlops.evaluation_tasks (id, tenant_id, benchmark, name, category,"
                " difficulty, max_steps, timeout_seconds)"
                " VALUES (:id, :tenant, 'miniwob', 'click-test', 'click', 'easy', 5, 30)"
            ),
            {"id": task, "tenant": tenant},
        )

    upgrade(database, services.database_url)

    with as_superuser(database, services).begin() as connection:
        allowed = connection.scalar(
            sa.text("SELECT actions FROM mlops.evaluation_tasks WHERE id = :id"), {"id": task}
        )
    assert tuple(allowed) == PAGE_ACTIONS


def test_episodes_of_the_telemetry_of_earlier_versions_are_tasks(
    database: str, services: TemporaryServices
) -> None:
    engine = sa.create_engine(psycopg_url(database), poolclass=sa.NullPool)
    tenant, episode = uuid.uuid4(), uuid.uuid4()
    with engine.begin() as connection:
        at_version(connection, "0003")
    with as_superuser(database, services).begin() as connection:
        for statement in (
            "INSERT INTO mlops.tenants (id, name) VALUES (:tenant, 'early')",
            "INSERT INTO mlops.events (tenant_id, event_id, occurred_at, kind, model, function,"
            " variant, episode_id, success)"
            " VALUES (:tenant, :episode, now(), 'episode', 'a@1', 'f', '', :episode, true)",
            "INSERT INTO mlops.model_performance (tenant_id, hour, model, function, variant,"
            " episodes, successes, actions, action_errors, page_loads, llm_calls, llm_errors,"
            " errors_by_type, input_tokens, cached_input_tokens, output_tokens, cost_nanos,"
            " unpriced_calls, simulated_calls, step_latency_ms, llm_latency_ms, page_load_ms,"
            " query_length, confidence, tokens, dom_nodes) VALUES (:tenant, now(), 'a@1', 'f', '',"
            " 3, 2, 0, 0, 0, 0, 0, '{\"episode.failure\": 1}', 0, 0, 0, 0, 0, 0,"
            " '\\x050000000300000000000000ff0f00000100010000000000', '', '', '', '', '', '')",
        ):
            # A colon within JSON is no parameter.
            text = sa.text(statement.replace('": 1', '"\\: 1'))
            connection.execute(text, {"tenant": tenant, "episode": episode})
        # More rows than are read at once.
        connection.execute(
            sa.text(
                "INSERT INTO mlops.model_performance SELECT (jsonb_populate_record(one,"
                " jsonb_build_object('model', 'b@' || n))).* FROM mlops.model_performance one"
                " CROSS JOIN generate_series(1, :rows) AS n"
            ),
            {"rows": MANY},
        )
        connection.execute(
            sa.text(
                "UPDATE mlops.model_performance one SET tokens = given.packed"
                " FROM unnest(CAST(:models AS text[]), CAST(:packed AS bytea[]))"
                " AS given (model, packed) WHERE one.model = given.model"
            ),
            {
                "models": [f"b@{n}" for n in range(1, MANY + 1)],
                "packed": [struct.pack("<IQ", n % 4096, 65_530 + n) for n in range(1, MANY + 1)],
            },
        )

    upgrade(database, services.database_url)

    with as_superuser(database, services).begin() as connection:
        event = connection.execute(sa.text("SELECT kind, task_id FROM mlops.events")).one()
        rollup = connection.execute(
            sa.text(
                "SELECT tasks, successes, errors_by_type, step_latency_ms"
                " FROM mlops.model_performance WHERE model = 'a@1'"
            )
        ).one()
        many = connection.execute(
            sa.text("SELECT model, tokens FROM mlops.model_performance WHERE model <> 'a@1'")
        ).all()
    assert tuple(event) == ("task_end", episode)
    *counts, histogram = rollup
    assert counts == [3, 2, {"task_end.failure": 1}]
    assert Histogram.from_bytes(bytes(histogram)) == Histogram.from_counts([5, 4095], [3, 65_537])
    assert len(many) == MANY
    for model, tokens in many:
        n = int(model.removeprefix("b@"))
        assert Histogram.from_bytes(bytes(tokens)) == Histogram.from_counts(
            [n % 4096], [65_530 + n]
        )


def test_hours_whose_events_are_there_are_summed_again_by_language_model(
    database: str, services: TemporaryServices
) -> None:
    engine = sa.create_engine(psycopg_url(database), poolclass=sa.NullPool)
    tenants = {"young": uuid.uuid4(), "old": uuid.uuid4()}
    with engine.begin() as connection:
        at_version(connection, "0006")
    with as_superuser(database, services).begin() as connection:
        for name, tenant in tenants.items():
            connection.execute(
                sa.text("INSERT INTO mlops.tenants (id, name) VALUES (:tenant, :name)"),
                {"tenant": tenant, "name": name},
            )
            for hour, calls in ((10, 4), (12, 4), (13, 0)):
                values = {"tenant": tenant, "hour": f"2026-03-01 {hour}:00+00", "n": calls}
                connection.execute(sa.text(OF_AN_HOUR), values)
        connection.execute(
            sa.text("UPDATE mlops.tenants SET events_from = '2026-03-01 11:00+00' WHERE id = :old"),
            tenants,
        )

    upgrade(database, services.database_url)

    with as_superuser(database, services).begin() as connection:
        marked = connection.execute(
            sa.text(
                "SELECT name, extract(hour FROM hour AT TIME ZONE 'UTC')::int"
                " FROM mlops.dirty_hours JOIN mlops.tenants ON id = tenant_id ORDER BY 1, 2"
            )
        ).all()
    assert [tuple(one) for one in marked] == [("old", 12), ("young", 10), ("young", 12)]


OF_AN_HOUR = (
    "INSERT INTO mlops.model_performance (tenant_id, hour, model, function, variant, tasks,"
    " successes, actions, action_errors, page_loads, llm_calls, llm_errors, errors_by_type,"
    " input_tokens, cached_input_tokens, output_tokens, cost_nanos, unpriced_calls,"
    " simulated_calls, step_latency_ms, llm_latency_ms, page_load_ms, query_length, confidence,"
    " tokens, dom_nodes) VALUES (:tenant, CAST(:hour AS timestamptz), 'a@1', 'f', '', 0, 0, 0, 0,"
    " 0, :n, 0, '{}', 0, 0, 0, 0, 0, 0, '', '', '', '', '', '', '')"
)


def test_the_migrations_make_the_tables_that_the_code_describes(
    database: str, services: TemporaryServices
) -> None:
    upgrade(database, services.database_url)
    engine = sa.create_engine(psycopg_url(database), poolclass=sa.NullPool)

    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_object": lambda thing, name, kind, *_: (
                    kind != "table" or (thing.schema == "mlops" and not name.startswith("events_"))
                ),
                "version_table_schema": "mlops",
                "compare_type": True,
            },
        )
        different = compare_metadata(context, Base.metadata)

    assert [change for change in different if "alembic_version" not in repr(change)] == []


def test_drift_that_was_found_before_keeps_its_function_and_its_alert_is_closed(
    database: str, services: TemporaryServices
) -> None:
    engine = sa.create_engine(psycopg_url(database), poolclass=sa.NullPool)
    tenant, sweep, by_hand = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    with engine.begin() as connection:
        at_version(connection, "0008")
    with as_superuser(database, services).begin() as connection:
        connection.execute(
            sa.text("INSERT INTO mlops.tenants (id, name) VALUES (:t, 'before')"), {"t": tenant}
        )
        connection.execute(
            sa.text(
                "INSERT INTO mlops.jobs (id, tenant_id, kind, queue, payload, max_attempts)"
                " VALUES (:s, :t, 'detect_drift', 'drift', '{\"alerts\": true}', 3)"
            ),
            {"t": tenant, "s": sweep},
        )
        for model, sweep_id, current in (
            ("a@1", sweep, '{"function": "shop"}'),
            ("b@1", by_hand, "{}"),
        ):
            connection.execute(
                sa.text(
                    "INSERT INTO mlops.drift_detection (id, tenant_id, sweep_id, model, metric,"
                    " test, baseline, current, n_baseline, n_current, threshold, verdict, reason)"
                    " VALUES (gen_random_uuid(), :t, :s, :m, 'tokens', 'ks', '{}',"
                    " CAST(:c AS jsonb), 1, 1, 0.05, 'drift', 'it moved')"
                ),
                {"t": tenant, "s": sweep_id, "m": model, "c": current},
            )
        connection.execute(
            sa.text(
                "INSERT INTO mlops.alerts (id, tenant_id, kind, fingerprint, severity, message,"
                " details, times_seen) VALUES (gen_random_uuid(), :t, 'drift', 'x', 'warning',"
                " 'it moved', '{}', 1)"
            ),
            {"t": tenant},
        )
    upgrade(database, services.database_url)
    with as_superuser(database, services).begin() as connection:
        for table in ("drift_detection", "drift_subjects"):
            found = connection.execute(
                sa.text(f"SELECT model, function, sweep_id FROM mlops.{table} ORDER BY model")
            ).all()
            assert [tuple(row) for row in found] == [("a@1", "shop", sweep), ("b@1", "", by_hand)]
        kinds = sa.text("SELECT kind FROM mlops.drift_subjects ORDER BY model")
        assert connection.scalars(kinds).all() == ["timetable", "by_hand"]
        closed = sa.text("SELECT resolved_at IS NOT NULL FROM mlops.alerts")
        assert connection.scalar(closed)


def test_open_alerts_of_names_with_colons_are_found_again_under_their_new_name(
    database: str, services: TemporaryServices
) -> None:
    engine = sa.create_engine(psycopg_url(database), poolclass=sa.NullPool)
    tenant = uuid.uuid4()
    with engine.begin() as connection:
        at_version(connection, "0014")
    subject = {"function": "a:b", "model": "50%", "metric": "tokens"}
    before = {
        "drift:a:b:50%:tokens": ("drift", subject),
        "drift:shop:buyer@1:tokens": ("drift", subject | {"function": "shop", "model": "buyer@1"}),
        "drift:x:y": ("drift", {}),
        "data_quality:a:b:50%::late": ("data_quality", subject | {"field": None, "check": "late"}),
        "cost_anomaly:five_times:50%:a:b": ("cost_anomaly", subject | {"rule": "five_times"}),
    }
    with as_superuser(database, services).begin() as connection:
        connection.execute(
            sa.text("INSERT INTO mlops.tenants (id, name) VALUES (:t, 'before')"), {"t": tenant}
        )
        for name, (kind, details) in before.items():
            connection.execute(
                sa.text(
                    "INSERT INTO mlops.alerts (id, tenant_id, kind, fingerprint, severity, message,"
                    " details, times_seen) VALUES (gen_random_uuid(), :t, :kind, :name, 'warning',"
                    " 'it moved', CAST(:details AS jsonb), 1)"
                ),
                {"t": tenant, "kind": kind, "name": name, "details": json.dumps(details)},
            )

    upgrade(database, services.database_url)

    with as_superuser(database, services).begin() as connection:
        found = connection.scalars(sa.text("SELECT fingerprint FROM mlops.alerts")).all()
    assert set(found) == {
        fingerprint("drift", "a:b", "50%", "tokens"),
        "drift:shop:buyer@1:tokens",
        "drift:x:y",
        fingerprint("data_quality", "a:b", "50%", "", "late"),
        fingerprint("cost_anomaly", "five_times", "50%", "a:b"),
    }


def test_actions_that_were_stored_before_are_summed_by_name_as_new_ones(
    database: str, services: TemporaryServices
) -> None:
    engine = sa.create_engine(psycopg_url(database), poolclass=sa.NullPool)
    with engine.begin() as connection:
        at_version(connection, "0009")
        connection.execute(
            sa.text("SELECT mlops.ensure_event_partitions('2026-03-01', '2026-03-01')")
        )
    with as_superuser(database, services).begin() as connection:
        for kind in ("action", "llm_call"):
            connection.execute(
                sa.text(
                    "INSERT INTO mlops.events (tenant_id, event_id, occurred_at, kind, model,"
                    " function, variant, attributes) VALUES (gen_random_uuid(), gen_random_uuid(),"
                    " '2026-03-01 10:00+00', :kind, 'a@1', 'f', '',"
                    """ '{"action": "click", "try": 1}')"""
                ),
                {"kind": kind},
            )

    upgrade(database, services.database_url)

    with as_superuser(database, services).begin() as connection:
        found = connection.execute(
            sa.text("SELECT kind, action, attributes FROM mlops.events ORDER BY kind")
        ).all()
    assert [tuple(one) for one in found] == [
        ("action", "click", {"try": 1}),
        ("llm_call", None, {"action": "click", "try": 1}),
    ]


def test_when_tests_began_and_ended_is_taken_from_the_audit_trail(
    database: str, services: TemporaryServices
) -> None:
    engine = sa.create_engine(psycopg_url(database), poolclass=sa.NullPool)
    tenant = uuid.uuid4()
    with engine.begin() as connection:
        at_version(connection, "0024")
    # By its day in March 2026.
    told = {
        "ended": ("weights 1", "running 2", "paused 3", "weights 4", "running 5", "weights 6",
                  "concluded 7", "stopped 8"),
        "runs": ("weights 1", "running 2"),
        "draft": ("weights 1",),
    }  # fmt: skip
    status = {"ended": "stopped", "runs": "running", "draft": "draft"}
    with as_superuser(database, services).begin() as connection:
        connection.execute(
            sa.text("INSERT INTO mlops.tenants (id, name) VALUES (:t, 'before')"), {"t": tenant}
        )
        for name, entries in told.items():
            connection.execute(
                sa.text(
                    "INSERT INTO mlops.ab_tests (id, tenant_id, environment, name, status,"
                    " success_metric, variants, table_version) VALUES (gen_random_uuid(), :t,"
                    " 'production', :name, :status, 'success', '[]', 1)"
                ),
                {"t": tenant, "name": name, "status": status[name]},
            )
            for action, day in (entry.split() for entry in entries):
                connection.execute(
                    sa.text(
                        "INSERT INTO mlops.audit_log (tenant_id, at, actor, action, subject)"
                        " VALUES (:t, make_timestamptz(2026, 3, :day, 0, 0, 0, 'UTC'), 'ann',"
                        " 'ab_test.' || :action, 'production/' || :name)"
                    ),
                    {"t": tenant, "day": int(day), "action": action, "name": name},
                )

    upgrade(database, services.database_url)

    with as_superuser(database, services).begin() as connection:
        found = connection.execute(
            sa.text(
                "SELECT name, date_part('day', began_at AT TIME ZONE 'UTC'),"
                " date_part('day', split_changed_at AT TIME ZONE 'UTC'),"
                " date_part('day', ended_at AT TIME ZONE 'UTC') FROM mlops.ab_tests ORDER BY name"
            )
        ).all()
    assert [tuple(one) for one in found] == [
        ("draft", None, None, None),
        ("ended", 2, 4, 7),
        ("runs", 2, None, None),
    ]


def test_a_models_description_is_that_of_its_first_version_which_is_in_development(
    database: str, services: TemporaryServices
) -> None:
    engine = sa.create_engine(psycopg_url(database), poolclass=sa.NullPool)
    tenant, model = uuid.uuid4(), uuid.uuid4()
    with engine.begin() as connection:
        at_version(connection, "0023")
    with as_superuser(database, services).begin() as connection:
        for statement in (
            "INSERT INTO mlops.tenants (id, name) VALUES (:t, 'before')",
            "INSERT INTO mlops.models (id, tenant_id, name, description)"
            " VALUES (:m, :t, 'buyer', 'Buys things')",
            "INSERT INTO mlops.model_versions (id, tenant_id, model_id, version, agent, created_at)"
            " SELECT gen_random_uuid(), :t, :m, n || '.0.0', 'llm', now() + n * interval '1 s'"
            " FROM generate_series(1, 2) AS n",
        ):
            connection.execute(sa.text(statement), {"t": tenant, "m": model})

    upgrade(database, services.database_url)

    with as_superuser(database, services).begin() as connection:
        found = connection.execute(
            sa.text(
                "SELECT version, description, stage, fixed_at FROM mlops.model_versions ORDER BY 1"
            )
        ).all()
    assert [tuple(one) for one in found] == [
        ("1.0.0", "Buys things", "development", None),
        ("2.0.0", "", "development", None),
    ]
