import json
import os
import signal
import subprocess
import sys
import time

import psutil
import psycopg
import pytest
import redis

from shared.local import postgres
from shared.local import redis as local_redis
from shared.local.ephemeral import temporary_services


def gone(pids, patience=15.0):
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if not any(psutil.pid_exists(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def test_both_servers_of_the_wheels_serve_us_only_and_are_gone_afterwards(folder):
    with temporary_services(
        folder,
        postgres_installation=postgres.find(path="", folders=()),
        redis_installation=local_redis.find(path="", folders=()),
    ) as found:
        with psycopg.connect(found.database_url) as connection:
            role = connection.execute(
                "SELECT rolname, rolsuper, rolcreaterole, rolbypassrls FROM pg_roles"
                " WHERE rolname = current_user"
            ).fetchone()
            assert role == ("mlops_app_login", False, False, False)
        with psycopg.connect(found.database_owner_url) as connection:
            owner = connection.execute(
                "SELECT rolname, rolsuper, rolcreaterole FROM pg_roles JOIN pg_database"
                " ON datdba = pg_roles.oid WHERE datname = 'mlops'"
            ).fetchone()
            assert owner == ("mlops_owner", False, True)
        with redis.Redis.from_url(found.redis_url) as client:
            assert client.ping()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(found.superuser_url.replace("postgres:", "postgres:x"))
        with (
            redis.Redis.from_url(found.redis_url.replace("://:", "://:x")) as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()
        pids = (found.postgres_pid, found.redis_pid, found.guard_pid)
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert sorted(path.name for path in folder.iterdir()) == ["postgres.log", "redis.log"]


def test_servers_end_when_their_test_process_is_killed(folder):
    asker = subprocess.Popen(
        [sys.executable, "-c", _ASKER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    with asker:
        pids = json.loads(asker.stdout.readline())
        assert all(psutil.pid_exists(pid) for pid in pids)
        os.kill(asker.pid, signal.SIGKILL)
    assert gone(pids)
    assert not list(folder.glob("services-*"))


# Its forked child keeps the pipe to the guard open, as a pool's worker does.
_ASKER = """
import json, os, sys, time
from pathlib import Path
from shared.local.ephemeral import temporary_services
with temporary_services(Path(sys.argv[1])) as found:
    if os.fork() == 0:
        os.close(1)
        time.sleep(20)
        os._exit(0)
    print(json.dumps([found.postgres_pid, found.redis_pid, found.guard_pid]), flush=True)
    time.sleep(60)
"""
