"""A model call was paid for, however the step that made it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from uuid import uuid4

import pytest

from shared.evaluation.agents import make_agent
from shared.evaluation.emission import Emitter, episode_events, timed_calls
from shared.evaluation.episode import run_episode
from shared.evaluation.miniwob.catalogue import catalogue
from shared.evaluation.protocol import (
    Agent,
    Click,
    Decision,
    EpisodeResult,
    LlmCall,
    Observation,
    Outcome,
    Part,
    Task,
    Wait,
)
from workers.browser import BrowserRuntime

TASK = catalogue()["click-test"]
CALL = LlmCall(
    provider="p", llm_model="m", latency_ms=100, input_tokens=10, cached_input_tokens=0,
    output_tokens=5, query_length=40,
)  # fmt: skip


@contextmanager
def answers_once() -> Iterator[str]:
    """An endpoint whose first answer is of no use, and that says nothing to what follows."""
    over, asked = Event(), []
    body = json.dumps(
        {
            "model": "m-2026",
            "choices": [{"message": {"role": "assistant", "content": "Let me see."}}],
            "usage": {"prompt_tokens": 30, "completion_tokens": 4},
        }
    ).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(1)
            if len(asked) > 1:
                over.wait(30)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except ConnectionError:  # who asked has gone: that is the test
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def play(browser: BrowserRuntime, agent: Agent, deadline: float) -> EpisodeResult:
    return browser.run(
        lambda context: run_episode(
            context, agent, TASK, 1, deadline_seconds=deadline, cancelled=lambda: False
        ),
        timeout=deadline + 20,
    )


def test_a_deadline_in_the_second_call_loses_neither(browser: BrowserRuntime) -> None:
    with answers_once() as url:
        agent = make_agent("llm", {"model": "m", "base_url": url, "api_key_env": None})
        result = play(browser, agent, deadline=4)

    assert (result.outcome, result.steps) == (Outcome.TIMEOUT, ())
    spent = [(c.input_tokens, c.output_tokens, c.error_type) for c in result.unfinished_calls]
    assert spent == [(30, 4, "invalid_answer"), (None, None, "aborted")]
    assert result.unfinished_calls[1].latency_ms > 0

    started = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    emitter = Emitter(uuid4(), 1, "agent@1", "f", "")
    events = [e for e in episode_events(emitter, TASK, result, started) if e.kind == "llm_call"]
    assert [event.input_tokens for event in events] == [30, None]
    first, second = (at for _, at in timed_calls(result, started))
    assert started < first < second


class Paying:
    """An agent that has paid by the time it decides what `decide` says."""

    parts: frozenset[Part] = frozenset()

    def __init__(self, decision: object) -> None:
        self._decision = decision

    async def reset(self, task: Task, seed: int) -> None:
        pass

    async def act(self, observation: Observation) -> Decision:
        await asyncio.sleep(0)
        if isinstance(self._decision, Exception):
            raise self._decision
        return self._decision  # type: ignore[return-value]

    def calls_of_step(self) -> tuple[LlmCall, ...]:
        return (CALL,)

    async def close(self) -> None:
        pass


def test_a_deadline_while_acting_keeps_the_calls_of_the_decision(browser: BrowserRuntime) -> None:
    result = play(browser, Paying(Decision(Wait(milliseconds=10_000), (CALL, CALL))), deadline=3)
    assert result.outcome is Outcome.TIMEOUT
    assert result.unfinished_calls == (CALL, CALL)


@pytest.mark.parametrize("decision", [RuntimeError("broken"), "no decision", Decision("click")])  # type: ignore[arg-type]
def test_an_agent_that_breaks_after_it_has_paid_has_paid(
    browser: BrowserRuntime, decision: object
) -> None:
    result = play(browser, Paying(decision), deadline=20)
    assert result.outcome is Outcome.AGENT_ERROR
    assert all(step.calls == (CALL,) for step in result.steps)
    assert result.steps
    assert not result.unfinished_calls


def test_a_finished_episode_has_no_unfinished_calls(browser: BrowserRuntime) -> None:
    class Clicking(Paying):
        async def act(self, observation: Observation) -> Decision:
            button = next(e for e in observation.elements if e.tag == "button")
            return Decision(Click(element=button.id), (CALL,))

    result = play(browser, Clicking(None), deadline=20)
    assert result.outcome is Outcome.SUCCESS
    assert [step.calls for step in result.steps] == [(CALL,)]
    assert not result.unfinished_calls
