"""One call of a language model, timed and recorded by what happens to it.

Its value, and what it raises, go to the caller as they are. What goes wrong in recording stays
here: it is counted as refused, and the log says why.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from functools import wraps
from types import TracebackType
from typing import Any, Protocol, TypeVar

from mlops.telemetry import usage
from mlops.telemetry.keywords import LLM_CALL, check
from mlops.telemetry.raising import is_for_the_caller

Response = TypeVar("Response")
Work = TypeVar("Work", bound=Callable[..., Any])


class Recorder(Protocol):
    """Who is told of calls: with fields of `record_llm_call`, and the name of what makes them."""

    def call_begins(self, fields: Mapping[str, Any], named: str | None) -> object:
        """Leave for the call, which is handed back at its end; may raise to have it not made."""

    def call_ended(self, fields: dict[str, Any], named: str | None, leave: Any) -> None:
        """Raises nothing."""


class TrackedCall:
    """A call that is going on: the `call` of `with metrics.track(...) as call`.

    `read` takes the response and `stream` the parts of one; `note` states any field of
    `record_llm_call`, which holds before what they say.
    """

    def __init__(
        self, recorder: Recorder, fields: Mapping[str, Any], named: str | None = None
    ) -> None:
        self._recorder = recorder
        self._fields = dict(fields)
        self._named = named
        self._first_part: usage.Captured | None = None
        self._last_part: usage.Captured | None = None
        self._first_token: float | None = None
        self._unfinished = False
        self._leave = recorder.call_begins(fields, named)
        self._started = time.perf_counter()

    def read(self, response: Response) -> Response:
        """Take the usage from a response, and return the response."""
        self._take(response, usage.capture)
        return response

    def note(self, **fields: Any) -> None:
        """State fields of `record_llm_call`, such as `confidence=0.9` or `cost=0.002`."""
        check(fields, LLM_CALL)
        self._fields.update(fields)

    def stream(self, parts: Any) -> Any:
        """Pass on the parts of a stream, sync or async, and take its times and usage."""
        return self._parts_async(parts) if hasattr(parts, "__aiter__") else self._parts(parts)

    def returned(self, value: Response) -> Response:
        """`read` what a plain function has returned.

        Something to be awaited or iterated over is only the beginning of a call: how long that
        takes is not known here.
        """
        if any(hasattr(type(value), name) for name in ("__await__", "__next__", "__anext__")):
            self._unfinished = True
            return value
        return self.read(value)

    def part(self, value: object) -> None:
        """A part of a stream has come."""
        if self._first_token is None:
            self._first_token = time.perf_counter() - self._started
        self._take(value, usage.capture_chunk)

    def ended(self, error: BaseException | None) -> None:
        """Record the call; `error` is what it raised."""
        fields = self._fields
        if not self._unfinished:
            fields.setdefault("latency", time.perf_counter() - self._started)
        fields.setdefault("first_token", self._first_token)
        # A stream that its reader closes early is no failure.
        if error is not None and not isinstance(error, GeneratorExit):
            fields.setdefault("error", error)
        fields["response"] = [p for p in (self._first_part, self._last_part) if p is not None]
        self._recorder.call_ended(fields, self._named, self._leave)

    def _take(self, value: object, capture: Callable[[object], usage.Captured | None]) -> None:
        try:
            captured = capture(value)
        except BaseException as error:
            # Of the response's own attributes: the usage is unknown.
            if is_for_the_caller(error):
                raise
            return
        if captured is None:
            return
        if self._first_part is None:
            self._first_part = captured
        else:
            self._last_part = captured

    def _parts(self, parts: Any) -> Iterator[Any]:
        for value in parts:
            self.part(value)
            yield value

    async def _parts_async(self, parts: Any) -> AsyncIterator[Any]:
        async for value in parts:
            self.part(value)
            yield value

    def __enter__(self) -> TrackedCall:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.ended(error)


def _flow() -> object:
    """What the calls are nested in: the asyncio task, or the thread where there is none."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return task or threading.get_ident()


class Tracker:
    """What `metrics.track(...)` returns: a decorator, and a context manager sync and async."""

    def __init__(self, recorder: Recorder, fields: Mapping[str, Any]) -> None:
        self._recorder = recorder
        self._fields = fields
        self._entered: dict[object, list[TrackedCall]] = {}

    def __enter__(self) -> TrackedCall:
        call = TrackedCall(self._recorder, self._fields)
        self._entered.setdefault(_flow(), []).append(call)
        return call

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        flow = _flow()
        calls = self._entered[flow]
        call = calls.pop()
        if not calls:
            del self._entered[flow]
        call.ended(error)

    async def __aenter__(self) -> TrackedCall:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, work: Work) -> Work:
        """`work`, tracked: a function, a coroutine function, or a generator of either kind."""
        name = getattr(work, "__name__", None)
        named = None if name == "<lambda>" else name

        def tracked_call() -> TrackedCall:
            return TrackedCall(self._recorder, self._fields, named)

        wrapper: Any
        if _is(inspect.isasyncgenfunction, work):

            @wraps(work)
            async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
                with tracked_call() as call:
                    parts = work(*args, **kwargs)
                    try:
                        value = await anext(parts)
                        while True:
                            call.part(value)
                            try:
                                sent = yield value
                            except GeneratorExit:
                                await parts.aclose()
                                raise
                            except BaseException as error:  # noqa: BLE001 (whatever was thrown in)
                                value = await parts.athrow(error)
                            else:
                                value = await parts.asend(sent)
                    except StopAsyncIteration:
                        return

        elif _is(inspect.isgeneratorfunction, work):

            @wraps(work)
            def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
                with tracked_call() as call:
                    parts = work(*args, **kwargs)
                    try:
                        value = next(parts)
                        while True:
                            call.part(value)
                            try:
                                sent = yield value
                            except GeneratorExit:
                                parts.close()
                                raise
                            except BaseException as error:  # noqa: BLE001 (whatever was thrown in)
                                value = parts.throw(error)
                            else:
                                value = parts.send(sent)
                    except StopIteration as stop:
                        return call.read(stop.value)

        elif _is(inspect.iscoroutinefunction, work):

            @wraps(work)
            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                with tracked_call() as call:
                    return call.read(await work(*args, **kwargs))

        else:

            @wraps(work)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                with tracked_call() as call:
                    return call.returned(work(*args, **kwargs))

        return wrapper  # type: ignore[no-any-return]


def _is(question: Callable[[Any], bool], work: Any) -> bool:
    """Whether it holds for `work`, or for what calling this object calls."""
    return question(work) or question(type(work).__call__)
