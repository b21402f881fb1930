"""Workers come and go by hand, on any machine, and Flower shows them."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from mlops.flower import workers
from shared.database import tenant_session
from shared.jobs.contracts import Queue

pytestmark = pytest.mark.timeout(300)


def test_flower_shows_a_worker_for_every_queue(cluster: Any) -> None:
    def seen() -> bool:
        names = workers(cluster.running.flower)
        return all(any(name.startswith(f"{queue}@") for name in names) for queue in Queue)

    cluster.until(seen, "Flower to see the workers")


def test_a_second_worker_takes_part_of_the_episodes(cluster: Any) -> None:
    command = [
        "-A",
        "workers",
        "worker",
        "-Q",
        "evaluation",
        "-P",
        "threads",
        "-c",
        "2",
        "-n",
        "evaluation@second",
    ]
    with cluster.also(*command):
        cluster.until(
            lambda: "evaluation@second" in workers(cluster.running.flower), "the second worker"
        )
        run = cluster.start_run()
        run.assert_one_result_per_episode()
    with tenant_session(run.tenant) as session:
        took_part = session.scalars(sa.text("SELECT DISTINCT worker FROM mlops.episodes")).all()
    assert len(took_part) == 2
    assert "evaluation@second" in took_part
