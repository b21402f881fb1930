"""What a current window is compared with, for each function and model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.drift.quantities import minute, period
from shared.drift.tables import DriftBaseline, DriftDetection, DriftSubject, SweepKind
from shared.hours import HOUR, hour_of, whole_hour_from
from shared.telemetry.events import NAME_BYTES
from shared.telemetry.features.tables import FeatureValueRow
from shared.telemetry.reading import DAY, Window
from shared.telemetry.tables import ModelPerformance
from shared.tenancy.tenants import audit

DEFAULT_LENGTH: Final = timedelta(days=7)
"Of the baseline where none was set: the week before the current window."

LONGEST: Final = timedelta(days=366)

JUDGED_AFTER: Final = timedelta(hours=6)
"So much has to come after a window that was accepted before anything is compared with it."

EVERY: Final = ""
"The function or model of a baseline that is of every one without a baseline of its own."


class BaselineError(ValueError):
    """A baseline that cannot be; the message is one line."""


class BaselineKind(StrEnum):
    PREVIOUS = "previous"
    "So many hours right before the current window: finds what is sudden, forgets what is slow."
    FIXED = "fixed"
    "The same hours for ever: finds what is slow, and what was never normal."
    ACCEPTED = "accepted"
    "A window that somebody has looked at and called normal; until the next one is accepted."


class ComparedWindows(NamedTuple):
    """Both windows, and why they are not to be compared yet."""

    baseline: Window
    current: Window
    problem: str | None = None


@dataclass(frozen=True)
class Baseline:
    """`length` of a previous window, `window` of the others. Raises `BaselineError`."""

    kind: BaselineKind
    length: timedelta | None = None
    window: Window | None = None
    model: str | None = None
    "Whose window it is; None for that of the model that is looked at. A new version has no past."

    def __post_init__(self) -> None:
        if self.kind is BaselineKind.PREVIOUS:
            if self.length is None or self.window is not None:
                raise BaselineError("a previous baseline has a length, and no window")
            whole = self.length % HOUR == timedelta(0)
            if not whole or not HOUR <= self.length <= LONGEST:
                raise BaselineError(
                    f"a baseline of {self.length}; expected whole hours, from 1 hour to"
                    f" {LONGEST.days} days"
                )
        elif self.window is None or self.length is not None:
            raise BaselineError(f"a baseline of the kind {self.kind} has a window, and no length")
        elif any(at.astimezone(UTC).strftime("%M%S%f").strip("0") for at in _ends(self.window)):
            raise BaselineError("a baseline that is not of whole hours")

    def before(self, current: Window) -> Window:
        """The baseline of a current window."""
        if self.length is not None:
            return Window(current.start - self.length, current.start)
        assert self.window is not None
        return self.window

    @property
    def judged_from(self) -> datetime | None:
        """The end of the first window that is compared with one that was accepted, else None."""
        if self.kind is not BaselineKind.ACCEPTED or self.window is None:
            return None
        return self.window.end + JUDGED_AFTER

    def windows(self, current: Window) -> ComparedWindows:
        """Which windows are compared where the current one is `current`.

        What was accepted is not compared with itself: of a current window that begins before its
        end what came since is compared, once that is long enough, with the same hours of the days
        before where these were accepted too, so that a night is not compared with a day.
        """
        baseline = self.before(current)
        judged_from = self.judged_from
        if judged_from is None or current.start >= baseline.end or current.end <= baseline.start:
            return ComparedWindows(baseline, current)
        if current.end < judged_from:
            told = (
                f"accepted as normal up to {minute(baseline.end.astimezone(UTC))} UTC: judged again"
                f" from {minute(judged_from.astimezone(UTC))} UTC on"
            )
            return ComparedWindows(baseline, current, told)
        since = Window(baseline.end, current.end)
        length = since.end - since.start
        days = -(-length // DAY) * DAY
        if since.start - days >= baseline.start:
            baseline = Window(since.start - days, since.start - days + length)
        return ComparedWindows(baseline, since)


DEFAULT: Final = Baseline(BaselineKind.PREVIOUS, DEFAULT_LENGTH)


@dataclass(frozen=True)
class SetBaseline:
    """A baseline as it was set, of one function and model, or of `EVERY`."""

    function: str
    model: str
    baseline: Baseline
    changed_at: datetime


def set_baseline(session: Session, function: str, model: str, baseline: Baseline) -> None:
    """From the next sweep on; in place of the one that was set for the same function and model.

    Leaves an audit row. Raises `BaselineError` for a window that has not ended, is longer than
    `LONGEST`, or is a fixed one in which there is no data, and for a name that no function or model
    can have.
    """
    for name in (function, model, baseline.model or ""):
        if len(name.encode()) > NAME_BYTES or len(name) > 200 or min(name, default=" ") < " ":
            raise BaselineError(
                f"{name[:60]!r}: expected a name of 1 to 200 characters, none of them a control"
                " character"
            )
    if baseline.window is not None:
        now = session.execute(sa.select(sa.func.now())).scalar_one()
        if baseline.window.end > now:
            raise BaselineError(
                f"the baseline ends at {baseline.window.end:%Y-%m-%d %H:%M}, which is still to"
                " come; expected a window that is over"
            )
        if baseline.window.end - baseline.window.start > LONGEST:
            raise BaselineError(
                f"a baseline of {baseline.window.end - baseline.window.start}; expected at most"
                f" {LONGEST.days} days"
            )
        if baseline.kind is BaselineKind.FIXED:
            _require_data(session, function, baseline.model or model, baseline.window)
    values = {
        "kind": baseline.kind.value,
        "hours": None if baseline.length is None else baseline.length // HOUR,
        "starts_at": None if baseline.window is None else baseline.window.start,
        "ends_at": None if baseline.window is None else baseline.window.end,
        "baseline_model": baseline.model,
        "changed_at": sa.func.now(),
    }
    session.execute(
        insert(DriftBaseline)
        .values(tenant_id=tenant_of(session), function=function, model=model, **values)
        .on_conflict_do_update(index_elements=["tenant_id", "function", "model"], set_=values)
    )
    audit(session, "drift.baseline.set", subject(function, model), {"baseline": said(baseline)})


def _require_data(session: Session, function: str, model: str, window: Window) -> None:
    """Raise `BaselineError` where nothing was summed up: nothing would ever be compared with it."""
    table = ModelPerformance
    of = [
        column == name
        for column, name in ((table.function, function), (table.model, model))
        if name != EVERY
    ]
    within = (table.hour >= window.start, table.hour < window.end)
    if session.scalar(sa.select(sa.exists().where(*of, *within))):
        return
    at = FeatureValueRow.event_time
    stored = sa.exists().where(at >= window.start, at < window.end)
    if not of and session.scalar(sa.select(stored)):
        # The feature store has the baseline of everything.
        return
    ends = sa.select(sa.func.min(table.hour), sa.func.max(table.hour)).where(*of)
    first, last = session.execute(ends).one()
    there_is = (
        "there is none at all"
        if first is None
        else f"there is from {period(first.astimezone(UTC), last.astimezone(UTC) + HOUR)} UTC"
    )
    raise BaselineError(
        f"no data of {subject(function, model)} from"
        f" {period(*(end.astimezone(UTC) for end in _ends(window)))} UTC; {there_is}"
    )


def remove_baseline(session: Session, function: str, model: str) -> bool:
    """Back to what holds for every function and model; False if none was set. Leaves an audit row.

    `model` and `function` name the baseline itself, `EVERY` the one of every function or model.
    """
    removed = session.scalars(
        sa.delete(DriftBaseline)
        .where(DriftBaseline.function == function, DriftBaseline.model == model)
        .returning(DriftBaseline.kind)
    ).all()
    if removed:
        audit(session, "drift.baseline.remove", subject(function, model))
    return bool(removed)


def accept(session: Session, function: str, model: str, since: datetime | None = None) -> Baseline:
    """Call normal what the newest sweep of a function saw; that window is the baseline from now on.

    The newest of the timetable where there is one. Where it saw several functions or models, the
    longest of their windows, without those that have a more particular baseline. `since` leaves
    out what was before it: the hour at which something changed that is normal now. Raises
    `BaselineError` where no sweep has looked at it, and for a `since` that is outside of the
    window.
    """
    start, end = _ends(_newest_window(session, function, model))
    now = session.execute(sa.select(sa.func.now())).scalar_one()
    # The hour that is not over is in the window of a sweep that was asked for by hand.
    end = min(end, hour_of(now))
    if end <= start:
        raise BaselineError("the newest sweep saw no hour that is over; expected one at least")
    if since is not None:
        since = whole_hour_from(since)
        if not start <= since < end:
            raise BaselineError(
                f"{minute(since.astimezone(UTC))} UTC is not within what the newest sweep saw;"
                f" expected {period(start.astimezone(UTC), end.astimezone(UTC))} UTC"
            )
        start = since
    accepted = Baseline(BaselineKind.ACCEPTED, window=Window(start, end))
    set_baseline(session, function, model, accepted)
    return accepted


def _newest_window(session: Session, function: str, model: str) -> Window:
    """The longest that the newest sweep saw of those whom a baseline of these would be of."""
    of_subject = sa.and_(
        DriftDetection.sweep_id == DriftSubject.sweep_id,
        DriftDetection.function == DriftSubject.function,
        DriftDetection.model == DriftSubject.model,
    )
    query = (
        sa.select(DriftSubject)
        .where(sa.exists().where(of_subject))
        .order_by((DriftSubject.kind == SweepKind.TIMETABLE).desc(), DriftSubject.swept_at.desc())
    )
    if function != EVERY:
        query = query.where(DriftSubject.function == function)
    if model != EVERY:
        query = query.where(DriftSubject.model == model)
    found = session.scalars(query).all()
    if not found:
        raise BaselineError(
            f"no sweep has looked at {subject(function, model)} yet: `mlops drift run` makes one"
        )
    known = {(one.function, one.model) for one in baselines(session)} | {(function, model)}
    of_it = [
        one
        for one in found
        if next(scope for scope in _scopes(one.function, one.model) if scope in known)
        == (function, model)
    ]
    if not of_it:
        raise BaselineError(
            f"nothing that a sweep has looked at of {subject(function, model)} goes by this"
            " baseline: all have one of their own, as `mlops drift baseline list` shows"
        )
    names = {(one.function, one.model) for one in of_it if one.sweep_id == of_it[0].sweep_id}
    windows = (
        sa.select(DriftDetection.function, DriftDetection.model, DriftDetection.current)
        .ext(distinct_on(DriftDetection.function, DriftDetection.model))
        .where(DriftDetection.sweep_id == of_it[0].sweep_id)
    )
    seen = [
        Window(*(datetime.fromisoformat(current[at]) for at in ("start", "end")))
        for of_function, of_model, current in session.execute(windows)
        if (of_function, of_model) in names
    ]
    return max(seen, key=lambda window: (window.end - window.start, window.end))


def baselines(session: Session) -> tuple[SetBaseline, ...]:
    """All that were set, by function and model."""
    rows = session.scalars(
        sa.select(DriftBaseline).order_by(DriftBaseline.function, DriftBaseline.model)
    )
    return tuple(SetBaseline(r.function, r.model, _of(r), r.changed_at) for r in rows)


def baseline_of(found: Sequence[SetBaseline], function: str, model: str) -> Baseline:
    """The one that holds for a function and model: the most particular, else the week before.

    One of the function comes before one of the model.
    """
    by_subject = {(one.function, one.model): one.baseline for one in found}
    for scope in _scopes(function, model):
        if scope in by_subject:
            return by_subject[scope]
    return DEFAULT


def _scopes(function: str, model: str) -> tuple[tuple[str, str], ...]:
    """Of whom a baseline may be that holds for these, the most particular first."""
    return (function, model), (function, EVERY), (EVERY, model), (EVERY, EVERY)


def was_accepted(
    found: Sequence[SetBaseline], function: str, model: str, current_start: datetime
) -> bool:
    """Whether what was seen in a window that begins so was called normal, and is not news.

    A window that is compared with what was accepted begins after that.
    """
    normal = baseline_of(found, function, model)
    return (
        normal.kind is BaselineKind.ACCEPTED
        and normal.window is not None
        and current_start < normal.window.end
    )


def said(baseline: Baseline) -> str:
    """In words, of which kind, when, and whose."""
    whose = "" if baseline.model is None else f" of {baseline.model}"
    if baseline.length is not None:
        hours = baseline.length // HOUR
        length = f"{hours // 24} d" if hours % 24 == 0 else f"{hours} h"
        return f"the {length} before{whose}"
    assert baseline.window is not None
    start, end = (at.astimezone(UTC) for at in _ends(baseline.window))
    return f"{baseline.kind} {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}{whose}"


def _ends(window: Window) -> tuple[datetime, datetime]:
    return window.start, window.end


def _of(row: DriftBaseline) -> Baseline:
    if row.hours is not None:
        return Baseline(
            BaselineKind(row.kind), timedelta(hours=row.hours), model=row.baseline_model
        )
    assert row.starts_at is not None
    assert row.ends_at is not None
    window = Window(row.starts_at, row.ends_at)
    return Baseline(BaselineKind(row.kind), window=window, model=row.baseline_model)


def subject(function: str, model: str) -> str:
    """In words, of what a baseline is."""
    return f"{function or 'every function'}, {model or 'every model'}"
