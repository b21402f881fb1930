"""One job from claim to end: what every worker does around the work itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import Session
from tenacity import before_sleep_log, retry, retry_if_exception_type, stop_after_delay
from tenacity.wait import wait_exponential

from shared.database import TenantId, tenant_session
from shared.jobs import claims
from shared.jobs.claims import Claim
from shared.jobs.contracts import Contract, JobMessage, parse
from shared.jobs.errors import InvalidJobError, JobError, LeaseLostError
from shared.jobs.leases import Lease, kept
from shared.settings import settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Succeeded:
    result: Mapping[str, Any]


@dataclass(frozen=True)
class Failed:
    """Done, and of no use: what was recorded stays, the job is failed with the reason."""

    error: str
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TryAgain:
    """Not the job's fault: queued again until its attempts are used up."""

    error: str


@dataclass(frozen=True)
class Cancelled:
    result: Mapping[str, Any] | None = None


Ending = Succeeded | Failed | TryAgain | Cancelled
Record = Callable[[Session], Ending]
JobT = TypeVar("JobT", bound=Contract)
Work = Callable[[JobT, Lease], Record]

ERROR_LENGTH = 2_000

_outlives_a_restart = retry(
    retry=retry_if_exception_type((OperationalError, InterfaceError)),
    stop=stop_after_delay(30),
    wait=wait_exponential(multiplier=0.2, max=3),
    before_sleep=before_sleep_log(log, logging.WARNING),
    reraise=True,
)

_claim = _outlives_a_restart(claims.claim)


def execute(message: JobMessage, work: Work[JobT], *, worker: str) -> str:
    """Claim the job of a message, do it, and end it; return what came of it in one word.

    `work` runs outside of any transaction, with the lease kept alive. It returns the function that
    records the outcome; that runs in one transaction with the end of the job, fenced on the
    attempt, so a result is written once or not at all.
    """
    tenant_id, lease_seconds = TenantId(message.tenant_id), settings().lease_seconds
    claim = _claim(tenant_id, message.job_id, worker=worker, lease_seconds=lease_seconds)
    if claim is None:
        return "not ours"
    try:
        job = parse(claim.kind, claim.payload)
        with kept(claim, lease_seconds) as lease:
            record = work(job, lease)  # type: ignore[arg-type]
            if lease.lost():
                raise LeaseLostError(f"job {claim.job_id} was taken over while it was worked on")
            ending = _record(claim, record)
    except LeaseLostError as error:
        log.warning("%s: nothing was written", error)
        return "lost"
    except InvalidJobError as error:
        ending = _record(claim, _after(error))
    except Exception as error:
        log.warning(
            "job %s (%s) attempt %d", claim.job_id, claim.kind, claim.attempt, exc_info=True
        )
        ending = _record(claim, _after(error))
    return type(ending).__name__.lower()


def in_transaction(step: Callable[[Session, JobT], Mapping[str, Any]]) -> Work[JobT]:
    """Work that is one database transaction: `step` runs in the one that ends the job."""

    def work(job: JobT, lease: Lease) -> Record:
        return lambda session: Succeeded(step(session, job))

    return work


def _after(error: Exception) -> Record:
    reason = one_line(error)
    # A mistake in the job itself will not go away by trying again.
    final = isinstance(error, JobError | ValueError | LookupError)
    return lambda _: Failed(reason) if final else TryAgain(reason)


def one_line(error: BaseException) -> str:
    """The error for a person: its first line, and never a statement with its parameters."""
    if isinstance(error, DBAPIError):
        error = error.orig or error
    lines = str(error).strip().splitlines() or [""]
    name = "" if isinstance(error, JobError | ValueError) else f"{type(error).__name__}: "
    return (name + lines[0])[:ERROR_LENGTH]


@_outlives_a_restart
def _record(claim: Claim, record: Record) -> Ending:
    with tenant_session(claim.tenant_id) as session:
        claims.hold(session, claim)
        ending = record(session)
        match ending:
            case Succeeded(result):
                claims.succeed(session, claim, result)
            case Failed(error, result):
                claims.fail(session, claim, error, result)
            case TryAgain(error):
                claims.give_back(session, claim, error)
            case Cancelled(result):
                claims.end_cancelled(session, claim, result)
    return ending
