"""Starting and stopping with real processes; the programs are left out unless a test needs one."""

import os
import signal
import subprocess
import sys
import time

import psutil
import psycopg
import pytest
import redis

from shared.local import discovery, postgres, processes, services
from shared.local import redis as local_redis
from shared.local.ephemeral import temporary_services
from shared.local.errors import ServiceError, ServicesNotRunning
from shared.local.services import Binaries
from shared.local.state import StateFolder
from shared.settings import settings


def only_servers(state, **options):
    return services.start(state, durable=False, programs=(), **options)


def pids(state):
    return {info.name: info.pid for info in services.statuses(state)}


def living(some):
    """Those that run; what init has not yet reaped does not."""
    found = []
    for process in some:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def test_the_wheels_serve_a_machine_with_an_empty_path(state, monkeypatch):
    monkeypatch.setenv("PATH", "")
    wheels = Binaries(
        postgres.find(path="", folders=()),
        local_redis.find(path="", folders=()),
    )
    migrated = []
    started = only_servers(
        state, binaries=wheels, migrate=lambda owner, login: migrated.append((owner, login))
    )
    assert started.started
    assert migrated == [(started.database_owner_url, started.database_url)]
    assert discovery.connection_settings() == (
        started.database_url,
        started.database_owner_url,
        started.redis_url,
    )
    with psycopg.connect(discovery.database_url()) as connection:
        assert connection.info.dbname == "mlops"
    with redis.Redis.from_url(discovery.redis_url()) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    before = pids(state)
    assert set(before) == {"postgres", "redis"}

    # Started twice, it is the same services.
    again = only_servers(state)
    assert not again.started
    assert again.database_url == started.database_url
    assert pids(state) == before

    record = StateFolder.at(state).load()
    ours = processes.of_instance(record)
    assert {record.supervisor.pid, *before.values()} <= {process.pid for process in ours}
    assert services.stop(state)
    assert living(ours) == []
    assert services.statuses(state) == ()
    assert not services.stop(state)
    with pytest.raises(ServicesNotRunning):
        discovery.database_url()


def test_a_restart_keeps_data_ports_and_passwords_and_gives_up_a_port_that_is_taken(state):
    first = only_servers(state)
    with psycopg.connect(first.database_owner_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    services.stop(state)
    port = StateFolder.at(state).load().redis.port
    # Another's server: it must live through our start and our stop.
    foreign = subprocess.Popen(
        [local_redis.find().server, "--port", str(port), "--bind", "127.0.0.1", "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    with foreign:
        try:
            wait_until_listening(port)
            second = only_servers(state)
            assert second.database_url == first.database_url
            assert second.redis_url != first.redis_url
            with psycopg.connect(second.database_owner_url) as connection:
                assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
            services.stop(state)
            with redis.Redis(port=port) as client:
                assert client.ping()
        finally:
            foreign.terminate()


def wait_until_listening(port):
    with redis.Redis(port=port) as client:
        for _ in range(200):
            try:
                client.ping()
            except redis.ConnectionError:
                time.sleep(0.05)
            else:
                return
    raise AssertionError(f"nothing listens on {port}")


def test_what_the_environment_names_is_not_started(state, folder, monkeypatch):
    with temporary_services(folder / "named") as named:
        monkeypatch.setenv("DATABASE_URL", named.database_url)
        monkeypatch.setenv("DATABASE_OWNER_URL", named.database_owner_url)
        settings.cache_clear()
        migrated = []
        started = only_servers(state, migrate=lambda owner, login: migrated.append(owner))
        assert set(pids(state)) == {"redis"}
        assert started.database_url == named.database_url
        assert migrated == [named.database_owner_url]
        assert not (state / "postgres").exists()
        services.stop(state)
        assert psutil.pid_exists(named.postgres_pid)


def test_a_wrong_url_is_told_before_anything_is_started(state, monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@127.0.0.1:1/0")
    settings.cache_clear()
    with pytest.raises(ServiceError, match="nothing that speaks Redis listens") as caught:
        only_servers(state)
    assert "hunter2" not in str(caught.value)
    assert not (state / "postgres").exists()
    assert services.statuses(state) == ()


def test_what_is_killed_is_started_again(state):
    only_servers(state)
    before = pids(state)["redis"]
    os.kill(before, signal.SIGKILL)
    for _ in range(200):
        now = pids(state)["redis"]
        if now not in (None, before):
            break
        time.sleep(0.05)
    assert now not in (None, before)

    # The manager itself is not, but the next start puts right what it left behind.
    record = StateFolder.at(state).load()
    orphans = processes.of_instance(record)
    os.kill(record.supervisor.pid, signal.SIGKILL)
    psutil.wait_procs([p for p in orphans if p.pid == record.supervisor.pid], timeout=5)
    assert services.statuses(state) == ()
    started = only_servers(state)
    assert started.started
    with psycopg.connect(started.database_url):
        pass
    assert living(orphans) == []


def test_neither_a_reused_pid_nor_data_without_passwords_is_taken_for_ours(state):
    only_servers(state)
    folder = StateFolder.at(state)
    record = folder.load()
    services.stop(state)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        earlier = {"pid": stranger.pid, "started": record.supervisor.started - 60}
        manager = record.supervisor.model_copy(update=earlier)
        folder.save(record.model_copy(update={"supervisor": manager}))
        assert services.statuses(state) == ()
        services.stop(state)
        assert stranger.poll() is None
        stranger.terminate()

    # Its data is still there, so a lost record is not replaced by a new one.
    (state / "services.json").unlink()
    with pytest.raises(ServiceError, match="with its passwords is not"):
        only_servers(state)


def test_a_failed_migration_stops_what_was_started(state):
    def refuse(owner, login):
        raise ServiceError("no migration today")

    with pytest.raises(ServiceError, match="no migration today"):
        only_servers(state, migrate=refuse)
    assert living(processes.of_instance(StateFolder.at(state).load())) == []


def test_two_starts_at_once_start_one_set_of_services(state):
    code = (
        "import sys; from pathlib import Path; from shared.local import services\n"
        "print(services.start(Path(sys.argv[1]), durable=False, programs=()).started)"
    )
    command = [sys.executable, "-c", code, str(state)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = sorted(process.communicate(timeout=60)[0].strip() for process in both)
    assert answers == ["False", "True"]
    assert_secrets_are_private(state)


def assert_secrets_are_private(state):
    """Neither in a configuration, a log or on a command line, nor in a file others may read."""
    folder = StateFolder.at(state)
    record = folder.load()
    secrets = (
        record.postgres.superuser_password,
        record.postgres.owner_password,
        record.postgres.login_password,
        record.redis.password,
        record.flower.password,
        record.supervisor.password,
    )
    lines = [" ".join(process.cmdline()) for process in processes.of_instance(record)]
    readable = [folder.supervisor_configuration.read_text(), *lines]
    readable += [path.read_text() for path in folder.logs.iterdir()]
    assert not [s for s in secrets for text in readable if s in text]
    for path in (*state.glob("*.json"), *state.glob("*.conf"), *folder.logs.iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_folder_whose_name_the_manager_cannot_read_is_told(folder, state):
    with pytest.raises(ServiceError, match="use another folder"):
        only_servers(folder / "100%h")
