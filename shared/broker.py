"""Celery over Redis: the whole configuration as one dict, and sending messages."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from celery import Celery
from kombu import Exchange
from kombu import Queue as KombuQueue
from kombu.exceptions import KombuError
from kombu.serialization import register
from kombu.utils.json import dumps as json_dumps
from redis.exceptions import AuthenticationError, RedisError

from shared.jobs.contracts import CONTRACTS, JobMessage, Queue
from shared.local import discovery
from shared.local.errors import ServiceError
from shared.redis_client import redis_client

log = logging.getLogger(__name__)

DEEPEST_MESSAGE = 100
"""Levels of nesting. Celery pickles a message's arguments on their way to a child process, and a
deeper one would end the worker there, before any code of ours could refuse it."""

NORMAL_PRIORITY = 5
"Of 0, which is done first, to 9."

PRIORITY_STEPS = (0, 3, 6, 9)
"""The Redis transport keeps a list of messages for each step, and a priority goes into the list
of the step at or below it. A worker that waits asks for all lists of its queue at once."""

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
            "priority_steps": list(PRIORITY_STEPS),
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


class Message(NamedTuple):
    """A job's message: what it is, where it goes, and how soon it is done."""

    kind: str
    queue: str
    tenant_id: UUID
    job_id: UUID
    priority: int = NORMAL_PRIORITY


def publish(messages: Iterable[Message]) -> bool:
    """Send the messages; False when the broker is away.

    Nothing is lost then: the rows are there, and the sweeper sends what was not sent.
    """
    try:
        app = celery_app()
        with app.producer_pool.acquire(block=True, timeout=5) as producer, producer.batch():
            for message in messages:
                app.send_task(
                    task_name(message.kind),
                    kwargs=JobMessage(
                        tenant_id=message.tenant_id, job_id=message.job_id
                    ).model_dump(mode="json"),
                    queue=message.queue,
                    task_id=str(message.job_id),
                    priority=message.priority,
                    producer=producer,
                )
    except (KombuError, RedisError, OSError, ServiceError, ValueError) as error:
        log.warning("%s: the sweeper will send the jobs", _unsent_because(error))
        return False
    return True


def _unsent_because(error: BaseException) -> str:
    """Why nothing was sent, without the URL, which holds the password."""
    refused = (error, error.__cause__, error.__context__)
    if any(isinstance(one, AuthenticationError) for one in refused):
        return "Redis refuses the user or the password of REDIS_URL"
    return f"the broker is away ({type(error).__name__})"


def task_name(kind: str) -> str:
    """The name of the Celery task that does jobs of this kind."""
    return f"mlops.{kind}"


def queue_lengths() -> dict[Queue, int]:
    """Messages waiting in each queue of the broker, without those that workers hold."""
    waiting = redis_client().pipeline(transaction=False)
    for queue in Queue:
        for key in lists_of(queue):
            waiting.llen(key)
    lengths = iter(waiting.execute())
    return {queue: sum(int(next(lengths)) for _ in PRIORITY_STEPS) for queue in Queue}


def lists_of(queue: Queue) -> list[str]:
    """The keys of a queue's lists in Redis, what is done first first.

    As kombu's `_q_for_pri` names them; its module takes a quarter of a second to import.
    """
    return [f"{queue.value}\x06\x16{step}" if step else queue.value for step in PRIORITY_STEPS]
