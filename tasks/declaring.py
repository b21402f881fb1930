"""How a contract becomes a Celery task."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from celery import Task, shared_task
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from shared.broker import task_name
from shared.jobs.contracts import Contract, JobMessage, one_line
from shared.jobs.execution import Work, execute, in_transaction

log = logging.getLogger(__name__)

JobT = TypeVar("JobT", bound=Contract)


def job_task(contract: type[JobT], work: Callable[[Task], Work[JobT]]) -> Task:
    """The Celery task of a contract; `work` is given the bound task."""

    @shared_task(name=task_name(contract.kind()), bind=True, shared=True)
    def run(self: Task, **message: Any) -> str:
        try:
            parsed = JobMessage.model_validate(message)
        except ValidationError as error:
            log.error("dropped a malformed message for %s: %s", self.name, one_line(error))
            return "malformed"
        try:
            return execute(parsed, work(self), worker=self.request.hostname or socket.gethostname())
        except DBAPIError as error:
            # The row is untouched or its lease runs out: the sweeper sends the job again.
            log.error("job %s left to the sweeper: %s", parsed.job_id, type(error.orig).__name__)
            return "database away"

    return run


def transactional_task(
    contract: type[JobT], step: Callable[[Session, JobT], Mapping[str, Any]]
) -> Task:
    """The Celery task of a contract whose work is one database transaction."""
    return job_task(contract, lambda _: in_transaction(step))
