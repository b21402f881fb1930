"""`GET /healthz`: this process lives. `GET /readyz`: so does what it stands on. Without a key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import sqlalchemy as sa
from fastapi import APIRouter, Request
from redis import RedisError

from shared.database import system_session
from shared.local.errors import ServiceError
from shared.redis_client import redis_client
from web.problems import DATABASE_SECONDS, Problem

READY_SECONDS: Final = 3.0
FRESH_SECONDS: Final = 1.0
"Anybody may ask, but not more often than this makes PostgreSQL work."

router: Final = APIRouter()


@router.get("/healthz", summary="Whether this process lives")
async def healthy() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz", summary="Whether PostgreSQL and Redis can be reached")
async def ready(request: Request) -> dict[str, str]:
    found = await request.app.state.readiness.found()
    away = [name for name, there in found.items() if not there]
    if away:
        raise Problem(
            503,
            "not_ready",
            f"cannot be reached: {', '.join(away)}",
            DATABASE_SECONDS,
            more={"services": {name: "ok" if there else "away" for name, there in found.items()}},
        )
    return dict.fromkeys(found, "ok")


class Readiness:
    """What was found of the services last; one looks at a time, all others share what it finds."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._found: dict[str, bool] = {}
        self._at = float("-inf")

    async def found(self) -> dict[str, bool]:
        """By service, whether it answered."""
        async with self._lock:
            if time.monotonic() - self._at > FRESH_SECONDS:
                looks = {"PostgreSQL": _postgresql, "Redis": _redis}
                answers = await asyncio.gather(*map(_answers, looks.values()))
                self._found = dict(zip(looks, answers, strict=True))
                self._at = time.monotonic()
            return self._found


async def _answers(look: Callable[[], object]) -> bool:
    try:
        async with asyncio.timeout(READY_SECONDS):
            await asyncio.to_thread(look)
    except (sa.exc.SQLAlchemyError, RedisError, ServiceError, TimeoutError, OSError):
        return False
    return True


def _postgresql() -> None:
    with system_session() as session:
        session.execute(sa.text("SELECT 1"))


def _redis() -> None:
    redis_client().ping()
