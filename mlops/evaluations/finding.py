"""Runs and episodes by their identifier or the beginning of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from mlops.console import Exit, complain

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_UUID_DIGITS = 32
_NEWEST = 5


def find_run(session: Session, identifier: str) -> UUID:
    """The run that is meant; ends the command when there is none, or more than one."""
    return _one(session, identifier, _runs(session, identifier), "run")


def find_run_or_episode(session: Session, identifier: str) -> tuple[UUID | None, UUID | None]:
    """The run or the episode that is meant, the other one None; ends the command as `find_run`."""
    runs, episodes = _runs(session, identifier), _episodes(session, identifier)
    found = _one(session, identifier, [*runs, *episodes], "run or episode")
    return (found, None) if runs else (None, found)


def _runs(session: Session, identifier: str) -> Sequence[UUID]:
    from shared.evaluation.tables import BenchmarkRun

    return _starting(session, BenchmarkRun.id, identifier)


def _episodes(session: Session, identifier: str) -> Sequence[UUID]:
    from shared.evaluation.tables import Episode

    return _starting(session, Episode.id, identifier)


def _starting(session: Session, column, identifier: str) -> Sequence[UUID]:  # type: ignore[no-untyped-def]
    import sqlalchemy as sa

    digits = identifier.strip().lower().replace("-", "")
    if not 1 <= len(digits) <= _UUID_DIGITS or not set(digits) <= set("0123456789abcdef"):
        return []
    first, last = (UUID(digits.ljust(_UUID_DIGITS, end)) for end in "0f")
    return session.scalars(sa.select(column).where(column.between(first, last)).limit(2)).all()


def _one(session: Session, identifier: str, found: Sequence[UUID], what: str) -> UUID:
    if len(found) > 1:
        raise complain(
            f"more than one {what} starts with {identifier[:100]!r}: give more of it",
            Exit.NOT_FOUND,
        )
    if not found:
        raise complain(
            f"no {what} {identifier[:100]!r}; the newest runs: {_newest(session)}", Exit.NOT_FOUND
        )
    return found[0]


def _newest(session: Session) -> str:
    import sqlalchemy as sa

    from shared.evaluation.tables import BenchmarkRun

    newest = session.scalars(
        sa.select(BenchmarkRun.id).order_by(BenchmarkRun.created_at.desc()).limit(_NEWEST)
    )
    return ", ".join(str(run)[:8] for run in newest) or "there is none yet"
