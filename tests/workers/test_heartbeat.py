"""A worker's heartbeat, of real workers."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest
from redis import Redis

from shared.local import ports, redis
from shared.local.heartbeats import age_seconds, beat, forget_dead, heartbeat_file

NODE = "drift@here"
COMMAND = ("celery", "-A", "workers", "worker", "-Q", "drift", "-n", NODE, "-c", "1")


def until(condition, seconds=150.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def own_redis(folder, port, password=None):
    """A Redis that may be killed: the tests share theirs."""
    found = redis.find()
    folder.mkdir(exist_ok=True)
    record = redis.new_record(found, folder, port)
    if password:
        record = record.model_copy(update={"password": password})
    configuration = folder / "redis.conf"
    redis.prepare(record, configuration, durable=False)
    with subprocess.Popen(
        redis.server_command(record, configuration), stdout=subprocess.DEVNULL
    ) as process:
        try:
            until(lambda: redis.answers(record))
            yield record, process
        finally:
            process.kill()


@contextmanager
def worker(state, redis_url, *options):
    with subprocess.Popen(
        [sys.executable, "-m", *COMMAND, *options],
        env=os.environ
        | {"MLOPS_STATE_DIR": str(state), "REDIS_URL": redis_url, "REMAP_SIGTERM": "SIGQUIT"},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
                process.kill()


def alive(state):
    """The answer of the command that health checks run: exit code and what it says."""
    answer = subprocess.run(
        [sys.executable, "-m", "workers.heartbeat", NODE],
        # It must not need them.
        env={k: v for k, v in os.environ.items() if k not in ("REDIS_URL", "DATABASE_URL")}
        | {"MLOPS_STATE_DIR": str(state)},
        capture_output=True,
        text=True,
    )
    return answer.returncode, answer.stderr


def long_ago(file):
    os.utime(file, (time.time() - 90_000,) * 2)


@pytest.mark.parametrize("pool", ["prefork", pytest.param("threads", marks=pytest.mark.proof)])
def test_a_worker_beats_while_the_broker_is_away_and_is_forgotten_when_stopped(
    services, tmp_path, pool
):
    state, file = tmp_path / "state", heartbeat_file(tmp_path / "state", NODE)
    code, said = alive(state)
    assert (code, said.count("\n")) == (1, 1)
    assert "is not running" in said

    def beats_again():
        last = file.stat().st_mtime
        until(lambda: file.stat().st_mtime > last, 20)

    port = ports.choose()
    with (
        own_redis(tmp_path / "redis", port) as (record, server),
        worker(state, record.redis_url, "-P", pool) as process,
    ):
        # To ask the command takes a process each time.
        until(file.exists)
        until(lambda: alive(state)[0] == 0)
        server.kill()
        server.wait()
        beats_again()
        beats_again()
        assert process.poll() is None
        with own_redis(tmp_path / "redis2", port, record.password) as (again, _):
            with Redis.from_url(again.redis_url) as client:
                until(lambda: any(each["cmd"] == "brpop" for each in client.client_list()))
            beats_again()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            assert not file.exists()


def test_a_worker_that_hangs_or_was_killed_is_not_alive(services, tmp_path):
    state, file = tmp_path / "state", heartbeat_file(tmp_path / "state", NODE)
    with worker(state, services.redis_url) as process:
        until(file.exists)
        process.send_signal(signal.SIGSTOP)
        until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
        long_ago(file)
        code, said = alive(state)
        assert (code, said.count("\n")) == (1, 1)
        assert "hangs" in said
        process.send_signal(signal.SIGCONT)
        until(lambda: alive(state) == (0, ""))


def test_a_worker_stopped_while_the_broker_is_away_leaves_no_heartbeat(services, tmp_path):
    state, file = tmp_path / "state", heartbeat_file(tmp_path / "state", NODE)
    with worker(state, f"redis://127.0.0.1:{ports.choose()}/0", "-P", "threads") as process:
        until(file.exists)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert not file.exists()


def test_a_node_name_is_one_file_below_the_folder(tmp_path):
    file = heartbeat_file(tmp_path, "../../evil/drift@here")
    assert file.parent == tmp_path / "heartbeats"
    assert age_seconds(file) is None
    beat(file)
    long_ago(file)
    before = age_seconds(file)
    beat(file)
    assert age_seconds(file) < before


def test_only_files_of_long_ago_are_forgotten(tmp_path):
    old, new = (heartbeat_file(tmp_path, f"{name}@here") for name in ("old", "new"))
    for file in (old, new):
        beat(file)
    long_ago(old)
    forget_dead(old.parent)
    assert not old.exists()
    assert new.exists()


def test_where_no_heartbeat_can_be_written_the_worker_works_all_the_same(services, tmp_path):
    (tmp_path / "state").write_text("a file, not a folder")
    with worker(tmp_path / "state", services.redis_url, "-P", "threads") as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(6)
        assert alive(tmp_path / "state")[0] == 1
