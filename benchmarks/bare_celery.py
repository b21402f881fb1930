"""Bare Celery, the peer of `jobs`: tasks that do nothing, and no rows.

`celery -A benchmarks.bare_celery worker` with the Redis of `REDIS_URL`. What decides how a message
is delivered is as in the product (`shared/broker.py`): JSON, late acknowledgement, one message
taken at a time, no results, the same transport options. What only the product adds is off, as it is
by Celery's own defaults: above all task events, which Flower reads and which cost more than half of
what a no-op does.
"""

from __future__ import annotations

import os
import time
from functools import lru_cache

import redis
from celery import Celery

from shared.broker import configuration

GATE = "gate"
MARKS = "marks"

NOOP, WAIT, MARK = "bare.noop", "bare.wait", "bare.mark"


def bare(redis_url: str) -> Celery:
    """The application whose broker is `redis_url`."""
    made = Celery("bare", set_as_current=False)
    made.conf.update(configuration(redis_url))
    made.conf.update(worker_send_task_events=False, task_send_sent_event=False)
    made.task(noop, name=NOOP)
    made.task(wait, name=WAIT)
    made.task(mark, name=MARK)
    return made


def noop() -> None:
    """Nothing."""


def wait() -> None:
    """Hold the queue until somebody pushes to the list `gate`."""
    _client().blpop([GATE], timeout=60)


def mark() -> None:
    """Push the time, seconds since 1970, to the list `marks`."""
    _client().rpush(MARKS, time.time())


@lru_cache(maxsize=1)
def _client() -> redis.Redis:
    return redis.Redis.from_url(os.environ["REDIS_URL"])


if url := os.environ.get("REDIS_URL"):
    app = bare(url)
