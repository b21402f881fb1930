"""The contracts: what each kind of job carries. The JSON Schema of each is part of the interface.

>>> parse("roll_up", {}).queue
<Queue.COSTS: 'costs'>
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from shared.jobs.errors import InvalidJobError
from shared.redaction import redacted_json


class Queue(StrEnum):
    """The six queues. Any of them scales by starting more workers for it."""

    EVALUATION = "evaluation"
    INGEST = "ingest"
    COSTS = "costs"
    DRIFT = "drift"
    CARDS = "cards"
    CONTROL = "control"


class Contract(BaseModel):
    """Base of all contracts: unknown fields are refused, values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    queue: ClassVar[Queue]
    keeps_payload: ClassVar[bool] = True
    "Whether the payload is kept after success; a batch that was ingested is not stored twice."

    @classmethod
    def kind(cls) -> str:
        return str(cls.model_fields["job"].default)


Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]


Dollars = Annotated[Decimal, Field(gt=0, lt=1_000_000_000, decimal_places=9, allow_inf_nan=False)]
"Down to the nano-dollar. In JSON a string, or a number."


class Recording(StrEnum):
    """What is kept of an episode besides its result."""

    NONE = "none"
    JPEG = "jpeg"
    "A picture of each step."
    TRACE_ON_FAILURE = "trace-on-failure"
    "Pictures, and Playwright's trace of an episode that did not succeed."
    TRACE_SAMPLE = "trace-sample"
    "Pictures, and Playwright's trace of one episode in ten."
    ALL = "all"
    "Pictures, and Playwright's trace of every episode."


class AbSplit(BaseModel):
    """Let an A/B test decide which agent gets which episode."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    test: Name
    environment: Name = "production"


DEFINITION_BYTES = 4_000_000


def storable_definition(definition: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The definition. ValueError, in one line, for one that PostgreSQL would not take."""
    text = json.dumps(definition, ensure_ascii=False, separators=(",", ":"))
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which cannot be stored") from None
    # Escaped by the dump; a backslash of the text itself is doubled.
    if r"\u0000" in text.replace(r"\\", ""):
        raise ValueError("holds a NUL character, which cannot be stored")
    if size > DEFINITION_BYTES:
        raise ValueError(f"a definition has at most {DEFINITION_BYTES} bytes, and this has {size}")
    return definition


Definition = Annotated[dict[str, JsonValue], AfterValidator(storable_definition)]
"Its meaning is checked where the run is made."


class RunBenchmark(Contract):
    """Make a benchmark run and its episodes: tasks x seeds x models, or one model a unit by A/B."""

    queue: ClassVar[Queue] = Queue.CONTROL
    job: Literal["run_benchmark"] = "run_benchmark"
    benchmark: Name = "miniwob"
    definition: Definition | None = None
    "Of a custom benchmark, with all of its fixtures; `benchmark` is its name then."
    tasks: Annotated[tuple[Name, ...], Field(max_length=1000)] = ()
    "Task names; all of the benchmark when empty."
    seeds: Annotated[tuple[int, ...], Field(min_length=1, max_length=10_000)]
    models: Annotated[tuple[Name, ...], Field(max_length=100)] = ()
    "Registered models as `name@version`, or `name` for its newest version."
    ab: AbSplit | None = None
    function: Name = "evaluation"
    "The name under which the telemetry of the run is summed."
    budget_dollars: Dollars | None = None
    "What all episodes may cost, as far as their prices are known; null without a limit."
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    "Of its episodes: 0 is done first. 0 to 2, 3 to 5, 6 to 8 and 9 wait in one line each."
    recording: Recording = Recording.JPEG

    @model_validator(mode="after")
    def _models_or_test(self) -> Self:
        if bool(self.models) == bool(self.ab):
            raise ValueError("name either the models or an A/B test that chooses them")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds must be distinct")
        if min(self.seeds) < 0 or max(self.seeds) >= 2**31:
            raise ValueError("seeds must be from 0 to 2147483647")
        return self


class ExtendRun(Contract):
    """Add episodes to a run: the same tasks and models with seeds that it does not have yet."""

    queue: ClassVar[Queue] = Queue.CONTROL
    job: Literal["extend_run"] = "extend_run"
    run_id: UUID
    more_seeds: Annotated[int, Field(ge=1, le=10_000)]
    "So many of the smallest that no episode of the run has."


class EvaluateEpisode(Contract):
    """Run one episode in a browser."""

    queue: ClassVar[Queue] = Queue.EVALUATION
    job: Literal["evaluate_episode"] = "evaluate_episode"
    episode_id: UUID


def _without_secrets(
    events: tuple[dict[str, JsonValue], ...],
) -> tuple[dict[str, JsonValue], ...]:
    return tuple(redacted_json(event) for event in events)


class IngestEvents(Contract):
    """Store one batch of telemetry. Events are validated one by one when they are stored."""

    queue: ClassVar[Queue] = Queue.INGEST
    keeps_payload: ClassVar[bool] = False
    job: Literal["ingest_events"] = "ingest_events"
    events: Annotated[
        tuple[dict[str, JsonValue], ...],
        Field(min_length=1, max_length=5000),
        AfterValidator(_without_secrets),
    ]
    "Without the secrets that are in their texts: a job's row holds them until they are stored."


class IngestBatch(Contract):
    """Store the events of a batch that was accepted, see `shared.telemetry.batches`."""

    queue: ClassVar[Queue] = Queue.INGEST
    job: Literal["ingest_batch"] = "ingest_batch"
    batch_id: UUID


class RollUp(Contract):
    """Recompute the hours that changed, and the cost periods they belong to."""

    queue: ClassVar[Queue] = Queue.COSTS
    job: Literal["roll_up"] = "roll_up"


class FindCostAnomalies(Contract):
    """Judge the hours that are over since `since` by what such hours usually cost."""

    queue: ClassVar[Queue] = Queue.COSTS
    job: Literal["find_cost_anomalies"] = "find_cost_anomalies"
    since: AwareDatetime
    until: AwareDatetime

    @model_validator(mode="after")
    def _whole_hours(self) -> Self:
        for at in (self.since, self.until):
            if (at.minute, at.second, at.microsecond) != (0, 0, 0):
                raise ValueError("since and until must be on the hour")
        if not timedelta() < self.until - self.since <= timedelta(days=31):
            raise ValueError("until must be after since, by at most 31 days")
        return self


class WindowOf(BaseModel):
    """A window of rollups: whole hours from `start` up to, not including, `end`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: AwareDatetime
    end: AwareDatetime
    function: Name | None = None
    "Only this function; each by itself when left out."
    model: Name | None = None
    "Of this model, where that is another than the one looked at."

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end <= self.start:
            raise ValueError("the end of a window must be after its start")
        if not _fits(self.start) or not _fits(self.end):
            raise ValueError(_UNFIT)
        if any(at.timestamp() % 3600 for at in (self.start, self.end)):
            raise ValueError("a window begins and ends on the hour (UTC): rollups are by the hour")
        return self


_UNFIT: Final = "a window lies between the years 2000 and 2200"


def _fits(at: datetime) -> bool:
    return 2000 <= at.year < 2200


class LastRequests(BaseModel):
    """The newest whole hours before `until` that together hold at least so many model calls."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: Annotated[int, Field(ge=30, le=10**9)]
    until: AwareDatetime
    function: Name | None = None
    "Only this function; each by itself when left out."

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        if not _fits(self.until):
            raise ValueError(_UNFIT)
        return self


class DetectDrift(Contract):
    """Compare two windows, metric by metric, for each function and model that has rows in them."""

    queue: ClassVar[Queue] = Queue.DRIFT
    job: Literal["detect_drift"] = "detect_drift"
    current: WindowOf | LastRequests
    baseline: WindowOf | None = None
    "The one that was set for each function and model when left out."
    models: Annotated[tuple[Name, ...], Field(max_length=100)] = ()
    false_discovery_rate: Annotated[float, Field(gt=0, le=0.5)] | None = None
    """Of the tests that a sweep calls significant, the share that is expected to be false. When
    left out 5 %, or with `alerts` what the tenant's budget of false alarms allows."""
    alerts: bool = False
    "What it finds raises and closes alerts, as that of the timetable's sweeps does."

    @model_validator(mode="after")
    def _models_are_named_once(self) -> Self:
        if isinstance(self.current, WindowOf) and self.current.model is not None:
            raise ValueError("the current window is of `models`; only the baseline names another")
        return self


class CheckQuality(Contract):
    """Check the data of each function and model; what is broken raises an alert until it is not."""

    queue: ClassVar[Queue] = Queue.DRIFT
    job: Literal["check_quality"] = "check_quality"
    current: WindowOf
    "Of every function and model."

    @model_validator(mode="after")
    def _of_everything(self) -> Self:
        if self.current.function is not None or self.current.model is not None:
            raise ValueError("the window of this job names no function or model: all are checked")
        return self


class WriteCard(Contract):
    """Write the next version of a model's card."""

    queue: ClassVar[Queue] = Queue.CARDS
    job: Literal["write_card"] = "write_card"
    model: Name


class SumUnits(Contract):
    """Add what units did, and that they were exposed, to the sums of their A/B tests."""

    queue: ClassVar[Queue] = Queue.CONTROL
    job: Literal["sum_units"] = "sum_units"


CONTEXT_BYTES: Final = 1_000_000


def _small(context: dict[str, JsonValue]) -> dict[str, JsonValue]:
    text = json.dumps(context, ensure_ascii=False)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which cannot be stored") from None
    if size > CONTEXT_BYTES:
        raise ValueError(f"a context has at most {CONTEXT_BYTES} bytes, and this has {size}")
    return context


class InvokeFunction(Contract):
    """Ask an LLM function; its answer is the result of the job."""

    # Where models are asked, and so where their keys are; a minute's answer holds up nothing else.
    queue: ClassVar[Queue] = Queue.EVALUATION
    keeps_payload: ClassVar[bool] = False
    job: Literal["invoke_function"] = "invoke_function"
    function: Name
    "`name` for its newest version, or `name@version`."
    query: Annotated[str, Field(max_length=1_000_000, pattern=r"^[^\x00]*$")]
    "In the job's row until it has been answered."
    context: Annotated[dict[str, JsonValue], AfterValidator(_small)] = Field(default_factory=dict)
    "What the prompt's template names besides the query."
    unit_id: Name | None = None
    "Whose variant it is; the context's `conversation_id` or `user_id`, else this job, if null."


class AnalyzeAbTest(Contract):
    """Say what an A/B test has shown so far."""

    queue: ClassVar[Queue] = Queue.CONTROL
    job: Literal["analyze_ab_test"] = "analyze_ab_test"
    test: Name
    environment: Name = "production"


class WatchAbTest(Contract):
    """Look at an A/B test as the timetable does: keep the verdict, tell of it, act on it."""

    queue: ClassVar[Queue] = Queue.CONTROL
    job: Literal["watch_ab_test"] = "watch_ab_test"
    test: Name
    environment: Name = "production"


CONTRACTS: dict[str, type[Contract]] = {
    contract.kind(): contract
    for contract in (
        RunBenchmark,
        ExtendRun,
        EvaluateEpisode,
        IngestEvents,
        IngestBatch,
        RollUp,
        FindCostAnomalies,
        DetectDrift,
        CheckQuality,
        WriteCard,
        SumUnits,
        InvokeFunction,
        AnalyzeAbTest,
        WatchAbTest,
    )
}


class JobMessage(BaseModel):
    """What travels through the broker: where the row is. The row says what to do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant_id: UUID
    job_id: UUID


class SubmitMessage(BaseModel):
    """The `kwargs` of the task `mlops.submit`, for senders in any language."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant: Name = "default"
    job: dict[str, JsonValue]
    idempotency_key: Name | None = None
    not_before: AwareDatetime | None = None


def parse(kind: object, payload: object) -> Contract:
    """The contract of `kind` from its JSON; raises `InvalidJobError` that names the bad field."""
    if not isinstance(kind, str) or kind not in CONTRACTS:
        shown = repr(kind)[:100]
        raise InvalidJobError(f"unknown job {shown}; there is: {', '.join(sorted(CONTRACTS))}")
    try:
        return CONTRACTS[kind].model_validate(payload)
    except ValidationError as error:
        raise InvalidJobError(f"job {kind}: {one_line(error)}") from None


def parse_submitted(job: dict[str, Any]) -> Contract:
    """The contract of a job that names its own kind in the field `job`."""
    return parse(job.get("job"), job)


def schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of each contract, by kind."""
    return {kind: contract.model_json_schema() for kind, contract in CONTRACTS.items()}


def one_line(error: ValidationError) -> str:
    """The first mistake of a validation, without the value: it may be large, or a secret."""
    first = error.errors(include_url=False, include_input=False)[0]
    # A key of somebody's mapping may be of any length, and have lines of its own.
    # What is nested deeply has a long way to it.
    where = ".".join(" ".join(str(part).split())[:100] for part in first["loc"][:10])
    more = error.error_count() - 1
    message = first["msg"].removeprefix("Value error, ")
    return (f"{where}: " if where else "") + message + (f" (and {more} more)" if more else "")
