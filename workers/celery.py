"""The Celery application: `celery -A workers worker -Q <queue>`."""

from __future__ import annotations

import logging.config
from typing import Any

from celery.signals import celeryd_after_setup, setup_logging, worker_shutdown

from shared.broker import celery_app
from shared.jobs.contracts import Queue
from shared.local.errors import ServiceError
from shared.settings import SettingsError, settings
from workers.heartbeat import with_heartbeat

try:
    app = celery_app()
except (ServiceError, SettingsError) as error:
    # A worker that does not know where its services are says so, and not where in the code.
    raise SystemExit(f"mlops: {error}") from None
app.conf.imports = [
    "tasks.control",
    "tasks.evaluation",
    "tasks.ingest",
    "tasks.costs",
    "tasks.drift",
    "tasks.cards",
]
with_heartbeat(app)


@celeryd_after_setup.connect
def _with_browsers(instance: Any, **_: object) -> None:
    """A worker of the queue `evaluation` has a browser; the others need not even import it."""
    if Queue.EVALUATION not in instance.app.amqp.queues.consume_from:
        return
    from workers.browser import BrowserRuntime

    # Nothing is launched by this: the first episode of the process starts the browser.
    app.browsers = BrowserRuntime(
        contexts=settings().episodes_per_worker,
        recycle_after=settings().episodes_per_browser,
        executable=settings().chromium,
    )


@worker_shutdown.connect
def _close_browsers(**_: object) -> None:
    if hasattr(app, "browsers"):
        app.browsers.close()


@setup_logging.connect
def _log_lines(loglevel: int | str | None = None, **_: object) -> None:
    """One line per record, and no task arguments in it."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "line": {"format": "%(asctime)s %(levelname)s %(processName)s %(name)s %(message)s"}
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            "root": {"handlers": ["stderr"], "level": loglevel or "INFO"},
            "loggers": {
                "celery.app.trace": {"level": "WARNING"},
                "celery.worker.strategy": {"level": "WARNING"},
                "httpx": {"level": "WARNING"},
                "httpx2": {"level": "WARNING"},
                "openai": {"level": "WARNING"},
            },
        }
    )
