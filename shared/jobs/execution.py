"""One job from claim to end: what every worker does around the work itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import Session
from tenacity import RetryCallState, retry, retry_if_exception_type, stop_after_delay
from tenacity.wait import wait_exponential

from shared.database import TenantId, tenant_session
from shared.jobs import claims
from shared.jobs.claims import Claim
from shared.jobs.contracts import Contract, JobMessage, parse
from shared.jobs.errors import JobError, LeaseLostError
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


def _say_why(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("trying again: %s", one_line(error) if error else "no answer")


outlives_a_restart = retry(
    retry=retry_if_exception_type((OperationalError, InterfaceError)),
    stop=stop_after_delay(30),
    wait=wait_exponential(multiplier=0.2, max=3),
    before_sleep=_say_why,
    reraise=True,
)

_claim = outlives_a_restart(claims.claim)


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
        return type(_worked(claim, work, lease_seconds)).__name__.lower()
    except LeaseLostError as error:
        log.warning("%s: nothing was written", error)
        return "lost"


def _worked(claim: Claim, work: Work[JobT], lease_seconds: float) -> Ending:
    """Do the work and record it; whatever becomes of it, the row says so."""
    try:
        job = parse(claim.kind, claim.payload)
        with kept(claim, lease_seconds) as lease:
            return _record(claim, work(job, lease))  # type: ignore[arg-type]
    except LeaseLostError:
        raise
    except Exception as error:  # noqa: BLE001 (it is told in the row)
        return _record(claim, _after(claim, error))


def in_transaction(step: Callable[[Session, JobT], Mapping[str, Any]]) -> Work[JobT]:
    """Work that is one database transaction: `step` runs in the one that ends the job."""

    def work(job: JobT, lease: Lease) -> Record:
        if lease.cancelled():
            return lambda _: Cancelled()
        return lambda session: Succeeded(step(session, job))

    return work


def _after(claim: Claim, error: Exception) -> Record:
    reason = one_line(error)
    # A mistake in the job itself will not go away by trying again. Only a bare LookupError is one:
    # a KeyError is ours.
    final = isinstance(error, JobError | ValueError) or type(error) is LookupError
    if final or isinstance(error, DBAPIError):
        log.warning("job %s (%s): %s", claim.job_id, claim.kind, reason)
    else:
        log.warning("job %s (%s)", claim.job_id, claim.kind, exc_info=True)
    return lambda _: Failed(reason) if final else TryAgain(reason)


def one_line(error: BaseException) -> str:
    """The error for a person: its first line. A statement's values are never in it."""
    if isinstance(error, DBAPIError):
        return _database_error(error)
    lines = str(error).strip().splitlines() or [""]
    name = "" if isinstance(error, JobError | ValueError) else f"{type(error).__name__}: "
    return (name + lines[0])[:ERROR_LENGTH]


def _database_error(error: DBAPIError) -> str:
    """PostgreSQL quotes the offending value in many of its messages, so only its code is told."""
    original = error.orig
    if isinstance(error, OperationalError | InterfaceError) or original is None:
        lines = str(original or type(error).__name__).strip().splitlines() or [""]
        return f"the database: {lines[0]}"[:ERROR_LENGTH]
    diagnostics = getattr(original, "diag", None)
    constraint = getattr(diagnostics, "constraint_name", None)
    return (
        f"the database refused: {type(original).__name__}"
        f" (SQLSTATE {getattr(original, 'sqlstate', None)})"
        + (f", constraint {constraint}" if constraint else "")
    )


@outlives_a_restart
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
