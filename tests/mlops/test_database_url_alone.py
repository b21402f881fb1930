"""`DATABASE_URL` by itself is enough, whatever the role it names may do."""

import json
import os
import subprocess
import sys
import uuid
from contextlib import contextmanager
from urllib.parse import quote

import psycopg
import pytest
from typer.testing import CliRunner

from mlops.cli import app
from shared.database import _engines
from shared.settings import settings


@contextmanager
def empty_database(services):
    """And roles of a server that is shared: names that no other test has."""
    name = f"alone_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(services.superuser_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name}_powerful LOGIN CREATEROLE PASSWORD 'hunter2'")
        connection.execute(f"CREATE ROLE {name}_weak LOGIN PASSWORD 'hunter2'")
        connection.execute(f"CREATE DATABASE {name} OWNER {name}_powerful")
        yield name
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        for role in (f"{name}_weak", f"{name}_powerful"):
            connection.execute(f"DROP OWNED BY {role}")


@pytest.fixture
def database(services):
    with empty_database(services) as name:
        yield name


@pytest.fixture(scope="module")
def upgraded(services, process):
    """The one URL of a database that `mlops db upgrade` was called for with nothing else."""
    with empty_database(services) as name:
        url = superusers_url(services, name)
        done = process(url, "db", "upgrade", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["revision"]
        yield url


def superusers_url(services, database):
    return services.superuser_url.rpartition("/")[0] + f"/{database}"


@pytest.fixture
def url(services, database):
    place = services.superuser_url.partition("@")[2].partition("/")[0]

    def of(role):
        if role == "postgres":
            return superusers_url(services, database)
        return f"postgresql://{database}_{role}:hunter2@{place}/{database}"

    return of


@pytest.fixture(scope="module")
def mlops(services):
    """A command in this process that finds no other URL of a database than the one given."""

    def run(database_url, *arguments, **variables):
        known = set(_engines)
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("DATABASE_OWNER_URL", raising=False)
            patch.setattr("mlops.console.out.width", 200)
            for name, value in {"DATABASE_URL": database_url, **variables}.items():
                patch.setenv(name, value)
            settings.cache_clear()
            result = CliRunner().invoke(app, list(arguments))
            for made in set(_engines) - known:
                _engines.pop(made).dispose()
        settings.cache_clear()
        return result

    return run


@pytest.fixture(scope="module")
def process(services):
    """The same, in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if k != "DATABASE_OWNER_URL"}

    def run(database_url, *arguments, **variables):
        return subprocess.run(
            [sys.executable, "-m", "mlops.cli", *arguments],
            env={**environment, "DATABASE_URL": database_url, "COLUMNS": "200", **variables},
            capture_output=True,
            text=True,
            timeout=100,
        )

    return run


def test_one_url_migrates_and_works(mlops, process, upgraded):
    submitted = process(upgraded, "job", "submit", '{"job": "roll_up"}', "--json")
    assert (submitted.returncode, submitted.stderr) == (0, "")
    listed = json.loads(mlops(upgraded, "job", "list", "--json").stdout)
    assert [job["id"] for job in listed] == [json.loads(submitted.stdout)["id"]]
    # A superuser sees over every wall, unless its statements run as another role.
    assert mlops(upgraded, "tenant", "create", "other").exit_code == 0
    other = mlops(upgraded, "job", "list", "--json", MLOPS_TENANT="other")
    assert json.loads(other.stdout) == []


def test_the_first_tenant_leaves_one_audit_row(mlops, upgraded):
    assert mlops(upgraded, "db", "upgrade").exit_code == 0
    with psycopg.connect(upgraded) as connection:
        rows = connection.execute(
            "SELECT a.action, a.subject FROM mlops.audit_log a"
            " JOIN mlops.tenants t ON t.id = a.tenant_id WHERE t.name = 'default'"
        ).fetchall()
    assert rows == [("tenant.create", "default")]


def test_a_schema_of_a_later_version_is_left_alone(mlops, upgraded):
    with psycopg.connect(upgraded) as connection:
        own = connection.execute("SELECT version_num FROM mlops.alembic_version").fetchone()[0]
        connection.execute("UPDATE mlops.alembic_version SET version_num = '9999'")
    later = mlops(upgraded, "db", "upgrade")
    assert (later.exit_code, later.stderr.count("\n")) == (1, 1)
    assert "9999" in later.stderr
    with psycopg.connect(upgraded) as connection:
        connection.execute("UPDATE mlops.alembic_version SET version_num = %s", [own])


def test_a_role_that_may_not_migrate_will_do_once_it_was_done_for_it(mlops, url):
    refused = mlops(url("weak"), "db", "upgrade")
    assert refused.exit_code == 1
    assert "may not migrate" in refused.stderr
    assert "set DATABASE_OWNER_URL" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "hunter2" not in refused.stdout + refused.stderr

    both = mlops(url("weak"), "db", "upgrade", DATABASE_OWNER_URL=url("postgres"))
    assert both.exit_code == 0, both.stderr
    alone = mlops(url("weak"), "db", "upgrade", MLOPS_TENANT="made-by-the-weak")
    assert (alone.exit_code, alone.stderr) == (0, "")
    assert mlops(url("weak"), "job", "list", MLOPS_TENANT="made-by-the-weak").exit_code == 0


def test_an_owner_who_may_not_make_roles_is_told(mlops, url, services, database):
    with psycopg.connect(services.superuser_url, autocommit=True) as connection:
        connection.execute(f"ALTER ROLE {database}_powerful NOCREATEROLE")
    refused = mlops(url("powerful"), "db", "upgrade")
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert "may create roles" in refused.stderr


def test_roles_that_an_administrator_made_will_do(mlops, url, services, database):
    with psycopg.connect(services.superuser_url, autocommit=True) as connection:
        connection.execute(f"ALTER ROLE {database}_powerful NOCREATEROLE")
        connection.execute(f"GRANT mlops_app, mlops_definer TO {database}_powerful")
    upgraded = mlops(url("powerful"), "db", "upgrade")
    assert (upgraded.exit_code, upgraded.stderr) == (0, "")


def test_an_owner_who_makes_roles_sees_no_rows_of_a_tenant(mlops, url, services, database):
    with psycopg.connect(services.superuser_url, autocommit=True) as connection:
        # Since PostgreSQL 16, who may make roles administers only those that it made: as here.
        if connection.info.server_version >= 160000:
            connection.execute(
                f"GRANT mlops_app, mlops_definer TO {database}_powerful"
                " WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"
            )
    for arguments in (("db", "upgrade"), ("job", "submit", '{"job": "roll_up"}')):
        done = mlops(url("powerful"), *arguments)
        assert (done.exit_code, done.stderr) == (0, "")
    with psycopg.connect(url("powerful")) as connection:
        assert connection.execute("SELECT count(*) FROM mlops.jobs").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM mlops.tenants").fetchone() == (0,)


def test_a_login_is_made_with_any_password_and_the_password_stays_here(
    mlops, url, services, database
):
    role, password = f"{database}_100%'s", "50%s'off:\"@/ %("
    place = services.superuser_url.partition("@")[2].partition("/")[0]
    login = f"postgresql://{quote(role, safe='')}:{quote(password, safe='')}@{place}/{database}"
    both = mlops(login, "db", "upgrade", DATABASE_OWNER_URL=url("postgres"))
    assert both.exit_code == 0, both.stderr
    submitted = mlops(login, "job", "submit", '{"job": "roll_up"}')
    assert (submitted.exit_code, submitted.stderr) == (0, "")
    with psycopg.connect(services.superuser_url, autocommit=True) as connection:
        stored = connection.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname = %s", [role]
        ).fetchone()
    assert stored[0].startswith("SCRAM-SHA-256$")


@pytest.mark.proof
def test_mlops_up_migrates_with_the_one_url(process, url, tmp_path, services):
    state = {
        "MLOPS_STATE_DIR": str(tmp_path / "state"),
        "MLOPS_FLOWER_PORT": "0",
        "MLOPS_WEB_PORT": "0",
    }
    try:
        up = process(url("postgres"), "up", "--detach", "--only", "beat", **state)
        assert up.returncode == 0, up.stderr
        assert process(url("postgres"), "job", "list").returncode == 0
        doctor = json.loads(process(url("postgres"), "doctor", "--json", **state).stdout)
        assert {c["name"]: c["verdict"] for c in doctor}["schema"] == "ok", doctor
    finally:
        process(url("postgres"), "down", **state)
