"""The commands of the services, as a user runs them.

What starts and stops is in a process of its own; what looks at it is in the test's.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlops.cli import app
from shared import broker, database
from shared.local import services
from shared.local.state import StateFolder
from shared.settings import settings


@pytest.fixture
def folder():
    path = Path(tempfile.mkdtemp(prefix="mlops-test-"))
    path.chmod(0o755)
    yield path
    services.stop(path / "state")
    shutil.rmtree(path)


@pytest.fixture
def environment(folder):
    dropped = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL")
    environment = {k: v for k, v in os.environ.items() if k not in dropped}
    environment.update(
        MLOPS_STATE_DIR=str(folder / "state"),
        MLOPS_FLOWER_PORT="0",
        MLOPS_WEB_PORT="0",
        COLUMNS="200",
    )
    return environment


@pytest.fixture
def mlops(environment):
    def run(*arguments, **variables):
        return subprocess.run(
            [sys.executable, "-m", "mlops.cli", *arguments],
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture
def look(folder, environment, monkeypatch):
    """A command in this process, with the environment that the others have."""
    for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLOPS_STATE_DIR", environment["MLOPS_STATE_DIR"])
    for name in ("MLOPS_FLOWER_PORT", "MLOPS_WEB_PORT"):
        monkeypatch.setenv(name, environment[name])
    monkeypatch.setattr("mlops.console.out.width", 200)

    def run(*arguments, **variables):
        known = set(database._engines)
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            settings.cache_clear()
            broker.celery_app.cache_clear()
            answer = CliRunner().invoke(app, list(arguments))
        for made in set(database._engines) - known:
            database._engines.pop(made).dispose()
        return answer

    yield run
    if broker.celery_app.cache_info().currsize:
        broker.celery_app().close()
    broker.celery_app.cache_clear()
    settings.cache_clear()


def test_up_status_logs_doctor_down(mlops, look, folder):
    before = look("status")
    assert (before.exit_code, before.stderr) == (1, "")
    assert "run `mlops up`" in before.stdout

    up = mlops("up", "--detach", "--only", "flower")
    assert up.returncode == 0, up.stderr
    again = mlops("up", "--detach")
    assert again.returncode == 0
    assert "already running" in again.stdout

    status = json.loads(look("status", "--json").stdout)
    assert status["running"]
    assert [p["process"] for p in status["processes"]] == ["postgres", "redis", "flower"]
    assert all(p["state"] == "running" and p["pid"] for p in status["processes"])
    assert status["queues_unknown"] is None
    shown = look("status")
    assert "postgres" in shown.stdout
    assert shown.stderr == f"state folder {folder / 'state'}\n"
    assert status["state_dir"] == str(folder / "state")
    assert f"folder      {folder / 'state'}\n" in up.stdout
    # An address is told of what was started.
    assert "Flower " in up.stdout
    assert "Functions " not in up.stdout

    assert "ready to accept connections" in look("logs", "postgres", "-n", "50").stdout
    wrong_log = look("logs", "nothing")
    assert (wrong_log.exit_code, wrong_log.stderr.count("\n")) == (2, 1)

    doctor = look("doctor", "--json")
    verdicts = {check["name"]: check["verdict"] for check in json.loads(doctor.stdout)}
    assert doctor.exit_code == 1
    for good in ("Python", "database", "schema", "Redis", "Chromium", "MiniWoB++", "ports"):
        assert verdicts[good] == "ok", doctor.stdout
    # Only Flower was started.
    assert verdicts["worker of drift"] == verdicts["beat"] == "wrong"

    record = StateFolder.at(folder / "state").load()
    urls = json.loads(look("env", "--json").stdout)
    assert urls == {
        "DATABASE_URL": record.postgres.database_url,
        "REDIS_URL": record.redis.redis_url,
    }
    exported = subprocess.run(
        ["/bin/sh", "-c", f'{look("env").stdout}\nprintf %s "$REDIS_URL"'],
        capture_output=True,
        text=True,
    )
    assert exported.stdout == record.redis.redis_url

    told = "".join(r.stdout + r.stderr for r in (up, again, doctor))
    for password in (record.postgres.owner_password, record.redis.password, record.flower.password):
        assert password not in told

    assert mlops("down").stdout == "stopped\n"
    assert "nothing is running" in look("down").stdout
    away = look("env")
    assert (away.exit_code, away.stdout, away.stderr.count("\n")) == (1, "", 1)


def test_up_in_the_foreground_stops_everything_when_it_is_interrupted(environment, look):
    with subprocess.Popen(
        [sys.executable, "-m", "mlops.cli", "up", "--only", "flower"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as up:
        for line in up.stdout:
            if line.startswith("flower "):
                break
        up.send_signal(signal.SIGINT)
        rest = up.stdout.read()
    assert up.returncode == 0
    assert rest.endswith("stopping\nstopped\n")
    assert look("status").exit_code == 1


@pytest.mark.parametrize(
    ("variable", "url", "code", "told"),
    [
        ("DATABASE_URL", "mysql://u:hunter2@127.0.0.1/x", 2, "must start with"),
        ("DATABASE_URL", "postgresql://u:hunter2/@127.0.0.1/x", 2, "written %XX"),
        ("DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:1/x", 1, "nothing listens at 127.0.0.1"),
        ("REDIS_URL", "redis://:hunter2@127.0.0.1:1/0", 1, "listens at 127.0.0.1:1"),
    ],
)
def test_a_wrong_url_is_one_line(look, variable, url, code, told):
    answer = look("up", "--detach", **{variable: url})
    assert answer.exit_code == code
    assert told in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert "hunter2" not in answer.stdout + answer.stderr


def test_an_interrupted_demonstration_says_what_is_left(folder, monkeypatch):
    from mlops.demo import left_behind

    monkeypatch.setenv("MLOPS_STATE_DIR", str(folder / "state"))
    settings.cache_clear()
    told = left_behind(None)
    settings.cache_clear()
    assert told == f"interrupted: nothing was left running; {folder / 'state'} keeps the data"


def test_an_unknown_program_is_a_mistake_of_usage(mlops):
    answer = mlops("up", "--only", "nothing")
    assert (answer.returncode, answer.stderr.count("\n")) == (2, 1)
