"""The Redis connections, and every key name the product uses."""

from __future__ import annotations

import os
from uuid import UUID

import redis

from shared.local import discovery

_clients: dict[tuple[int, str], redis.Redis] = {}


def redis_client() -> redis.Redis:
    """The client of this process; its pool reconnects by itself."""
    url = discovery.redis_url()
    key = (os.getpid(), url)
    if key not in _clients:
        _clients[key] = redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_connect_timeout=3,
            socket_timeout=5,
            health_check_interval=30,
        )
    return _clients[key]


def ab_tables_prefix(tenant_id: UUID, environment: str) -> str:
    """What the keys of all tables of an environment begin with, and no other key."""
    return f"mlops:ab:{{{tenant_id}}}:{environment}:"


def ab_table_key(tenant_id: UUID, environment: str, name: str) -> str:
    """The slot table of one A/B test."""
    return ab_tables_prefix(tenant_id, environment) + name


def ab_index_key(tenant_id: UUID, environment: str) -> str:
    """The versions of all tables of an environment, by the name of the test."""
    return f"mlops:ab-index:{{{tenant_id}}}:{environment}"


def ab_kept_key(tenant_id: UUID, digest: str) -> str:
    """The units that keep a variant, as the table asks for them that has this digest."""
    return f"mlops:ab-kept:{{{tenant_id}}}:{digest}"


def endpoint_places_key(endpoint: str) -> str:
    """Who holds a place at a model endpoint: holders, scored by when their leases run out."""
    return f"mlops:endpoint:{{{endpoint}}}:places"


def endpoint_rate_key(endpoint: str) -> str:
    """The token bucket of a model endpoint's calls in a minute."""
    return f"mlops:endpoint:{{{endpoint}}}:rate"


def budget_sums_key(tenant_id: UUID, budget: str) -> str:
    """What a hard stop counts in one period: spent, reserved, and each reservation's amount."""
    return f"mlops:budget:{{{tenant_id}}}:{budget}:sums"


def budget_leases_key(tenant_id: UUID, budget: str) -> str:
    """The reservations of the same, scored by when their leases run out."""
    return f"mlops:budget:{{{tenant_id}}}:{budget}:leases"
