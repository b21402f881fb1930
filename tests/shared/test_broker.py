"""Priorities: what is sent later with a better one is taken first, and nothing is overlooked."""

from __future__ import annotations

from uuid import uuid4

import pytest
import redis
from kombu.transport.redis import Channel

from shared import broker
from shared.broker import Message, celery_app, lists_of, publish, queue_lengths
from shared.jobs.contracts import Queue


def taken(queue: Queue) -> list[str]:
    """The identifiers of all messages of the queue, in the order that a worker gets them in."""
    found = []
    with celery_app().connection_for_read() as connection, connection.channel() as channel:
        while (message := channel.basic_get(queue.value)) is not None:
            found.append(message.properties["correlation_id"])
            channel.basic_ack(message.delivery_tag)
    return found


@pytest.fixture(autouse=True)
def _empty(clean_redis: redis.Redis) -> None:
    """No message of another test."""


def test_a_worker_gets_the_lowest_number_first_and_else_the_oldest() -> None:
    tenant = uuid4()
    sent = [(priority, uuid4()) for priority in (9, 5, 0, 6, 4, 9, 2)]
    assert publish(
        Message("evaluate_episode", "evaluation", tenant, job, priority) for priority, job in sent
    )
    ranks = {job: max(s for s in broker.PRIORITY_STEPS if s <= priority) for priority, job in sent}
    expected = [str(job) for _, job in sorted(sent, key=lambda one: ranks[one[1]])]
    assert taken(Queue.EVALUATION) == expected


@pytest.mark.parametrize("priority", range(10))
def test_a_message_of_any_priority_is_counted(priority: int) -> None:
    assert publish([Message("roll_up", "costs", uuid4(), uuid4(), priority)])
    lengths = queue_lengths()
    assert lengths.pop(Queue.COSTS) == 1
    assert set(lengths.values()) == {0}


def test_the_lists_are_named_as_the_transport_names_them() -> None:
    with celery_app().connection_for_read() as connection, connection.channel() as channel:
        assert isinstance(channel, Channel)
        named = {channel._q_for_pri("drift", priority) for priority in range(10)}
    assert named == set(lists_of(Queue.DRIFT))
