"""Which hours are compared with which, for each function and model of a sweep."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.drift.baselines import DEFAULT, Baseline, SetBaseline, baseline_of, baselines
from shared.drift.own_variation import LEAST_PIECES
from shared.drift.quantities import minute
from shared.drift.wording import FEATURE_STORE
from shared.hours import HOUR, next_hour, whole_hour_from
from shared.jobs.contracts import DetectDrift, LastRequests, WindowOf
from shared.jobs.errors import InvalidJobError
from shared.registry.models import key, resolve
from shared.telemetry.metrics import Metric, OfOutcome
from shared.telemetry.pieces import NO_PIECES, Pieces, in_pieces
from shared.telemetry.reading import DAY, Seen, Window, by_function_and_model
from shared.telemetry.seen import NeverSeenError, require_seen
from shared.telemetry.tables import ModelPerformance

LONGEST_LOOK_BACK: Final = timedelta(days=35)
"For windows that are counted in requests."


@dataclass(frozen=True, order=True)
class Subject:
    """What is compared with itself: a function as one model serves it."""

    function: str
    model: str

    def __str__(self) -> str:
        return f"{self.model} in {self.function}" if self.model else FEATURE_STORE


@dataclass(frozen=True)
class Windows:
    """Both windows of a subject, and why they cannot be told apart or are not there."""

    subject: Subject
    baseline: WindowOf
    current: WindowOf
    problem: str | None = None


@dataclass(frozen=True)
class LookedAt:
    """Both windows, and what was seen in each; None where there was nothing.

    `pieces` are those of the baseline, which say how much it differs from itself.
    """

    windows: Windows
    baseline: Seen | None
    current: Seen | None
    pieces: Pieces = NO_PIECES


def require_begun(current: WindowOf | LastRequests, now: datetime) -> None:
    """Raise `InvalidJobError` for a current window that ends after the hour that `now` is in.

    Its alerts would be news until then, and nothing that is found before would end them.
    """
    end = current.end if isinstance(current, WindowOf) else current.until
    if end > next_hour(now):
        raise InvalidJobError(
            f"the current window ends at {minute(end.astimezone(UTC))} UTC, which is still to come;"
            f" expected {minute(next_hour(now))} UTC at the latest, the end of the present hour"
        )


def piece_length(baseline: WindowOf, current: WindowOf) -> timedelta:
    """How long the pieces of a baseline are that say how much it differs from itself.

    A day where the current window is one or several; else as long as that is, so that the hours of
    the day weigh as much in a piece as in it, if the baseline has room for enough of them.
    """
    length, room = current.end - current.start, baseline.end - baseline.start
    whole_days = length % DAY == timedelta(0)
    return DAY if whole_days or (length > DAY and length * LEAST_PIECES > room) else length


def look(
    session: Session, job: DetectDrift, histograms: Sequence[Metric | OfOutcome]
) -> list[LookedAt]:
    """Both windows of every function and model that has rows in either, in their order.

    Where a window names no function each function is compared with itself, and where the baseline
    names one, with that one; models likewise. A function that has no rows in a baseline that was
    set, but has in the week before, is looked at too: it has gone quiet. Raises `RegistryError` for
    a model of the job that has no rows and is not registered.
    """

    if job.baseline is not None and job.baseline.model is not None:
        named = known_model(session, job.baseline.model)
        before = job.baseline.model_copy(update={"model": named})
        job = job.model_copy(update={"baseline": before})
    held = _Held(session, histograms)
    if isinstance(job.current, LastRequests):
        windows = _by_requests(session, job, job.current)
    else:
        windows = _by_time(session, job, job.current, held)
    wanted = _models(session, job.models, {each.subject.model for each in windows})
    chosen = [
        each
        for each in sorted(windows, key=lambda each: each.subject)
        if wanted is None or each.subject.model in wanted
    ]
    held.expect(chosen)
    return [held.looked_at(each) for each in chosen]


def look_at(
    session: Session, windows: Sequence[Windows], histograms: Sequence[Metric | OfOutcome]
) -> list[LookedAt]:
    """What was seen in windows of certain subjects, in their order; nobody else's are read."""
    held = _Held(session, histograms)
    held.expect_no_more_than(windows)
    return [held.looked_at(each) for each in windows]


Read = tuple[datetime, datetime, timedelta | None]
"A window, and the length of its pieces, if those are read."


class _Held:
    """What was seen in windows, each read once.

    A window of few is read of them alone: where each has its own, as windows by requests and
    accepted ones are, all of everybody would be read for each.
    """

    def __init__(self, session: Session, histograms: Sequence[Metric | OfOutcome]) -> None:
        self._wanted: dict[Read, set[tuple[str, str]]] = {}
        self._few: float = 0

        @cache
        def seen(start: datetime, end: datetime) -> Mapping[Subject, Seen]:
            only = self._only((start, end, None))
            found = by_function_and_model(session, Window(start, end), histograms, only)
            return {Subject(function, model): seen for (function, model), seen in found.items()}

        @cache
        def pieces(
            start: datetime, end: datetime, length: timedelta
        ) -> Mapping[Subject, tuple[Seen, Pieces]]:
            only = self._only((start, end, length))
            found = in_pieces(session, Window(start, end), histograms, length, only)
            return {Subject(function, model): seen for (function, model), seen in found.items()}

        self._seen, self._pieces = seen, pieces

    def expect(self, windows: Sequence[Windows]) -> None:
        """Say for whom windows that were not read yet will be asked."""
        self._few = len(windows) // 2
        for each in windows:
            before, now, model = each.baseline, each.current, each.subject.model
            length = piece_length(before, now)
            for read, subject in (
                (
                    (before.start, before.end, length),
                    (before.function or "", before.model or model),
                ),
                ((now.start, now.end, None), (now.function or "", model)),
            ):
                self._wanted.setdefault(read, set()).add(subject)

    def expect_no_more_than(self, windows: Sequence[Windows]) -> None:
        """Say that nobody else will be asked for, however many these are."""
        self.expect(windows)
        self._few = math.inf

    def _only(self, read: Read) -> list[tuple[str, str]] | None:
        wanted = self._wanted.get(read)
        return sorted(wanted) if wanted is not None and len(wanted) < self._few else None

    def current(self, window: WindowOf) -> Mapping[Subject, Seen]:
        return self._seen(window.start, window.end)

    def baseline(
        self, window: WindowOf, current: WindowOf
    ) -> Mapping[Subject, tuple[Seen, Pieces]]:
        return self._pieces(window.start, window.end, piece_length(window, current))

    def looked_at(self, windows: Windows) -> LookedAt:
        before, now, model = windows.baseline, windows.current, windows.subject.model
        seen, pieces = self.baseline(before, now).get(
            Subject(before.function or "", before.model or model), (None, NO_PIECES)
        )
        current = self.current(now).get(Subject(now.function or "", model))
        return LookedAt(windows, seen, current, pieces)


def _by_time(session: Session, job: DetectDrift, current: WindowOf, held: _Held) -> list[Windows]:
    subjects = {
        subject for subject in held.current(current) if current.function in (None, subject.function)
    }
    own = baselines(session) if job.baseline is None else ()
    before = job.baseline or _window_of(DEFAULT, Window(current.start, current.end), None)
    if before.model is None:
        # Of the window of another model nothing has gone quiet.
        subjects |= {
            Subject(current.function or subject.function, subject.model)
            for subject in held.baseline(before, current)
            if (before.function or current.function) in (None, subject.function)
        }
    # A model of the job without any rows is looked at too: it has no data.
    for model in _models(session, job.models, {subject.model for subject in subjects}) or ():
        if all(subject.model != model for subject in subjects):
            subjects.add(Subject(current.function or "", model))
    return [_compared(job, own, subject, current) for subject in subjects]


def _compared(
    job: DetectDrift, own: Sequence[SetBaseline], subject: Subject, current: WindowOf
) -> Windows:
    if job.baseline is None:
        return normal_windows(own, subject, Window(current.start, current.end))
    current = current.model_copy(update={"function": subject.function})
    function = job.baseline.function or subject.function
    baseline = job.baseline.model_copy(update={"function": function})
    if baseline.model == subject.model:
        baseline = baseline.model_copy(update={"model": None})
    return windows_of(subject, baseline, current)


def normal_windows(own: Sequence[SetBaseline], subject: Subject, current: Window) -> Windows:
    """A window of the subject, and what is normal for it by the baselines that were set."""
    chosen = baseline_of(own, subject.function, subject.model)
    found = chosen.windows(current)
    windows = windows_of(
        subject,
        WindowOf(
            start=found.baseline.start,
            end=found.baseline.end,
            function=subject.function,
            model=None if chosen.model == subject.model else chosen.model,
        ),
        WindowOf(start=found.current.start, end=found.current.end, function=subject.function),
    )
    return windows if found.problem is None else replace(windows, problem=found.problem)


def windows_of(subject: Subject, baseline: WindowOf, current: WindowOf) -> Windows:
    """Both windows of a subject, as they are."""
    return Windows(subject, baseline, current, problem_of(baseline, current))


def problem_of(baseline: WindowOf, current: WindowOf) -> str | None:
    """Why two windows cannot be compared, or None. What is in both would make them alike."""
    if (baseline.function, baseline.model) != (current.function, current.model):
        return None
    if baseline.start >= current.end:
        return "the baseline is later than the current window"
    return "the windows overlap" if baseline.end > current.start else None


def _window_of(baseline: Baseline, current: Window, function: str | None) -> WindowOf:
    found = baseline.before(current)
    return WindowOf(start=found.start, end=found.end, function=function, model=baseline.model)


def _by_requests(session: Session, job: DetectDrift, last: LastRequests) -> list[Windows]:
    """The newest hours that hold so many requests, and before them the baseline.

    Where none was set, the baseline is the hours before that hold as many.
    """
    own = baselines(session) if job.baseline is None else ()
    until = whole_hour_from(last.until)
    found = []
    for subject, hours in _requests_by_hour(session, until, last.function).items():
        start = _reached(hours, last.requests)
        first = min(hours)
        current = WindowOf(start=start or first, end=until, function=subject.function)
        chosen = baseline_of(own, subject.function, subject.model)
        if job.baseline is None and chosen is DEFAULT:
            earlier = {hour: n for hour, n in hours.items() if hour < current.start}
            begin = _reached(earlier, last.requests) or min(earlier, default=current.start - HOUR)
            baseline = WindowOf(start=begin, end=current.start, function=subject.function)
            windows = Windows(subject, baseline, current)
        else:
            windows = _compared(job, own, subject, current)
        if start is None:
            short = (
                f"{sum(hours.values())} requests in the last {LONGEST_LOOK_BACK.days} days;"
                f" expected {last.requests}"
            )
            windows = replace(windows, problem=short)
        found.append(windows)
    return found


def _requests_by_hour(
    session: Session, until: datetime, function: str | None
) -> dict[Subject, dict[datetime, int]]:
    table = ModelPerformance
    query = (
        sa.select(table.function, table.model, table.hour, sa.func.sum(table.llm_calls))
        .where(table.hour >= until - LONGEST_LOOK_BACK, table.hour < until)
        .group_by(table.function, table.model, table.hour)
    )
    if function is not None:
        query = query.where(table.function == function)
    found: defaultdict[Subject, dict[datetime, int]] = defaultdict(dict)
    for name, model, hour, requests in session.execute(query):
        found[Subject(name, model)][hour] = int(requests)
    return found


def _reached(hours: Mapping[datetime, int], requests: int) -> datetime | None:
    """The newest hour from which on there are so many; None if there are fewer."""
    held = 0
    for hour in sorted(hours, reverse=True):
        held += hours[hour]
        if held >= requests:
            return hour
    return None


def known_model(session: Session, name: str) -> str:
    """What telemetry calls a model: `name` if it has been reported so, else that of the registry.

    Raises `RegistryError` for one that neither has.
    """
    try:
        require_seen(session, "model", name)
    except NeverSeenError:
        return key(resolve(session, name))
    return name


def _models(
    session: Session, wanted: Sequence[str], present: Iterable[str]
) -> tuple[str, ...] | None:
    """The models asked for by their keys, or None for all."""
    if not wanted:
        return None
    known = set(present)
    return tuple(name if name in known else key(resolve(session, name)) for name in wanted)
