"""Bare Celery, the peer of `jobs`: tasks that do nothing, and no rows.

`celery -A benchmarks.bare_celery worker` with the Redis of `REDIS_URL`. The configuration is the
product's own (`shared/broker.py`), so that both sides take, acknowledge and announce messages in
the same way (JSON, late acknowledgement, one message at a time, no results, task events), and what
differs is what the product does for a job.
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
