"""The slow proof: one fault after another during one long run."""

from __future__ import annotations

import random
import signal
from contextlib import suppress
from typing import Any

import psutil
import pytest
import redis

from shared.evaluation.miniwob.catalogue import catalogue
from shared.redis_client import redis_client

pytestmark = [pytest.mark.proof, pytest.mark.timeout(1800)]

FAULTS = 12
SEEDS = 40


def test_a_long_run_survives_one_fault_after_another(cluster: Any) -> None:
    """Killed workers of all queues, a killed and an emptied Redis, a restarted PostgreSQL."""
    chance = random.Random(20261122)
    run = cluster.start_run(seeds=SEEDS)
    for number in range(FAULTS):
        run.outlives_a_restart_of_postgresql()
        run.under_way(ended=min(10 * (number + 1), run.episodes - 20))
        chance.choice(
            [
                lambda: kill(cluster, "evaluation"),
                lambda: kill(cluster, "ingest"),
                lambda: kill(cluster, "control"),
                lambda: kill(cluster, "beat"),
                lambda: kill(cluster, "redis"),
                lambda: empty_redis(cluster),
                lambda: kill(cluster, "postgres", signal.SIGINT),
                lambda: kill_browsers(cluster),
            ]
        )()
    run.outlives_a_restart_of_postgresql()
    run.assert_one_result_per_episode()
    run.assert_totals_are_those_of_the_episodes()


def test_a_hundred_tasks_survive_killed_workers_and_a_restarted_redis(cluster: Any) -> None:
    """100 tasks x 5 seeds, three workers and Redis killed: 500 results, each counted once."""
    tasks = [task.name for task in catalogue().values()][:100]
    assert len(tasks) == 100
    run = cluster.start_run(seeds=5, tasks=tasks)
    for ended, name in (
        (40, "evaluation"),
        (120, "redis"),
        (200, "evaluation"),
        (320, "evaluation"),
    ):
        cluster.until(lambda ended=ended: run.progress().ended >= ended, f"{ended} episodes", 900)
        kill(cluster, name)
    # The rule-based agent solves some of them and gives up on others; both are results.
    run.assert_one_result_per_episode(outcomes=("success", "failure", "timeout"))
    run.assert_totals_are_those_of_the_episodes()


def kill(cluster: Any, name: str, how: signal.Signals = signal.SIGKILL) -> None:
    process = cluster.process(name)
    process.send_signal(how)
    process.wait()


def empty_redis(cluster: Any) -> None:
    def emptied() -> bool:
        try:
            return bool(redis_client().flushall())
        except redis.RedisError:
            return False

    cluster.until(emptied, "Redis")


def kill_browsers(cluster: Any) -> None:
    for child in cluster.process("evaluation").children(recursive=True):
        # It may belong to one that was killed just now.
        with suppress(psutil.NoSuchProcess):
            if "chrom" in child.name():
                child.kill()
