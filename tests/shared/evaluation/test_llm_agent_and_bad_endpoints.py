"""An endpoint that hangs, drips, floods or redirects is named, and the agent is not blamed."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable

import pytest

from shared.evaluation.agents import make_agent
from shared.evaluation.agents.answering import UnusableAnswerError, read_answer
from shared.evaluation.agents.registry import missing_key
from shared.evaluation.protocol import Click, Decision, Element, EndpointError, Observation, Task

PAGE = Observation(
    goal="Click the button.",
    url="http://127.0.0.1/",
    title="",
    text="Click Me!",
    elements=(
        Element(
            id=7,
            tag="button",
            role="button",
            text="Click Me!",
            attributes={},
            interactive=True,
            box=(0, 0, 1, 1),
        ),
    ),
    step=0,
    dom_nodes=9,
)
RIGHT = json.dumps({"action": {"kind": "click", "element": 7}})
BODY = json.dumps({"choices": [{"message": {"content": RIGHT}}]}).encode()
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

Serve = Callable[[int, asyncio.StreamWriter], Awaitable[None]]


def task(seconds: float) -> Task:
    return Task(
        benchmark="miniwob",
        name="click-test",
        category="click",
        difficulty="easy",
        max_steps=5,
        timeout_seconds=seconds,
    )


GAVE_NO_ANSWER = r"no answer from http://127\.0\.0\.1:\d+/v1|/v1 kept the agent waiting"
"Which of its two clocks runs out first depends on how busy the machine is."


def play(serve: Serve, *, seconds: float = 60, steps: int = 1, **parameters: object) -> Decision:
    """The decision of the last of some steps, asked of an endpoint that answers with `serve`."""

    async def once() -> Decision:
        asked = 0
        writers: list[asyncio.StreamWriter] = []

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            writers.append(writer)
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                asked += 1
                await serve(asked, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass  # the one who asked has gone: that is the test
            finally:
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        agent = make_agent(
            "llm", {"model": "m", "base_url": url, "api_key_env": None, **parameters}
        )
        try:
            await agent.reset(task(seconds), 1)
            for _ in range(steps - 1):
                await agent.act(PAGE)
            return await agent.act(PAGE)
        finally:
            await agent.close()
            server.close()
            for writer in writers:
                writer.close()

    return asyncio.run(once())


async def answer(writer: asyncio.StreamWriter, body: bytes = BODY) -> None:
    writer.write(OK + f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    await writer.drain()


async def hang(number: int, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def drip(number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(OK + b"Content-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


def test_an_endpoint_that_hangs_ends_within_the_tasks_time_and_not_by_it() -> None:
    with pytest.raises(EndpointError, match=GAVE_NO_ANSWER) as error:
        play(hang, seconds=2)
    assert [call.error_type for call in error.value.calls] == ["timeout"] * len(error.value.calls)
    assert not error.value.permanent


def test_an_endpoint_that_drips_is_given_up_as_one_that_hangs() -> None:
    with pytest.raises(EndpointError, match=r"began to answer and was not done within 0\.3 s"):
        play(drip, timeout_seconds=0.3, max_retries=0)


def test_a_hanging_endpoint_is_at_fault_in_a_later_step_as_well() -> None:
    async def once_only(number: int, writer: asyncio.StreamWriter) -> None:
        await (answer(writer) if number == 1 else hang(number, writer))

    with pytest.raises(EndpointError, match=GAVE_NO_ANSWER):
        play(once_only, seconds=2, steps=2)


def test_when_the_time_is_over_the_agent_says_whether_its_endpoint_was_at_fault() -> None:
    async def waiting(slept: float) -> str | None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        agent = make_agent("llm", {"model": "m", "base_url": url, "api_key_env": None})
        await agent.reset(task(4), 1)
        asking = asyncio.create_task(agent.act(PAGE))
        await asyncio.sleep(slept)
        fault: str | None = agent.endpoint_at_fault()  # type: ignore[attr-defined]
        asking.cancel()
        await asyncio.wait({asking})
        await agent.close()
        server.close()
        return fault

    assert asyncio.run(waiting(0.1)) is None
    assert "kept the agent waiting for" in (asyncio.run(waiting(2.3)) or "")


def test_more_than_a_body_may_hold_is_cut_off_and_said() -> None:
    async def flood(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"\r\n")
        while True:
            writer.write(b" " * 1_000_000)
            await writer.drain()

    with pytest.raises(EndpointError, match="answered with more than 8 MB") as error:
        play(flood)
    assert [call.error_type for call in error.value.calls] == ["response_too_long"]


def test_what_nobody_asked_to_be_packed_is_not_unpacked() -> None:
    packed = gzip.compress(BODY + b" " * 50_000_000, compresslevel=1)

    async def pack(number: int, writer: asyncio.StreamWriter) -> None:
        length = f"Content-Length: {len(packed)}\r\n\r\n".encode()
        writer.write(OK + b"Content-Encoding: gzip\r\n" + length + packed)
        await writer.drain()

    with pytest.raises(EndpointError, match="no chat completion"):
        play(pack)


def test_a_redirect_is_told_as_one_and_not_followed() -> None:
    async def redirect(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\n"
            b"Location: https://user:secret@other.example/v1/chat?key=secret\r\n\r\n"
        )
        await writer.drain()

    with pytest.raises(
        EndpointError, match=r"redirects to https://other\.example/v1/chat \(HTTP 307\)"
    ) as error:
        play(redirect)
    assert error.value.permanent
    assert "secret" not in str(error.value)
    assert [call.error_type for call in error.value.calls] == ["http_307"]


def test_a_wait_that_the_task_has_no_time_for_ends_it() -> None:
    async def busy(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nRetry-After: 30\r\n\r\n"
        )
        await writer.drain()

    with pytest.raises(EndpointError, match="no time of the task is left for another"):
        play(busy, seconds=20)
    with pytest.raises(EndpointError, match="too many requests"):
        play(busy, max_retries=0)


def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    async def breaking(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 1:
            writer.write(OK + b"Content-Length: 500\r\n\r\n{")
        else:
            await answer(writer)

    decision = play(breaking)
    assert decision.action == Click(element=7)
    assert [call.error_type for call in decision.calls] == ["connection_error", None]


def test_a_missing_key_is_for_good_and_can_be_told_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    agent = make_agent("llm", {"model": "m"})

    async def act() -> None:
        await agent.reset(task(30), 1)
        await agent.act(PAGE)

    with pytest.raises(EndpointError, match="OPENAI_API_KEY is not set") as error:
        asyncio.run(act())
    assert error.value.permanent
    said = missing_key("llm", {"model": "m"})
    assert said is not None
    assert said.startswith("environment variable OPENAI_API_KEY is not set")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    assert missing_key("llm", {"model": "m"}) is None
    assert missing_key("llm", {"model": "stand-in", "base_url": "stand-in"}) is None
    assert missing_key("rule-based", {}) is None
    monkeypatch.setenv("OPENAI_API_KEY", "kéy")
    assert "holds no key" in (missing_key("llm", {"model": "m"}) or "")


def test_parameters_that_nest_without_end_are_one_line() -> None:
    nested: object = 1
    for _ in range(5000):
        nested = [nested]
    for kind, name in (("llm", "model"), ("external", "settings"), ("replay", "actions")):
        with pytest.raises(ValueError, match="nest at most 32 levels deep") as error:
            make_agent(kind, {name: nested})
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "{" * 8_000_000,
        '{"a": "' * 1_000_000,
        '{"a":' * 1_000_000,
        "{}" * 4_000_000,
        '{"a":' + "1" * 8_000_000,
        ('{"a":[' + "1," * 100) * 10_000,
    ],
    ids=["braces", "open strings", "nested", "empty", "a number", "open lists"],
)
def test_an_answer_that_is_costly_to_search_is_given_up(text: str) -> None:
    """These took minutes each, in the loop that all episodes of a worker share."""
    with pytest.raises(UnusableAnswerError):
        read_answer(text, PAGE)
