"""The Celery application: `celery -A workers worker -Q <queue>`."""

from __future__ import annotations

import logging.config

from celery.signals import setup_logging

from shared.broker import celery_app

app = celery_app()
app.conf.imports = [
    "tasks.control",
    "tasks.evaluation",
    "tasks.ingest",
    "tasks.costs",
    "tasks.drift",
    "tasks.cards",
    "workers.browser",
]


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
