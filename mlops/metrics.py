"""Telemetry of an agent, from its own process: tasks, actions, model calls, page loads.

    from mlops import MetricsCollector

    metrics = MetricsCollector()
    task_id = metrics.start_task("web_search_task")
    metrics.record_action("navigate", success=True, duration=2.1)
    metrics.record_llm_call(tokens_used=150, cost=0.003)
    metrics.end_task(success=True)

Nothing that records waits for the service or fails with it: a call leaves a record in memory, and
a thread sends batches, or keeps them on disk until the service takes them.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, Unpack, cast, overload
from uuid import UUID

from mlops.telemetry import usage
from mlops.telemetry.counting import Counts
from mlops.telemetry.encoding import KEPT_LENGTH, MOST_ATTRIBUTES
from mlops.telemetry.keywords import COMMON, FAILING, LLM_CALL, Common, Failing, LlmCall, check
from mlops.telemetry.outbox import EXIT_SECONDS, Outbox
from mlops.telemetry.raising import is_for_the_caller
from mlops.telemetry.requiring import require_name, require_number
from mlops.telemetry.sampling import NoSampleError, Sampler, sample
from mlops.telemetry.sending import DatabaseTransport, Transport
from mlops.telemetry.spending import BudgetExceededError, HardStops
from mlops.telemetry.spilling import SpillFolder, default_folder
from mlops.telemetry.tasks import OpenTask, Tasks
from mlops.telemetry.tracking import Tracker
from shared.telemetry.texts import MEASURED_CHARACTERS

if TYPE_CHECKING:
    from mlops.telemetry.summary import PerformanceSummary

__all__ = ["BudgetExceededError", "MetricsCollector"]

_ERRORS: Final = ("error", "error_type", "error_message")

Work = TypeVar("Work", bound=Callable[..., Any])


class MetricsCollector:
    """Collects what an agent does and what it costs.

    `model` ("name@version" of the registered model), `function` and `variant` hold for all events
    that do not state their own; where no function is stated it is the name of the current task.

    Durations are in seconds; what is None, or left out, is unknown. The methods that record may be
    called from any thread, asyncio task or forked process, and raise nothing but TypeError for a
    keyword that there is not: an event that cannot be taken is counted in `counts` and has its
    reason in the log or, where the service refuses it, in `mlops.rejected_events`. The keywords
    that they share are those of `mlops.telemetry.keywords`.
    """

    def __init__(
        self,
        *,
        model: str | None = None,
        function: str | None = None,
        variant: str | None = None,
        transport: Transport | None = None,
        flush_events: int = 500,
        flush_seconds: float = 5.0,
        memory_events: int = 10_000,
        spill_folder: Path | None = None,
        spill_bytes: int = 64 * 2**20,
        sample_seconds: float | None = None,
        obey_budgets: bool = False,
    ) -> None:
        """A batch is sent with `flush_events` events or after `flush_seconds`. `memory_events` may
        wait in memory, and `spill_bytes` on disk: in `spill_folder`, by default `spill/<tenant>` of
        the state folder. With `sample_seconds` the machine is sampled that often. With
        `obey_budgets` a tracked call is not made once a budget with a hard stop is used up: it
        raises `BudgetExceededError`. To ask takes each of them a round trip to Redis.

        Raises ValueError or TypeError for what cannot be, and SettingsError for malformed settings.
        """
        for field, name in (("model", model), ("function", function), ("variant", variant)):
            require_name(field, name)
        require_number("flush_events", flush_events, 1, 5_000, whole=True)
        require_number("flush_seconds", flush_seconds, 0.01, 3_600)
        require_number("memory_events", memory_events, 1, 1_000_000, whole=True)
        require_number("spill_bytes", spill_bytes, 0, 2**40, whole=True)
        if sample_seconds is not None:
            require_number("sample_seconds", sample_seconds, 0.1, 86_400)
        if not callable(getattr(transport or DatabaseTransport, "send", None)):
            raise TypeError(f"transport is a {type(transport).__name__}; expected one with `send`")
        self._model = model
        self._function = function
        self._variant = variant
        self._tasks = Tasks()
        self._hard_stops = HardStops() if obey_budgets else None
        self._outbox = Outbox(
            transport or DatabaseTransport(),
            SpillFolder(Path(spill_folder or default_folder()), spill_bytes),
            batch_events=flush_events,
            flush_seconds=flush_seconds,
            most_events=memory_events,
        )
        # Its thread keeps the outbox alive until what a forgotten collector has left is sent.
        weakref.finalize(self, self._outbox.end_soon).atexit = False
        self._closed = False
        self._sampler: Sampler | None = None
        if sample_seconds is not None:
            self._sampler = Sampler(weakref.WeakMethod(self.record_system_sample), sample_seconds)

    def start_task(self, name: str, **common: Unpack[Common]) -> UUID:
        """Begin a task, the current one of this thread or asyncio task from here to its end.

        Tasks nest: at the end of the inner one the outer one is current again. Another thread
        names the task by the identifier, which is returned.
        """
        check(common, COMMON - {"task_id"})
        named = name[:KEPT_LENGTH] if isinstance(name, str) else "?"
        task = self._tasks.start(named, common.get("variant"), common.get("unit_id"))
        self._record("task_start", {**common, "task_id": task.id}, task)
        return task.id

    def end_task(
        self,
        success: bool | None,
        *,
        outcome: str | None = None,
        duration: float | None = None,
        confidence: float | None = None,
        **common: Unpack[Failing],
    ) -> None:
        """End the current task, or that of `task_id`, which may have begun in any thread.

        `success` is None when the end says nothing of the agent. The duration is by default that
        since the start, and unknown for a task that was started in another process. `confidence`
        (0 to 1) is by default the mean of what the task's calls were recorded with.
        """
        check(common, FAILING)
        task_id = common.get("task_id")
        task = self._tasks.current() if task_id is None else self._tasks.find(task_id)
        if task is None and task_id is None:
            self._outbox.refuse("end_task without a current task; pass its task_id")
            return
        fields: dict[str, Any] = {**common, "success": success, "outcome": outcome}
        fields["latency"] = duration
        fields["confidence"] = confidence
        if task is not None:
            fields["task_id"] = task.id
            if confidence is None:
                fields["confidence"] = task.confidence
            if duration is None:
                fields["latency"] = time.perf_counter() - task.started
            self._tasks.end(task)
        self._record("task_end", fields, task)

    def record_action(
        self,
        action: str | None = None,
        *,
        success: bool,
        duration: float | None = None,
        dom_complexity: int | None = None,
        **common: Unpack[Failing],
    ) -> None:
        """One step of the agent: what it did (click, type, navigate ...) and whether it worked."""
        check(common, FAILING)
        fields = {
            "action": action,
            "success": success,
            "latency": duration,
            "dom_complexity": dom_complexity,
            **common,
        }
        self._record("action", fields)

    def record_llm_call(self, *, response: object = None, **call: Unpack[LlmCall]) -> None:
        """One call of a language model. It failed if there is an error.

        `response` is that of OpenAI, Anthropic or Gemini, as an object or as JSON: what it says of
        model and tokens holds where nothing else is stated. `query` is the text that was asked;
        it stays in this process, and what `shared.telemetry.texts` measures of it is sent.
        """
        check(call, LLM_CALL)
        fields = cast("dict[str, Any]", call)
        if response is not None:
            try:
                captured = usage.capture(response)
            except BaseException as error:  # of the response's own attributes
                if is_for_the_caller(error):
                    raise
                self._outbox.refuse(f"usage of a response: {type(error).__name__}", events=0)
            else:
                fields["response"] = [] if captured is None else [captured]
        self._record("llm_call", fields)

    def record_page_load(
        self,
        url: str | None = None,
        *,
        load_time: float | None = None,
        dom_complexity: int | None = None,
        success: bool | None = None,
        **common: Unpack[Failing],
    ) -> None:
        """One page that was opened; `dom_complexity` is its number of DOM nodes.

        Without an error it has loaded. User, password, query and fragment of the URL do not leave
        the process.
        """
        check(common, FAILING)
        if success is None:
            success = all(common.get(name) is None for name in _ERRORS)
        fields = {
            "url": url,
            "success": success,
            "latency": load_time,
            "dom_complexity": dom_complexity,
            **common,
        }
        self._record("page_load", fields)

    def record_metric(
        self, name: str, value: float, unit: str = "", **common: Unpack[Common]
    ) -> None:
        """A figure of your own."""
        check(common, COMMON)
        self._record("metric", {"name": name, "value": value, "unit": unit or None, **common})

    def record_exposure(
        self,
        test_id: UUID | str,
        unit_id: str,
        variant: str,
        *,
        slot: int | None = None,
        **common: Unpack[Common],
    ) -> None:
        """The unit was given this variant of the A/B test: what it does from now on counts.

        Told again, by this process or another, it is the same exposure. `ConfigManager.assign`
        tells it by itself. `slot` is the unit's in the test, without which it does not keep its
        variant when that slot moves.
        """
        check(common, COMMON - {"unit_id", "variant"})
        fields = {
            **common,
            "test_id": test_id,
            "unit_id": unit_id,
            "variant": variant,
            "slot": slot,
        }
        self._record("exposure", fields)

    def record_system_sample(self) -> None:
        """CPU, memory and disk of this machine now."""
        try:
            fields = sample()
        except (NoSampleError, OSError) as error:
            self._outbox.refuse(str(error))
            return
        self._record("system", fields)

    @overload
    def track(self, work: Work, /) -> Work: ...

    @overload
    def track(self, /, **call: Unpack[LlmCall]) -> Tracker: ...

    def track(self, work: Any = None, /, **call: Any) -> Any:
        """Record the calls of a function that calls a language model, or of a `with` block.

            @metrics.track
            def ask(question): ...

            with metrics.track(provider="openai") as call:
                answer = call.read(client.chat.completions.create(...))

        The function may be sync, async, or a generator of either kind, whose first value counts as
        the first token. Recorded are the latency, the error that is raised, and what the returned
        response says of model and tokens; values and exceptions go their way unchanged.
        """
        check(call, LLM_CALL)
        if work is not None and not callable(work):
            raise TypeError(f"track takes a function, or keywords; it got a {type(work).__name__}")
        tracker = Tracker(self, call)
        return tracker if work is None else tracker(work)

    def get_performance_summary(
        self,
        hours: int = 24,
        *,
        model: str | None = None,
        function: str | None = None,
        variant: str | None = None,
    ) -> PerformanceSummary:
        """What was done in the current hour and as many before it as make `hours`.

        Read from the hourly sums, of all processes: events of the last minute may be missing, see
        its `as_of`. Of the model, function and variant that are named here or that the collector
        was made with, else of all the tenant's. Raises ValueError unless `hours` is 1 to 8,784,
        and TypeError for what is no number or no name.
        """
        from mlops.telemetry.summary import read_summary

        return read_summary(
            hours,
            model=model or self._model,
            function=function or self._function,
            variant=variant or self._variant,
        )

    def flush(self, timeout: float | None = 10.0) -> bool:
        """Hand over what was recorded so far; False if some is still in memory after `timeout`.

        What the service does not take now is on disk then, and sent later: see `counts`.
        """
        if timeout is not None:
            require_number("timeout", timeout, 0, 86_400)
        return self._outbox.flush(timeout)

    def close(self, timeout: float = EXIT_SECONDS) -> None:
        """`flush`, and keep what is left on disk. The end of the process does so by itself."""
        require_number("timeout", timeout, 0, 86_400)
        self._closed = True
        if self._sampler is not None:
            self._sampler.stop()
        self._outbox.end(timeout)

    @property
    def closed(self) -> bool:
        """Whether it was closed: what it is told from then on waits for the end of the process."""
        return self._closed

    @property
    def counts(self) -> Counts:
        """What became of the events of this process."""
        return self._outbox.counts()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def call_begins(self, fields: Mapping[str, Any], named: str | None) -> object:
        """Of `track`: leave to spend, where budgets are obeyed."""
        if self._hard_stops is None:
            return None
        function = self._function_of(fields, self._task_of(fields), named)
        return self._hard_stops.begin(fields.get("model") or self._model, function)

    def call_ended(self, fields: dict[str, Any], named: str | None, leave: Any) -> None:
        """Of `track`: the call is settled, if there was leave to be asked for, and recorded."""
        if self._hard_stops is not None and leave is not None:
            self._hard_stops.end(leave, fields)
        self._record("llm_call", fields, named=named)

    def _task_of(self, fields: Mapping[str, Any]) -> OpenTask | None:
        task_id = fields.get("task_id")
        return self._tasks.current() if task_id is None else self._tasks.find(task_id)

    def _function_of(
        self, fields: Mapping[str, Any], task: OpenTask | None, named: str | None
    ) -> str | None:
        return fields.get("function") or self._function or (task.name if task else named)

    def _record(
        self,
        kind: str,
        fields: dict[str, Any],
        task: OpenTask | None = None,
        named: str | None = None,
    ) -> None:
        """Keep the event with what it does not state itself.

        `task` is the one that begins or ends with it; `named` is the function where none is known.
        """
        now = time.time()
        try:
            get = fields.get
            of_task = task or self._task_of(fields)
            if of_task is not None:
                fields["task_id"] = of_task.id
                if kind == "llm_call":
                    of_task.hear(get("confidence"))
                if of_task.unit_id is not None and get("unit_id") is None:
                    fields["unit_id"] = of_task.unit_id
            fields["model"] = get("model") or self._model
            fields["variant"] = (
                get("variant") or (of_task.variant if of_task else None) or self._variant
            )
            fields["function"] = self._function_of(fields, of_task, named)
            if get("query") is not None:
                _keep_query(fields)
            if get("error") is not None:
                _tell_error(fields, fields.pop("error"))
            if get("attributes") is not None or task is not None:
                fields["attributes"] = _kept(get("attributes"), task)
            self._outbox.add((kind, now, fields))
        except BaseException as error:  # of whatever the caller passes: his work goes on
            self._outbox.refuse(f"{kind}: {type(error).__name__}")
            if is_for_the_caller(error):
                raise


def _keep_query(fields: dict[str, Any]) -> None:
    """The beginning of the query's text, to be measured by the thread, and its whole length.

    Of messages of a chat their texts. What else there is is left out, as if it had not been given:
    the call itself counts.
    """
    query = fields["query"]
    texts = (query,) if isinstance(query, str) else _texts_of(query)
    if not texts:
        del fields["query"]
        return
    if fields.get("query_length") is None:
        fields["query_length"] = sum(map(len, texts)) + len(texts) - 1
    # Cut before it is joined: texts may be long.
    fields["query"] = "\n".join(text[:MEASURED_CHARACTERS] for text in texts)[:MEASURED_CHARACTERS]


def _texts_of(messages: Any) -> tuple[str, ...]:
    """The texts of messages as chats have them: `{"content": "..."}`, or the texts themselves."""
    if type(messages) not in (list, tuple):
        return ()
    contents = (
        message.get("content") if type(message) is dict else message
        for message in messages[:_MOST_MESSAGES]
    )
    return tuple(content for content in contents if isinstance(content, str))


_MOST_MESSAGES: Final = 1_000


def _tell_error(fields: dict[str, Any], error: object) -> None:
    """The error as texts: an exception would keep alive the frames that it came through."""
    kind = type(error).__name__ if isinstance(error, BaseException) else "error"
    if fields.get("error_type") is None:
        fields["error_type"] = kind
    if fields.get("error_message") is None:
        fields["error_message"] = str(error)[:KEPT_LENGTH]


def _kept(attributes: Any, task: OpenTask | None) -> dict[str, Any]:
    """A copy, for the caller may go on with his own; long texts are cut."""
    kept = {
        name: value[:KEPT_LENGTH] if type(value) is str else value
        for name, value in dict(attributes or {}).items()
    }
    if task is not None and len(kept) < MOST_ATTRIBUTES:
        kept.setdefault("task", task.name)
    return kept
