"""`ExperimentTracker`: experiments, their runs, and what came of them.

from mlops import ExperimentTracker

tracker = ExperimentTracker()
exp_id = tracker.create_experiment("prompts", hypothesis="short ones do as well")
with tracker.start_run(exp_id, params={"prompt": "short"}, seed=7) as run:
    run.log_metric("success_rate", 0.85)
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from uuid import UUID

from mlops.run_log import Numbers, RunLog, run_log
from shared.database import TenantId, tenant_session
from shared.redaction import redacted, redacted_json
from shared.tenancy.tenants import current_tenant
from shared.tracking import experiments, runs
from shared.tracking.comparing import MetricComparison
from shared.tracking.environment import environment_of, installed_packages
from shared.tracking.errors import TrackingError
from shared.tracking.fitting import (
    required_name,
    required_number,
    required_step,
    required_text,
    required_values,
)
from shared.tracking.recording import Action, Message, Point, store_artifact
from shared.tracking.reproducing import Recipe
from shared.tracking.run_files import keep_file
from shared.tracking.searching import Found, search_runs

_active: ContextVar[tuple[TrackedRun, ...]] = ContextVar("active_runs", default=())


class TrackedRun(str):
    """A run, which is also the text of its identifier.

    As a context manager it ends with its block: completed, or failed by what the block raises.
    """

    uuid: UUID
    name: str
    experiment: UUID
    _tenant_id: TenantId
    _log: RunLog
    _numbers: Numbers
    _ended: bool

    def __new__(cls, tracked: runs.ExperimentRun, log: RunLog) -> Self:
        made = super().__new__(cls, tracked.id)
        made.uuid = tracked.id
        made.name = tracked.name
        made.experiment = tracked.experiment_id
        made._tenant_id = TenantId(tracked.tenant_id)
        made._log = log
        made._numbers = log.open(tracked.id)
        made._ended = False
        return made

    def log_metric(
        self,
        name: str,
        value: float,
        *,
        step: int | None = None,
        episode: str | None = None,
        at: datetime | None = None,
    ) -> None:
        """Log a value. NaN and infinity are kept, and shown as such.

        `step` orders the values of a metric; `episode` names what was tried, and makes the value
        comparable with that of the same episode in another run.
        """
        self.log_metrics({name: value}, step=step, episode=episode, at=at)

    def log_metrics(
        self,
        metrics: Mapping[str, float],
        *,
        step: int | None = None,
        episode: str | None = None,
        at: datetime | None = None,
    ) -> None:
        """Log several values at once; either all of them or, where one is not fit, none."""
        whole, when = required_step(step), _time(at)
        named = None if episode is None else required_name("episode", episode)
        given = [
            (required_name("metric", name), required_number(f"metric {name!r}", value))
            for name, value in metrics.items()
        ]
        for name, value in given:
            self._add(Point(self._numbers.next(), name, value, whole, named, when))

    def log_param(self, name: str, value: Any) -> None:
        """Log what the run was made with; a param keeps the value that it was given first."""
        self.log_params({name: value})

    def log_params(self, params: Mapping[str, Any]) -> None:
        self._require_open()
        with tenant_session(self._tenant_id) as session:
            runs.log_params(session, self.uuid, params)

    def set_tag(self, name: str, value: Any) -> None:
        """Set a tag; None removes it."""
        self.set_tags({name: value})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        with tenant_session(self._tenant_id) as session:
            runs.set_tags(session, self, tags)

    def log_conversation(
        self, role: str, content: str, *, at: datetime | None = None, **details: Any
    ) -> None:
        """Log a message of the run's conversation. Secrets in it are not stored."""
        self._add(
            Message(
                self._numbers.next(),
                required_name("role", role),
                redacted(required_text("the message", content)),
                redacted_json(required_values("detail", details)),
                _time(at),
            )
        )

    def log_action(
        self,
        name: str,
        success: bool | None = None,
        *,
        duration: float | None = None,
        at: datetime | None = None,
        **details: Any,
    ) -> None:
        """Log an action of the agent; `duration` in seconds."""
        if success is not None and not isinstance(success, bool):
            raise TrackingError(f"success {success!r:.60}: expected True, False, or None")
        self._add(
            Action(
                self._numbers.next(),
                required_name("action", name),
                success,
                _milliseconds(duration),
                redacted_json(required_values("detail", details)),
                _time(at),
            )
        )

    def log_artifact(self, path: str | Path, name: str | None = None) -> None:
        """Keep a file with the run, under its own name or another."""
        self._require_open()
        file = Path(path)
        kept = required_name("artifact", file.name if name is None else name)
        stored = keep_file(self._tenant_id, file)
        with tenant_session(self._tenant_id) as session:
            store_artifact(session, self.uuid, kept, stored.sha256, stored.size_bytes)

    def complete_run(self, success: bool | None = None) -> None:
        """End the run. `success` is its author's verdict; None leaves it unknown."""
        self._end(success=success)

    def fail_run(self, why: str) -> None:
        """End the run as failed."""
        self._end(failed=required_text("why", why))

    def flush(self) -> None:
        """Wait until all that was logged is stored."""
        self._log.flush_for(self.uuid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        if not self._ended:
            if error is None:
                self.complete_run()
            else:
                said = str(error).strip().splitlines() or [""]
                self.fail_run(": ".join(part for part in (type(error).__name__, said[0]) if part))
        return False

    def _add(self, entry: Point | Message | Action) -> None:
        self._require_open()
        self._log.add(self.uuid, entry)

    def _end(self, *, success: bool | None = None, failed: str | None = None) -> None:
        if not self._ended:
            self._log.flush_for(self.uuid)
        with tenant_session(self._tenant_id) as session:
            runs.complete_run(session, self.uuid, success=success, failed=failed)
        self._ended = True
        self._log.close(self.uuid)
        _active.set(tuple(run for run in _active.get() if run is not self))

    def _require_open(self) -> None:
        if self._ended:
            raise TrackingError(f"run {self.name!r} has ended: it takes no more")


class ExperimentTracker:
    """Where experiments are tracked: the tenant of this process, unless another is given.

    What is logged without naming a run goes to the one that was started last in the same thread or
    task and has not ended; a run has the same methods.
    """

    def __init__(self, tenant_id: TenantId | None = None) -> None:
        self._given = tenant_id
        self._last: list[TrackedRun] = []

    def create_experiment(
        self,
        name: str,
        description: str = "",
        *,
        hypothesis: str = "",
        tags: Mapping[str, Any] | None = None,
        configuration: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> str:
        """The identifier of a new experiment, or of the same one that is there.

        `more`, as `llm_model="gpt-4"`, is part of the configuration. Raises `TrackingError` for a
        name that is there with something else.
        """
        with self._session() as session:
            made = experiments.create_experiment(
                session,
                name,
                description=description,
                hypothesis=hypothesis,
                tags=tags,
                configuration={**(configuration or {}), **more},
            )
            return str(made.id)

    def start_run(
        self,
        experiment: str,
        name: str | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        seed: int | None = None,
        nested: bool = False,
        folder: Path | None = None,
    ) -> TrackedRun:
        """Begin a run of an experiment, named by name or identifier. Logs the environment by
        itself: the commit of `folder` (the working folder), packages, host, seed.

        While a run is active only a `nested` one can begin, of which it is the parent.
        """
        above = self._current()
        if above is not None and not nested:
            raise TrackingError(
                f"run {above.name!r} is active: complete it first, or begin a nested one with"
                " nested=True"
            )
        with self._session() as session:
            found = experiments.find_experiment(session, experiment)
            tracked = runs.start_run(
                session,
                str(found.id),
                name=name,
                parent=above if nested and above is not None else None,
                params=params,
                tags=tags,
                environment=environment_of(found.configuration, seed, folder),
                packages=installed_packages(),
            )
        run = TrackedRun(tracked, run_log(TenantId(tracked.tenant_id)))
        _active.set((*_active.get(), run))
        self._last.append(run)
        return run

    @property
    def active_run(self) -> TrackedRun:
        """Raises `TrackingError` where none is active, or nobody can say which."""
        found = self._current()
        if found is None:
            raise TrackingError("no run is active: start_run begins one")
        return found

    def log_metric(self, name: str, value: float, step: int | None = None, **more: Any) -> None:
        self.active_run.log_metric(name, value, step=step, **more)

    def log_metrics(
        self, metrics: Mapping[str, float], step: int | None = None, **more: Any
    ) -> None:
        self.active_run.log_metrics(metrics, step=step, **more)

    def log_param(self, name: str, value: Any) -> None:
        self.active_run.log_param(name, value)

    def log_params(self, params: Mapping[str, Any]) -> None:
        self.active_run.log_params(params)

    def set_tag(self, name: str, value: Any) -> None:
        self.active_run.set_tag(name, value)

    def log_conversation(self, role: str, content: str, **details: Any) -> None:
        self.active_run.log_conversation(role, content, **details)

    def log_action(self, name: str, success: bool | None = None, **more: Any) -> None:
        self.active_run.log_action(name, success, **more)

    def log_artifact(self, path: str | Path, name: str | None = None) -> None:
        self.active_run.log_artifact(path, name)

    def complete_run(self, success: bool | None = None) -> None:
        self.active_run.complete_run(success)

    def search_runs(
        self,
        condition: str = "",
        *,
        experiment: str | None = None,
        order_by: str = "started_at desc",
        limit: int = 100,
    ) -> list[Found]:
        """Runs for which a filter holds: `metrics.success_rate > 0.8 and tags.team = 'web'`."""
        with self._session() as session:
            among = (
                None
                if experiment is None
                else [experiments.find_experiment(session, experiment).id]
            )
            return search_runs(
                session, condition, experiments=among, order_by=order_by, limit=limit
            )

    def metric_history(self, run: str, name: str | None = None) -> list[Point]:
        """The values that a run has logged, by metric, step and time."""
        from shared.tracking.recording import points_of

        with self._session() as session:
            found = runs.find_run(session, run)
            return points_of(session, found.id, None if name is None else [name])

    def compare_runs(self, base: str, other: str) -> list[MetricComparison]:
        """Two runs, metric by metric."""
        from shared.tracking.held_against import runs_compared

        with self._session() as session:
            return runs_compared(session, base, other)

    def compare_experiments(self, base: str, other: str) -> list[MetricComparison]:
        """Two experiments, metric by metric: each completed run is a trial."""
        from shared.tracking.held_against import experiments_compared

        with self._session() as session:
            return experiments_compared(session, base, other)

    def reproduce(self, run: str) -> Recipe:
        """How a run is made again, and what cannot be the same any more."""
        from shared.tracking.held_against import recipe_of

        with self._session() as session:
            return recipe_of(session, run)

    def _current(self) -> TrackedRun | None:
        of_context = [run for run in _active.get() if not run._ended]
        if of_context:
            return of_context[-1]
        # Another thread began it: that is no question as long as there is but one.
        self._last = [run for run in self._last if not run._ended]
        if len(self._last) > 1:
            raise TrackingError(
                f"{len(self._last)} runs are active, and none was begun in this thread: log to the"
                " run that is meant"
            )
        return self._last[0] if self._last else None

    def _session(self) -> Any:
        return tenant_session(self._given or current_tenant())


def _time(at: datetime | None) -> datetime:
    if at is None:
        return datetime.now(UTC)
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise TrackingError(f"time {at!r:.60}: expected a datetime with a time zone")
    return at


def _milliseconds(seconds: float | None) -> int | None:
    if seconds is None:
        return None
    number = required_number("duration", seconds)
    if not 0 <= number < 1e12:
        raise TrackingError(f"duration {seconds!r:.60}: expected seconds, 0 or more")
    return round(1000 * number)
