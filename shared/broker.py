"""Celery over Redis: the whole configuration as one dict, and sending messages."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from uuid import UUID

from celery import Celery
from kombu import Exchange
from kombu import Queue as KombuQueue
from kombu.exceptions import KombuError
from kombu.serialization import register
from kombu.utils.json import dumps as json_dumps
from redis.exceptions import RedisError

from shared.jobs.contracts import CONTRACTS, JobMessage, Queue
from shared.local import discovery
from shared.local.errors import ServiceError
from shared.redis_client import redis_client

log = logging.getLogger(__name__)

DEEPEST_MESSAGE = 100
"""Levels of nesting. Celery pickles a message's arguments on their way to a child process, and a
deeper one would end the worker there, before any code of ours could refuse it."""

LONGEST_DEADLINE_SECONDS = 3600
SOFT_SHUTDOWN_SECONDS = 20


def configuration(broker_url: str) -> dict[str, Any]:
    """Every Celery setting of every process."""
    return {
        "broker_url": broker_url,
        # There is no result backend: the job's row is the result.
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "enable_utc": True,
        "timezone": "UTC",
        "task_queues": [
            KombuQueue(queue.value, Exchange(queue.value), routing_key=queue.value)
            for queue in Queue
        ],
        "task_routes": {
            task_name(kind): {"queue": contract.queue.value} for kind, contract in CONTRACTS.items()
        },
        # What is no job: submissions from outside, and the timetable.
        "task_default_queue": Queue.CONTROL.value,
        "task_create_missing_queues": False,
        # A message leaves the broker when its work is done, one at a time, so that a killed
        # worker gives back what it held and a slow one does not sit on what others could do.
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        # `task_reject_on_worker_lost` would hand a task that kills its worker round for ever;
        # this counts it as a retry. The row's own attempts end it.
        "task_retry_on_worker_lost": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # On SIGQUIT (what SIGTERM is mapped to) a worker ends what it has begun.
        "worker_soft_shutdown_timeout": SOFT_SHUTDOWN_SECONDS,
        "worker_enable_soft_shutdown_on_idle": False,
        "broker_transport_options": {
            # Longer than any job may take: a message is not handed out again while it is worked on.
            "visibility_timeout": LONGEST_DEADLINE_SECONDS + 600,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 30,
        },
        "task_publish_retry_policy": {"max_retries": 2, "interval_start": 0.1, "interval_max": 0.5},
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        "worker_hijack_root_logger": False,
        "worker_proc_alive_timeout": 30,
        # Tasks share their process with a warm browser or connection; neither leaks.
        "worker_max_tasks_per_child": None,
    }


def _loads(text: str | bytes) -> Any:
    """JSON of a message; `ValueError` for one that is nested too deeply, which Celery discards."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("the message is nested too deeply") from None
    level, depth = [value], 0
    while level := [
        inner
        for outer in level
        if isinstance(outer, dict | list)
        for inner in (outer.values() if isinstance(outer, dict) else outer)
    ]:
        depth += 1
        if depth > DEEPEST_MESSAGE:
            raise ValueError(f"the message is nested more than {DEEPEST_MESSAGE} levels deep")
    return value


register("json", json_dumps, _loads, "application/json", "utf-8")


@lru_cache(maxsize=1)
def celery_app() -> Celery:
    """The Celery application of this process."""
    app = Celery("mlops", set_as_current=True)
    app.conf.update(configuration(discovery.redis_url()))
    return app


def publish(messages: Iterable[tuple[str, str, UUID, UUID]]) -> bool:
    """Send (kind, queue, tenant, job) messages; False when the broker is away.

    Nothing is lost then: the rows are there, and the sweeper sends what was not sent.
    """
    try:
        app = celery_app()
        with app.producer_pool.acquire(block=True, timeout=5) as producer, producer.batch():
            for kind, queue, tenant_id, job_id in messages:
                app.send_task(
                    task_name(kind),
                    kwargs=JobMessage(tenant_id=tenant_id, job_id=job_id).model_dump(mode="json"),
                    queue=queue,
                    task_id=str(job_id),
                    producer=producer,
                )
    except (KombuError, RedisError, OSError, ServiceError, ValueError) as error:
        log.warning("the broker is away (%s): the sweeper will send the jobs", type(error).__name__)
        return False
    return True


def task_name(kind: str) -> str:
    """The name of the Celery task that does jobs of this kind."""
    return f"mlops.{kind}"


def queue_lengths() -> dict[Queue, int]:
    """Messages waiting in each queue of the broker, without those that workers hold."""
    client = redis_client()
    return {queue: int(client.llen(queue.value)) for queue in Queue}
