"""The LLM agent: what it sends, what it accepts, and what it says of an endpoint that fails."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

from shared.evaluation.agents import describe_agent, kind_parameters_schema, make_agent, prompting
from shared.evaluation.agents.answering import UnusableAnswerError, read_answer
from shared.evaluation.protocol import (
    PAGE_ACTIONS,
    AgentError,
    Click,
    Decision,
    Element,
    EndpointError,
    Observation,
    Task,
)

KEY = "sk-proj-Zx81-very-secret"
TASK = Task(
    benchmark="miniwob",
    name="click-test",
    category="click",
    difficulty="easy",
    max_steps=5,
    timeout_seconds=30,
)
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
            attributes={"id": "subbtn"},
            interactive=True,
            box=(0, 0, 10, 10),
        ),
    ),
    step=0,
    dom_nodes=9,
)
RIGHT = json.dumps({"reasoning": "r", "confidence": 0.8, "action": {"kind": "click", "element": 7}})

Answer = tuple[int, bytes]


def completion(text: str | None, **more: object) -> Answer:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m-2026"}
    return 200, json.dumps({**body, "choices": [choice], **more}).encode()


@contextmanager
def endpoint(respond: Callable[[int], Answer]) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """A real HTTP server that gives `respond(n)` to the n-th request, and what it received."""
    received: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(
                {
                    **json.loads(body),
                    "authorization": self.headers.get("Authorization"),
                    "headers": dict(self.headers),
                }
            )
            status, answer = respond(len(received))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.send_header("retry-after-ms", "1")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        # Fifty may come at once; five wait by default, and others are refused.
        request_queue_size = 128

        def handle_error(self, request: object, client_address: object) -> None:
            # Who asked may have gone before it was answered.
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(url: str, **parameters: object) -> Decision:
    async def once() -> Decision:
        agent = make_agent("llm", {"model": "m", "base_url": url, **parameters})
        await agent.reset(TASK, 1)
        try:
            return await agent.act(PAGE)
        finally:
            await agent.close()

    return asyncio.run(once())


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch, with_environment: Callable[..., None]) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with_environment(
        OPENAI_API_KEY=KEY,
        HTTP_PROXY="http://127.0.0.1:9",
        MLOPS_MODEL_KEYS='{"OPENAI_API_KEY": ["api.openai.com", "127.0.0.1"]}',
    )


def test_an_answer_becomes_an_action_with_its_call_as_reported() -> None:
    usage = {
        "prompt_tokens": 500,
        "completion_tokens": 20,
        "total_tokens": 520,
        "prompt_tokens_details": {"cached_tokens": 384},
    }
    with endpoint(lambda n: completion(RIGHT, usage=usage)) as (url, received):
        decision = ask(url, temperature=0.0)
    (call,) = decision.calls
    sent = received[0]["messages"]
    assert decision.action == Click(element=7)
    assert (call.input_tokens, call.cached_input_tokens, call.output_tokens) == (500, 384, 20)
    assert (call.llm_model, call.provider, call.error_type) == ("m-2026", "127.0.0.1", None)
    assert call.confidence == 0.8
    assert call.query_length == sum(len(message["content"]) for message in sent)
    assert received[0]["temperature"] == 0.0
    assert received[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("variable", "gets_all"), [("OPENAI_API_KEY", True), ("BOX_KEY", False), (None, False)]
)
def test_the_operators_account_is_told_only_where_the_openai_key_goes(
    with_environment: Callable[..., None], variable: str | None, gets_all: bool
) -> None:
    secrets = {
        "OPENAI_ORG_ID": "org-of-the-operator",
        "OPENAI_PROJECT_ID": "proj-of-the-operator",
        "OPENAI_CUSTOM_HEADERS": "x-gateway: gateway-of-the-operator",
    }
    never = {"OPENAI_ADMIN_KEY": "admin-secret", "OPENAI_WEBHOOK_SECRET": "webhook-secret"}
    with_environment(
        BOX_KEY="box-key",
        MLOPS_MODEL_KEYS='{"OPENAI_API_KEY": ["127.0.0.1"], "BOX_KEY": ["127.0.0.1"]}',
        **secrets,
        **never,
    )
    with endpoint(lambda n: completion(RIGHT)) as (url, received):
        ask(url, api_key_env=variable)
    sent = json.dumps(received[0]["headers"])
    assert [value.split()[-1] in sent for value in secrets.values()] == [gets_all] * 3
    assert not any(value in sent for value in never.values())
    assert received[0]["authorization"] == {
        "OPENAI_API_KEY": f"Bearer {KEY}",
        "BOX_KEY": "Bearer box-key",
        None: None,
    }.get(variable)


def test_missing_usage_is_unknown_and_not_zero() -> None:
    with endpoint(lambda n: completion(RIGHT)) as (url, received):
        (call,) = ask(url).calls
    assert (call.input_tokens, call.cached_input_tokens, call.output_tokens) == (None, None, None)
    assert "temperature" not in received[0]


def test_an_unusable_answer_is_sent_back_with_what_is_wrong() -> None:
    wrong = '{"action": {"kind": "click", "element": 99}}'
    with endpoint(lambda n: completion(wrong if n == 1 else RIGHT)) as (url, received):
        decision = ask(url)
    assert decision.action == Click(element=7)
    assert [call.error_type for call in decision.calls] == ["invalid_answer", None]
    assert "element 99 is not in the list" in received[1]["messages"][-1]["content"]


def test_absurd_counts_are_unknown_and_half_a_character_is_left_out() -> None:
    answer = RIGHT.replace('"r"', '"r\\ud800\\u0000"')
    usage = {"prompt_tokens": 10**10, "completion_tokens": -1}
    with endpoint(lambda n: completion(answer, usage=usage, model="m" * 300)) as (url, _):
        decision = ask(url)
    (call,) = decision.calls
    assert (call.input_tokens, call.output_tokens, len(call.llm_model)) == (None, None, 200)


def test_nonsense_to_the_end_is_an_agent_error_with_the_calls_made() -> None:
    with (
        endpoint(lambda n: completion("I like pages.")) as (url, received),
        pytest.raises(AgentError, match="no usable action in 3 answers") as error,
    ):
        ask(url)
    assert len(received) == 3
    assert [call.error_type for call in error.value.calls] == ["invalid_answer"] * 3


def test_a_failing_endpoint_is_tried_again_and_every_http_call_is_recorded() -> None:
    def respond(n: int) -> Answer:
        return (503, b"{}") if n == 1 else (429, b"{}") if n == 2 else completion(RIGHT)

    with endpoint(respond) as (url, received):
        decision = ask(url)
    assert len(received) == 3
    assert [call.error_type for call in decision.calls] == ["http_503", "http_429", None]


@pytest.mark.parametrize(
    ("answer", "message", "error_types"),
    [
        ((500, b"no"), "failed with HTTP 500, after 2 attempts", ["http_500"] * 2),
        ((429, b"{}"), "too many requests or no quota", ["http_429"] * 2),
        (
            (401, json.dumps({"error": {"message": f"bad key {KEY}"}}).encode()),
            r"refused the key from OPENAI_API_KEY \(HTTP 401\)",
            ["http_401"],
        ),
        (
            (400, json.dumps({"error": {"message": f"bad {KEY} for sk-other12345"}}).encode()),
            r"refused the request \(HTTP 400\)",
            ["http_400"],
        ),
        (
            (404, b'{"error": {"message": "x", "code": "model_not_found"}}'),
            "knows no model 'm'",
            ["http_404"],
        ),
        ((404, b"<h1>nothing here</h1>"), "base_url must end where", ["http_404"]),
        ((200, b"<h1>hello</h1>"), "no chat completion", ["invalid_response"]),
        ((200, b"{}"), "no chat completion", ["invalid_response"]),
        ((200, b'{"choices": []}'), "no chat completion", ["invalid_response"]),
        ((200, b'{"choices": 5}'), "no chat completion", ["invalid_response"]),
        ((200, b'{"choices": [{"message": "hi"}]}'), "no chat completion", ["invalid_response"]),
        ((200, b"[1, 2"), "no chat completion", ["invalid_response"]),
    ],
)
def test_a_broken_endpoint_is_one_clear_line_without_the_key(
    answer: Answer, message: str, error_types: list[str]
) -> None:
    with endpoint(lambda n: answer) as (url, _), pytest.raises(AgentError, match=message) as error:
        ask(url, max_retries=1)
    said = f"{error.value}{error.value.calls}"
    assert [call.error_type for call in error.value.calls] == error_types
    assert all(call.input_tokens is None for call in error.value.calls)
    assert "\n" not in str(error.value)
    assert "secret" not in said
    assert "sk-" not in said


def test_an_endpoint_that_hangs_ends_after_the_timeout() -> None:
    release = Event()

    def respond(n: int) -> Answer:
        release.wait(5)
        return completion(RIGHT)

    with endpoint(respond) as (url, _):
        try:
            with pytest.raises(AgentError, match=r"within 0\.2 s, after 2 attempts") as error:
                ask(url, timeout_seconds=0.2, max_retries=1)
        finally:
            release.set()
    assert [call.error_type for call in error.value.calls] == ["timeout", "timeout"]


def test_an_endpoint_that_is_not_there_is_named() -> None:
    with pytest.raises(AgentError, match=r"cannot reach http://127\.0\.0\.1:9/v1") as error:
        ask("http://127.0.0.1:9/v1", max_retries=0)
    assert [call.error_type for call in error.value.calls] == ["connection_error"]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (
            {"api_key_env": "DATABASE_URL"},
            "DATABASE_URL may not go to http://127.0.0.1, only to no",
        ),
        ({"base_url": "https://foreign.example/v1"}, "may not go to https://foreign.example"),
        ({"base_url": "https://api.openai.com.foreign.example/v1"}, "may not go to"),
        ({"base_url": "http://api.openai.com/v1"}, "may not go to http://api.openai.com"),
    ],
)
def test_a_key_goes_only_where_the_operator_lets_it(
    with_environment: Callable[..., None], parameters: dict[str, str], said: str
) -> None:
    with_environment(DATABASE_URL="postgresql://app:hidden-secret@127.0.0.1/mlops")
    with endpoint(lambda n: completion(RIGHT)) as (url, received):
        asked = {"base_url": url, **parameters}
        # The worker refuses what another machine let in.
        with pytest.raises(EndpointError, match=said) as refused:
            ask(asked.pop("base_url"), **asked)
    assert not received
    assert "secret" not in str(refused.value)
    with pytest.raises(ValueError, match=said):
        describe_agent("llm", {"model": "m", "base_url": url, **parameters})


@pytest.mark.parametrize(
    ("environment", "parameters"),
    [
        ({}, {}),
        ({}, {"base_url": "https://foreign.example/v1", "api_key_env": None}),
        ({"OPENAI_BASE_URL": "http://box:8000/v1"}, {"base_url": "http://box:8000/v1"}),
        (
            {"MLOPS_MODEL_KEYS": '{"BOX_KEY": ["http://box"]}'},
            {"base_url": "http://box:8000/v1", "api_key_env": "BOX_KEY"},
        ),
    ],
)
def test_a_listed_host_or_none_is_no_question_of_keys(
    with_environment: Callable[..., None],
    environment: dict[str, str],
    parameters: dict[str, object],
) -> None:
    with_environment(**environment)
    assert describe_agent("llm", {"model": "m", **parameters})["model"] == "m"


def test_a_missing_key_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(AgentError, match="OPENAI_API_KEY is not set"):
        ask("http://127.0.0.1:9/v1")


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        ("human", {}, "must be one of rule-based, random, llm, replay, external"),
        ("rule-based", {"model": "m"}, "takes no parameter 'model': it takes nothing"),
        ("llm", {}, "needs the parameter 'model'"),
        ("llm", {"model": "m", "api_key": KEY}, "takes no parameter 'api_key'"),
        ("llm", {"model": "m", "api_key_env": KEY}, "must name an environment variable"),
        ("llm", {"model": "m", "base_url": "localhost:80"}, r"http\(s\) URL such as"),
        ("llm", {"model": "m", "base_url": f"http://u:{KEY}@h/v1"}, "no user, password"),
        ("llm", {"model": "gpt-4.1", "base_url": "stand-in"}, "only the model 'stand-in'"),
        ("llm", {"model": "m", "temperature": 9}, "temperature: .* less than or equal to 2"),
        ("llm", {"model": "m", "prompt_version": "v0"}, "must be one of v1, v2"),
    ],
)
def test_wrong_parameters_are_one_clear_line_without_their_values(
    kind: str, parameters: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        make_agent(kind, parameters)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_a_description_holds_all_that_decides_how_the_agent_acts() -> None:
    described = describe_agent("llm", {"model": "gpt-4.1-mini"})
    assert described["provider"] == "openai"
    assert described["temperature"] is None
    assert described["prompt_sha256"] == prompting.digest("v1")
    assert describe_agent("rule-based", {}) == {"kind": "rule-based"}


def test_the_schema_of_a_kind_names_its_parameters() -> None:
    properties = kind_parameters_schema("llm")["properties"]
    assert isinstance(properties, dict)
    assert {"model", "base_url", "api_key_env"} <= set(properties)


def test_making_agents_known_imports_neither_http_client_nor_browser() -> None:
    program = (
        "import sys, shared.evaluation.agents;"
        "sys.exit(bool({'httpx2', 'playwright'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_prompt_describes_every_action_from_its_model() -> None:
    text = prompting.system_prompt("v1", PAGE_ACTIONS)
    kinds = ("click", "double_click", "fill", "select_option", "press", "drag", "scroll", "wait")
    for kind in (*kinds, "report_infeasible"):
        assert f'{{"kind": "{kind}"' in text
    assert '"dy": <integer from -10000 to 10000>' in text
    assert '"element": <integer> or null' in text


@pytest.mark.parametrize(
    "text",
    [
        RIGHT,
        f"```json\n{RIGHT}\n```",
        f"First {{a}} thought: {{}}. {RIGHT} So be it.",
        '{"kind": "click", "element": 7}',
    ],
)
def test_the_action_is_found_in_what_stands_around_it(text: str) -> None:
    assert read_answer(text, PAGE).action == Click(element=7)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no JSON object"),
        ("[1]", "no JSON object"),
        ("{" * 5000, "no JSON object"),
        ("[" * 100_000, "no JSON object"),
        ('{"action": {"kind": "eval", "code": "1"}}', "action"),
        ('{"action": {"kind": "click"}}', "element"),
        ('{"action": {"kind": "click", "element": 7, "then": 1}}', "then"),
        ('{"action": {"kind": "drag", "element": 7, "onto": 8}}', "onto 8"),
        ('{"action": {"kind": "wait", "milliseconds": 1e99}}', "milliseconds"),
    ],
)
def test_anything_else_is_refused_with_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(UnusableAnswerError, match=problem):
        read_answer(text, PAGE)


def test_a_page_longer_than_the_limit_is_cut_and_says_so() -> None:
    many = PAGE.model_copy(update={"elements": PAGE.elements * 100})
    text = prompting.step_prompt("v1", many, prompting.Memory(), max_characters=1000)
    assert "more elements are not shown" in text
    assert len(text) < 1500
