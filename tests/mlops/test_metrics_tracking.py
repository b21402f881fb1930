"""A tracked call is recorded as it went, and goes as if nobody looked."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from functools import partial
from typing import Any

import pytest

from mlops import MetricsCollector

RESPONSE = {
    "model": "gpt-4.1-mini",
    "usage": {
        "prompt_tokens": 19,
        "completion_tokens": 10,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 0},
    },
}


class ModelError(Exception):
    pass


@pytest.fixture
def recorded(metrics: MetricsCollector, receiver: Any) -> Callable[[], dict[str, Any]]:
    """The one event that was recorded."""

    def one() -> dict[str, Any]:
        assert metrics.flush()
        event: dict[str, Any] = receiver.event()
        return event

    return one


Recorded = Callable[[], dict[str, Any]]


def test_a_function_is_recorded_with_the_usage_of_what_it_returns(
    metrics: MetricsCollector, recorded: Recorded
) -> None:
    @metrics.track
    def ask(question: str) -> dict[str, Any]:
        "Ask it."
        return RESPONSE

    assert ask("why?") is RESPONSE
    assert (ask.__name__, ask.__doc__) == ("ask", "Ask it.")
    event = recorded()
    assert (event["kind"], event["function"]) == ("llm_call", "ask")
    assert (event["provider"], event["llm_model"]) == ("openai", "gpt-4.1-mini")
    assert (event["input_tokens"], event["cached_input_tokens"], event["output_tokens"]) == (
        19,
        4,
        10,
    )
    assert event["latency_ms"] >= 0
    assert "error_type" not in event


def test_what_it_raises_is_recorded_and_raised(
    metrics: MetricsCollector, recorded: Recorded
) -> None:
    error = ModelError("it refused")

    @metrics.track(provider="openai", llm_model="gpt-4.1-mini", function="checkout")
    def ask() -> None:
        raise error

    with pytest.raises(ModelError) as raised:
        ask()
    assert raised.value is error
    event = recorded()
    assert (event["error_type"], event["error_message"]) == ("ModelError", "it refused")
    assert (event["provider"], event["function"]) == ("openai", "checkout")
    assert "input_tokens" not in event


def test_a_coroutine_function_stays_one(metrics: MetricsCollector, recorded: Recorded) -> None:
    @metrics.track
    async def ask() -> dict[str, Any]:
        await asyncio.sleep(0.02)
        return RESPONSE

    assert inspect.iscoroutinefunction(ask)
    assert asyncio.run(ask()) is RESPONSE
    event = recorded()
    assert event["latency_ms"] >= 20
    assert event["output_tokens"] == 10


def test_a_cancelled_call_is_an_error(metrics: MetricsCollector, recorded: Recorded) -> None:
    @metrics.track
    async def ask() -> None:
        await asyncio.sleep(60)

    async def impatient() -> None:
        async with asyncio.timeout(0.01):
            await ask()

    with pytest.raises(TimeoutError):
        asyncio.run(impatient())
    assert recorded()["error_type"] == "CancelledError"


def test_a_generator_is_recorded_at_its_end_with_the_time_to_its_first_value(
    metrics: MetricsCollector, recorded: Recorded
) -> None:
    heard = []

    @metrics.track
    def ask() -> Generator[Any, str, str]:
        heard.append((yield {"choices": ["a"]}))
        try:
            yield {"choices": ["b"]}
        except ModelError as error:
            heard.append(str(error))
        yield RESPONSE | {"choices": []}
        return "returned"

    assert inspect.isgeneratorfunction(ask)
    parts = ask()
    assert next(parts) == {"choices": ["a"]}
    assert parts.send("sent") == {"choices": ["b"]}
    assert parts.throw(ModelError("thrown")) == RESPONSE | {"choices": []}
    with pytest.raises(StopIteration) as stop:
        next(parts)
    assert stop.value.value == "returned"
    assert heard == ["sent", "thrown"]
    event = recorded()
    assert 0 <= event["first_token_ms"] <= event["latency_ms"]
    assert event["output_tokens"] == 10
    assert "error_type" not in event


def test_an_async_generator_is_recorded_alike(
    metrics: MetricsCollector, recorded: Recorded
) -> None:
    heard = []

    @metrics.track
    async def ask() -> AsyncGenerator[Any, str]:
        await asyncio.sleep(0.02)
        heard.append((yield "a"))
        try:
            yield "b"
        except ModelError as error:
            heard.append(str(error))
        yield RESPONSE

    async def reader() -> None:
        parts = ask()
        assert await anext(parts) == "a"
        assert await parts.asend("sent") == "b"
        assert await parts.athrow(ModelError("thrown")) is RESPONSE
        with pytest.raises(StopAsyncIteration):
            await anext(parts)

    assert inspect.isasyncgenfunction(ask)
    asyncio.run(reader())
    assert heard == ["sent", "thrown"]
    event = recorded()
    assert event["first_token_ms"] >= 20
    assert event["output_tokens"] == 10


def test_a_stream_that_is_closed_early_is_no_failure(
    metrics: MetricsCollector, recorded: Recorded
) -> None:
    closed = []

    @metrics.track
    def ask() -> Iterator[str]:
        try:
            while True:
                yield "token"
        finally:
            closed.append(True)

    parts = ask()
    next(parts)
    parts.close()  # type: ignore[attr-defined]
    assert closed == [True]
    event = recorded()
    assert "error_type" not in event
    assert "first_token_ms" in event


def test_a_stream_that_breaks_is_recorded_with_its_error(
    metrics: MetricsCollector, recorded: Recorded
) -> None:
    @metrics.track
    async def ask() -> AsyncGenerator[str, None]:
        yield "token"
        raise ModelError("connection lost")

    async def reader() -> list[str]:
        return [part async for part in ask()]

    with pytest.raises(ModelError, match="connection lost"):
        asyncio.run(reader())
    assert recorded()["error_message"] == "connection lost"


def test_a_block_is_recorded_with_what_it_reads_and_notes(
    metrics: MetricsCollector, recorded: Recorded
) -> None:
    with metrics.track(provider="azure", query_length=40) as call:
        assert call.read(RESPONSE) is RESPONSE
        call.note(confidence=0.9, cost=0.002)
    event = recorded()
    assert (event["provider"], event["query_length"], event["confidence"]) == ("azure", 40, 0.9)
    assert (event["cost_dollars"], event["output_tokens"]) == ("0.002000000", 10)


def test_a_block_takes_the_times_of_a_stream(metrics: MetricsCollector, recorded: Recorded) -> None:
    class Stream:
        """As a client's: iterated over once, and no generator."""

        def __init__(self) -> None:
            self.parts = iter(["a", "b", RESPONSE])

        def __aiter__(self) -> Stream:
            return self

        async def __anext__(self) -> Any:
            await asyncio.sleep(0.01)
            try:
                return next(self.parts)
            except StopIteration:
                raise StopAsyncIteration from None

    async def ask() -> list[Any]:
        async with metrics.track() as call:
            return [part async for part in call.stream(Stream())]

    assert asyncio.run(ask()) == ["a", "b", RESPONSE]
    event = recorded()
    assert 10 <= event["first_token_ms"] < event["latency_ms"]
    assert event["output_tokens"] == 10


def test_an_error_in_a_block_goes_on(metrics: MetricsCollector, recorded: Recorded) -> None:
    with pytest.raises(ModelError), metrics.track() as call:
        list(call.stream(["a", "b"]))
        raise ModelError("late")
    event = recorded()
    assert event["error_type"] == "ModelError"
    assert "first_token_ms" in event


def test_of_what_has_only_begun_no_latency_is_claimed(
    metrics: MetricsCollector, recorded: Recorded
) -> None:
    stream = iter(["a", "b"])
    assert metrics.track(lambda: stream)() is stream
    assert "latency_ms" not in recorded()


def test_methods_partials_and_objects_can_be_tracked(
    metrics: MetricsCollector, receiver: Any
) -> None:
    class Client:
        @metrics.track
        def ask(self, question: str) -> str:
            return question

        async def __call__(self, question: str) -> str:
            return question

    async def answer(question: str) -> str:
        return question

    assert Client().ask("a") == "a"
    assert asyncio.run(metrics.track(Client())("b")) == "b"
    assert asyncio.run(metrics.track(partial(answer, "c"))()) == "c"
    assert metrics.flush()
    events = receiver.events()
    assert [event.get("function") for event in events] == ["ask", None, None]
    assert all("latency_ms" in event for event in events)


def test_within_a_task_the_function_is_the_task(metrics: MetricsCollector, receiver: Any) -> None:
    task_id = metrics.start_task("web_search_task")
    metrics.track(lambda: RESPONSE)()
    assert metrics.flush()
    _, call = receiver.events()
    assert (call["function"], call["task_id"]) == ("web_search_task", str(task_id))


def test_a_response_that_fails_when_it_is_looked_at_changes_nothing(
    metrics: MetricsCollector, recorded: Recorded
) -> None:
    class Broken:
        @property
        def usage(self) -> object:
            raise ModelError("no usage")

    broken = Broken()
    assert metrics.track(lambda: broken)() is broken
    assert "input_tokens" not in recorded()
