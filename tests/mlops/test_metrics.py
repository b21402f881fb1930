"""What is recorded is what was said, and nothing that is recorded breaks its caller."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest

from mlops import MetricsCollector
from shared.settings import settings

Make = Callable[..., MetricsCollector]


def sent(metrics: MetricsCollector, receiver: Any) -> list[dict[str, Any]]:
    assert metrics.flush()
    events: list[dict[str, Any]] = receiver.events()
    return events


def test_the_documented_calls_are_recorded_as_one_task(
    metrics: MetricsCollector, receiver: Any
) -> None:
    task_id = metrics.start_task("web_search_task")
    metrics.record_action("navigate", success=True, duration=2.1)
    metrics.record_action("type", success=True, duration=1.5)
    metrics.record_llm_call(tokens_used=150, cost=0.003)
    metrics.record_page_load("https://google.com", load_time=1.2, dom_complexity=450)
    metrics.end_task(success=True)

    events = sent(metrics, receiver)
    assert [event["kind"] for event in events] == [
        "task_start",
        "action",
        "action",
        "llm_call",
        "page_load",
        "task_end",
    ]
    assert {event["task_id"] for event in events} == {str(task_id)}
    assert {event["function"] for event in events} == {"web_search_task"}
    assert not any("model" in event for event in events), "the service calls it unknown"
    assert len({UUID(event["event_id"]) for event in events}) == 6
    now = datetime.now(UTC)
    for event in events:
        at = datetime.fromisoformat(event["occurred_at"])
        assert now - timedelta(minutes=1) < at <= now
    assert (events[1]["action"], events[1]["success"], events[1]["latency_ms"]) == (
        "navigate",
        True,
        2100,
    )
    assert (events[3]["total_tokens"], Decimal(events[3]["cost_dollars"])) == (
        150,
        Decimal("0.003"),
    )
    assert (events[4]["url"], events[4]["latency_ms"], events[4]["dom_nodes"]) == (
        "https://google.com",
        1200,
        450,
    )
    assert events[5]["success"] is True
    assert events[5]["latency_ms"] >= 0
    assert metrics.counts.sent == 6


def test_every_field_of_a_model_call_has_a_keyword(
    metrics: MetricsCollector, receiver: Any
) -> None:
    task_id, event_id = uuid4(), uuid4()
    at = datetime(2026, 11, 22, 12, tzinfo=UTC)
    metrics.record_llm_call(
        provider="openai",
        llm_model="gpt-4.1-mini",
        latency=0.42,
        first_token=0.1,
        input_tokens=900,
        cached_input_tokens=100,
        cache_write_tokens=50,
        output_tokens=30,
        reasoning_tokens=10,
        cost="0.000000001",
        query_length=3000,
        confidence=0.75,
        quality=0.5,
        error=TimeoutError("after 30 s"),
        model="buyer@1",
        function="checkout",
        variant="b",
        task_id=task_id,
        event_id=event_id,
        occurred_at=at,
        attributes={"retry": 1, "cached": False, "note": "ü", "share": 0.5, "nothing": None},
    )
    [event] = sent(metrics, receiver)
    assert event == {
        "kind": "llm_call",
        "event_id": str(event_id),
        "occurred_at": at.isoformat(),
        "provider": "openai",
        "llm_model": "gpt-4.1-mini",
        "latency_ms": 420,
        "first_token_ms": 100,
        "input_tokens": 900,
        "cached_input_tokens": 100,
        "cache_write_tokens": 50,
        "output_tokens": 30,
        "reasoning_tokens": 10,
        "cost_dollars": "0.000000001",
        "query_length": 3000,
        "confidence": 0.75,
        "quality": 0.5,
        "error_type": "TimeoutError",
        "error_message": "after 30 s",
        "model": "buyer@1",
        "function": "checkout",
        "variant": "b",
        "task_id": str(task_id),
        "attributes": {
            "retry": 1,
            "cached": False,
            "note": "ü",
            "share": 0.5,
            "nothing": None,
        },
    }


def test_unknown_is_left_out_and_never_zero(metrics: MetricsCollector, receiver: Any) -> None:
    metrics.record_llm_call()
    [event] = sent(metrics, receiver)
    assert event.keys() == {"kind", "event_id", "occurred_at"}


def test_the_collector_states_what_an_event_does_not(collector: Make, receiver: Any) -> None:
    metrics = collector(model="buyer@1", function="checkout", variant="b")
    metrics.start_task("a task")
    metrics.record_metric("basket", 3)
    metrics.record_metric("basket", 3, "items", model="other@2", function="browse", variant="a")
    _, first, second = sent(metrics, receiver)
    assert (first["model"], first["function"], first["variant"]) == ("buyer@1", "checkout", "b")
    assert (second["model"], second["function"], second["variant"]) == ("other@2", "browse", "a")
    assert "unit" not in first
    assert (second["name"], second["value"], second["unit"]) == ("basket", 3, "items")


def test_tasks_nest(metrics: MetricsCollector, receiver: Any) -> None:
    outer = metrics.start_task("outer")
    inner = metrics.start_task("inner")
    metrics.record_action("click", success=True)
    metrics.end_task(success=None)
    metrics.record_action("click", success=True)
    metrics.end_task(success=False, error="gave up")
    metrics.record_action("click", success=True)
    events = sent(metrics, receiver)
    of_actions = [event.get("task_id") for event in events if event["kind"] == "action"]
    assert of_actions == [str(inner), str(outer), None]
    end_of_inner, end_of_outer = (event for event in events if event["kind"] == "task_end")
    assert end_of_inner["success"] is None
    assert end_of_outer["success"] is False
    assert (end_of_outer["error_type"], end_of_outer["error_message"]) == ("error", "gave up")


def test_threads_and_asyncio_tasks_have_tasks_of_their_own(
    metrics: MetricsCollector, receiver: Any
) -> None:
    async def agent(name: str) -> None:
        metrics.start_task(name)
        for _ in range(3):
            await asyncio.sleep(0)
            metrics.record_action(name, success=True)
        metrics.end_task(success=True)

    async def all_agents() -> None:
        await asyncio.gather(*(agent(f"agent {n}") for n in range(5)))

    metrics.start_task("of the test")
    threads = [
        threading.Thread(target=lambda n=n: asyncio.run(agent(f"thread {n}"))) for n in range(3)
    ]
    for thread in threads:
        thread.start()
    asyncio.run(all_agents())
    for thread in threads:
        thread.join()
    actions = [event for event in sent(metrics, receiver) if event["kind"] == "action"]
    assert len(actions) == 24
    assert all(event["function"] == event["action"] for event in actions)


def test_a_task_can_be_ended_from_another_thread(metrics: MetricsCollector, receiver: Any) -> None:
    task_id = metrics.start_task("long")
    thread = threading.Thread(target=lambda: metrics.end_task(success=True, task_id=str(task_id)))
    thread.start()
    thread.join()
    metrics.record_action("click", success=True)
    _, end, action = sent(metrics, receiver)
    assert (end["task_id"], end["function"]) == (str(task_id), "long")
    assert end["latency_ms"] >= 0
    assert "task_id" not in action


def test_the_end_of_a_task_of_another_process_has_no_duration(
    metrics: MetricsCollector, receiver: Any
) -> None:
    task_id = uuid4()
    metrics.end_task(success=True, task_id=task_id)
    [event] = sent(metrics, receiver)
    assert event["task_id"] == str(task_id)
    assert "latency_ms" not in event


def test_an_end_without_a_task_is_refused(metrics: MetricsCollector) -> None:
    metrics.end_task(success=True)
    assert metrics.counts.refused == 1


def test_the_secrets_of_a_url_do_not_leave_the_process(
    metrics: MetricsCollector, receiver: Any
) -> None:
    metrics.record_page_load("https://user:word@shop.test/cart?token=secret#part", load_time=1)
    metrics.record_page_load("http://[broken", error="refused")
    first, second = sent(metrics, receiver)
    assert (first["url"], first["success"]) == ("https://shop.test/cart", True)
    assert "url" not in second
    assert second["success"] is False


def test_a_query_is_measured_and_does_not_leave_the_process(
    metrics: MetricsCollector, receiver: Any
) -> None:
    text = "Fly to Zürich, row 12"
    metrics.record_llm_call(query=text)
    metrics.record_llm_call(query=text, query_length=9_000)
    with metrics.track() as call:
        call.note(query="")
    first, stated, empty = sent(metrics, receiver)
    assert (first["query_length"], stated["query_length"], empty["query_length"]) == (21, 9_000, 0)
    measures = first["query_measures"]
    assert measures == stated["query_measures"]
    assert len(measures.pop("hashes")) == 5
    assert measures == {"characters": 21, "words": 5, "word_characters": 16, "letters": 14}
    assert empty["query_measures"] == measures | dict.fromkeys(measures, 0) | {"hashes": []}
    assert "Zürich" not in str(receiver.events())
    assert "query" not in first


def test_of_a_long_query_no_more_is_held_than_is_measured(
    metrics: MetricsCollector, receiver: Any
) -> None:
    text = "flight " * 10**6
    held = sys.getrefcount(text)
    metrics.record_llm_call(query=text)
    assert sys.getrefcount(text) == held
    [event] = sent(metrics, receiver)
    assert (event["query_length"], event["query_measures"]["characters"]) == (7 * 10**6, 4_000)


def test_messages_of_a_chat_are_measured_as_their_texts(
    metrics: MetricsCollector, receiver: Any
) -> None:
    messages = [{"role": "system", "content": "Book."}, {"role": "user", "content": "A flight"}]
    metrics.record_llm_call(query=messages)
    metrics.record_llm_call(query="Book.\nA flight")
    metrics.record_llm_call(query=[{"content": "x" * 3_000}] * 1_000)
    first, second, third = sent(metrics, receiver)
    assert first["query_measures"] == second["query_measures"]
    assert first["query_length"] == second["query_length"] == 14
    assert third["query_length"] == 3_000 * 1_000 + 999


def test_a_query_that_is_no_text_is_left_out_and_the_call_counts(
    metrics: MetricsCollector, receiver: Any
) -> None:
    for query in (b"my secret", Hostile(), [], [{"content": [{"text": "my secret"}]}]):
        metrics.record_llm_call(query=query)  # type: ignore[arg-type]
    events = sent(metrics, receiver)
    assert len(events) == 4
    assert not any("query_measures" in event or "query_length" in event for event in events)
    assert "my secret" not in str(events)


class Hostile:
    """Cannot be said in any way."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("said", "sent_as"),
    [
        ({"input_tokens": -5}, {"input_tokens": -5}),
        ({"input_tokens": 10**30}, {"input_tokens": 10**30}),
        ({"input_tokens": "many"}, {"input_tokens": "many"}),
        ({"input_tokens": 3.0}, {"input_tokens": 3}),
        ({"input_tokens": np.int64(7)}, {"input_tokens": 7}),
        ({"confidence": np.float32(0.5)}, {"confidence": 0.5}),
        ({"confidence": math.nan}, {"confidence": "nan"}),
        ({"latency": math.inf}, {"latency_ms": "inf"}),
        ({"latency": timedelta(seconds=2)}, {"latency_ms": 2000}),
        ({"cost": math.nan}, {"cost_dollars": "NaN"}),
        ({"cost": 0.1 + 0.2}, {"cost_dollars": "0.300000000"}),
        ({"cost": 1e300}, {"cost_dollars": "1e+300"}),
        ({"cost": Decimal("0.25")}, {"cost_dollars": "0.250000000"}),
        ({"provider": "x" * 10_000_000}, {"provider": "x" * 199 + "…"}),
        ({"error_message": "x" * 10_000_000}, {"error_message": "x" * 1_999 + "…"}),
        ({"error_message": "key sk-proj-" + "a" * 40}, {"error_message": "key [redacted]"}),
        ({"error_message": "nul \0 and \ud800"}, {"error_message": "nul \ufffd and ?"}),
        ({"attributes": {"a": [1, 2]}}, {"attributes": {"a": "[1, 2]"}}),
        ({"attributes": {"a": math.nan}}, {"attributes": {"a": "nan"}}),
        ({"attributes": {"a": "x" * 10**7}}, {"attributes": {"a": "x" * 999 + "…"}}),
        ({"occurred_at": "yesterday"}, {"occurred_at": "yesterday"}),
    ],
)
def test_odd_values_are_bounded_and_said_so_that_the_service_can_refuse_them(
    metrics: MetricsCollector, receiver: Any, said: Any, sent_as: dict[str, Any]
) -> None:
    metrics.record_llm_call(**said)
    [event] = sent(metrics, receiver)
    assert {name: event[name] for name in sent_as} == sent_as


@pytest.mark.parametrize(
    "said",
    [
        {"provider": Hostile()},
        {"error": Hostile()},
        {"attributes": {"a": Hostile()}},
        {"attributes": 5},
        {"latency": Hostile()},
        {"input_tokens": 10**5000},
    ],
)
def test_what_cannot_be_said_is_counted_and_spoils_nothing_else(
    metrics: MetricsCollector, receiver: Any, said: Any
) -> None:
    metrics.record_llm_call(output_tokens=1)
    metrics.record_llm_call(**said)
    metrics.record_llm_call(output_tokens=2)
    assert [event["output_tokens"] for event in sent(metrics, receiver)] == [1, 2]
    assert (metrics.counts.recorded, metrics.counts.sent, metrics.counts.refused) == (3, 2, 1)


def test_an_unknown_keyword_is_a_mistake_in_the_callers_code(metrics: MetricsCollector) -> None:
    with pytest.raises(TypeError, match="unknown keyword 'tokens'"):
        metrics.record_llm_call(tokens=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unknown keyword 'cost'"):
        metrics.record_action("click", success=True, cost=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "limits",
    [
        {"flush_events": 5_001},
        {"flush_events": 2.5},
        {"memory_events": 0},
        {"memory_events": "many"},
        {"flush_seconds": 0},
        {"flush_seconds": math.nan},
        {"spill_bytes": -1},
        {"sample_seconds": True},
        {"model": 5},
        {"variant": "a\0"},
    ],
)
def test_a_limit_that_cannot_be_is_refused(collector: Make, limits: dict[str, Any]) -> None:
    [name] = limits
    with pytest.raises((ValueError, TypeError), match=f"{name} is .*; expected "):
        collector(**limits)


def test_what_is_passed_wrongly_is_one_line(metrics: MetricsCollector, collector: Make) -> None:
    with pytest.raises(TypeError, match="transport is a int; expected one with `send`"):
        collector(transport=5)
    with pytest.raises(TypeError, match="track takes a function, or keywords; it got a str"):
        metrics.track("checkout")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="timeout is 'soon'; expected 0 to 86,400"):
        metrics.flush("soon")  # type: ignore[arg-type]


def test_the_machine_is_sampled(collector: Make, receiver: Any, until: Any) -> None:
    metrics = collector(sample_seconds=0.1, flush_seconds=0.05)
    until(lambda: len(receiver.events()) >= 2)
    metrics.close()
    *_, last = receiver.events()
    assert last["kind"] == "system"
    assert last["host"]
    assert last["memory_bytes"] > 0
    for share in ("cpu_percent", "memory_percent", "disk_percent"):
        assert 0 <= last[share] <= 100


def test_without_psutil_one_line_says_so(
    metrics: MetricsCollector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    metrics.record_system_sample()
    assert metrics.counts.refused == 1
    [line] = caplog.messages
    assert "pip install psutil" in line


def test_what_is_spilled_goes_to_the_tenants_folder_of_the_state(
    with_environment: Callable[..., None], state: Any
) -> None:
    for name, folder in (("default", "default"), ("../a/b", "%2E%2E%2Fa%2Fb")):
        with_environment(MLOPS_TENANT=name)
        assert MetricsCollector()._outbox._folder.path == state / "spill" / folder
    with_environment(MLOPS_API_KEY="mlops_secret")
    path = MetricsCollector()._outbox._folder.path
    assert path.parent == state / "spill"
    assert "secret" not in path.name
    assert settings().api_key is not None


def test_importing_the_package_and_recording_load_nothing_heavy_in_the_callers_thread() -> None:
    code = (
        "import sys; from mlops import MetricsCollector; "
        "print(sorted({'sqlalchemy', 'psycopg', 'numpy', 'genai_prices', 'celery'} "
        "& set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
