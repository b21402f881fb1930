"""Whatever is killed, every episode has exactly one result and the sums are those of the episodes.

What is killed here is started again by the product and not by the test.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from shared import broker
from shared.database import tenant_session
from shared.jobs.tables import JobRow
from shared.redis_client import redis_client

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True)
def nothing_lost_and_nothing_counted_twice(run: Any) -> object:
    yield
    run.assert_one_result_per_episode()
    run.assert_totals_are_those_of_the_episodes()


def test_killing_the_evaluation_worker_in_mid_run(cluster: Any, run: Any) -> None:
    run.under_way()
    cluster.process("evaluation").send_signal(signal.SIGKILL)


def test_killing_redis(cluster: Any, run: Any) -> None:
    run.under_way()
    cluster.process("redis").send_signal(signal.SIGKILL)


def test_emptying_redis(cluster: Any, run: Any) -> None:
    run.under_way()
    redis_client().flushall()


def test_restarting_postgresql(cluster: Any, run: Any) -> None:
    run.under_way()
    postgres = cluster.process("postgres")
    postgres.send_signal(signal.SIGINT)  # its "fast" shutdown
    postgres.wait()
    run.outlives_a_restart_of_postgresql()


def test_killing_chromium(cluster: Any, run: Any) -> None:
    run.under_way()
    browsers = cluster.browsers()
    assert browsers
    for browser in browsers:
        browser.kill()


def test_every_message_sent_twice(cluster: Any, run: Any) -> None:
    with tenant_session(run.tenant) as session:
        jobs = session.execute(sa.select(JobRow.kind, JobRow.queue, JobRow.tenant_id, JobRow.id))
        messages = [broker.Message(*row) for row in jobs]
    assert broker.publish(messages)
    assert broker.publish(messages)


def test_two_beats_at_once(cluster: Any, run: Any, tmp_path: Path) -> None:
    schedule = str(tmp_path / "beat.db")
    with cluster.also("-A", "beat_schedule", "beat", "--schedule", schedule) as second:
        run.assert_one_result_per_episode()
        assert second.poll() is None, "the second beat did not keep running"


def test_messages_that_are_not_ours(cluster: Any, run: Any) -> None:
    """They are dropped with a line in the log; the queue goes on."""
    app = broker.celery_app()
    app.send_task("mlops.roll_up", kwargs={"tenant_id": "x"}, queue="costs")
    app.send_task("mlops.no_such_task", kwargs={}, queue="costs")
    app.send_task("mlops.evaluate_episode", args=[1, 2, 3], queue="evaluation")
    deep: dict[str, Any] = {}
    for _ in range(300):
        deep = {"deeper": deep}
    app.send_task("mlops.submit", kwargs={"job": deep}, queue="control")
