"""The application: its addresses, and what its requests share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from shared.settings import settings
from web import functions, health
from web.requests import Requests, raise_as_problem

_RECORD_SECONDS: Final = 5.0


def application() -> FastAPI:
    """A new application. `/openapi.json` describes it; there are no pages, whose scripts would
    come from elsewhere."""
    app = FastAPI(
        title="browser-mlops",
        version=_version(),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    app.include_router(functions.router)
    app.include_router(health.router)
    app.add_exception_handler(HTTPException, raise_as_problem)
    app.add_middleware(Requests)
    made = app.openapi

    def described() -> dict[str, Any]:
        document = made()
        schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["key"] = {"type": "http", "scheme": "bearer"}
        return document

    app.openapi = described  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    # As many as there are connections to PostgreSQL, which is what they wait for: a thread more
    # would only wait for one of those.
    threads = 2 * settings().database_pool_size
    executor = ThreadPoolExecutor(threads, thread_name_prefix="web")
    asyncio.get_running_loop().set_default_executor(executor)
    app.state.places = asyncio.Semaphore(settings().web_concurrency)
    app.state.readiness = health.Readiness()
    app.state.under_way = under_way = set[asyncio.Task[Any]]()
    yield
    if under_way:
        # The server has broken them off, and the loop that ends next would break off what they
        # still do, which is to record themselves.
        await asyncio.wait(under_way, timeout=_RECORD_SECONDS)


def _version() -> str:
    try:
        return version("browser-mlops")
    except PackageNotFoundError:
        # A container has the source and no installed package.
        return "unknown"
