"""Functions over HTTP: a real server on a loopback port, real endpoints behind its variants."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Event, Thread
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from shared.costs import reserving
from shared.costs.aggregation import Period
from shared.costs.budgeting import set_budget
from shared.costs.budgets import Budget
from shared.database import TenantId, tenant_session
from shared.functions.definition import parse
from shared.functions.registering import create
from shared.telemetry.tables import EventRow
from shared.tenancy.tenants import create_api_key, create_tenant, revoke_api_key
from tests.shared.evaluation.test_llm_agent import Answer, completion, endpoint
from web import connections
from web.server import address_of, listen, server

QUERY = "Analyze quarterly performance"
USAGE = {"prompt_tokens": 100, "completion_tokens": 10}
LONGEST = 100_000


class Team:
    """A tenant with a key, its functions and their endpoints."""

    def __init__(self, stack: ExitStack) -> None:
        self.tenant: TenantId = create_tenant(f"test-{uuid.uuid4()}")
        with tenant_session(self.tenant) as session:
            self.key = create_api_key(session, "web")
        self.asked: dict[str, list[dict[str, Any]]] = {}
        self._stack = stack

    def function(self, name: str, respond: Callable[[int], Answer], **more: Any) -> None:
        url, self.asked[name] = self._stack.enter_context(endpoint(respond))
        variant = {"name": "only", "model": "m", "base_url": url, "api_key_env": None}
        variant |= {"max_retries": 0} | more.pop("variant", {})
        with tenant_session(self.tenant) as session:
            create(session, parse({"name": name, "variants": [variant]} | more))

    def events(self, name: str) -> list[EventRow]:
        with tenant_session(self.tenant) as session:
            query = sa.select(EventRow).where(EventRow.function == name)
            return list(session.scalars(query.order_by(EventRow.occurred_at, EventRow.kind)))


@pytest.fixture(scope="module")
def team(services: object) -> Iterator[Team]:
    with ExitStack() as stack:
        made = Team(stack)
        made.function(
            "ai-generate-insight",
            lambda n: completion("Sales grew.", usage=USAGE),
            variant={"prompt": "$query of $department"},
        )
        yield made


@pytest.fixture(scope="module")
def url(services: object) -> Iterator[str]:
    with served() as address:
        yield address


@contextmanager
def served() -> Iterator[str]:
    listening, serving = listen("127.0.0.1", 0), server()
    thread = Thread(target=serving.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield address_of(listening)
    finally:
        serving.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture(scope="module")
def http() -> Iterator[httpx2.Client]:
    with httpx2.Client(trust_env=False, timeout=30) as client:
        yield client


Post = Callable[..., httpx2.Response]


@pytest.fixture
def post(url: str, team: Team, http: httpx2.Client) -> Post:
    """Ask over HTTP, with the team's key if no other is given."""

    def ask(
        name: str = "ai-generate-insight", body: Any = None, key: str | None = None, **more: Any
    ) -> httpx2.Response:
        given = {"query": QUERY, "context": {"department": "sales"}} if body is None else body
        content = given if isinstance(given, bytes) else json.dumps(given).encode()
        headers = {
            "Authorization": f"Bearer {team.key if key is None else key}",
            "Content-Type": "application/json",
        } | more.pop("headers", {})
        sent = {n: v for n, v in headers.items() if v is not None}
        return http.post(f"{url}/functions/v1/{name}", content=content, headers=sent, **more)

    return ask


def problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The problem of an answer, which is what every error is."""
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    ), answer.text
    said: dict[str, Any] = answer.json()
    assert (said["status"], said["code"]) == (status, code)
    assert "\n" not in said["detail"]
    assert said["request_id"] == answer.headers["x-request-id"]
    return said


def test_the_described_request_is_answered_with_what_it_took(post: Post, team: Team) -> None:
    answer = post()
    assert answer.status_code == 200
    said = answer.json()
    assert (said["text"], said["function"]) == ("Sales grew.", "ai-generate-insight@1")
    assert (said["variant"], said["outcome"], said["quality"]) == ("only", "answered", 1)
    assert (said["input_tokens"], said["output_tokens"], said["calls"]) == (100, 10, 1)
    # Nobody sells this model: unknown, with a reason, and not 0.
    assert said["cost_nanos"] is None
    assert said["cost_reason"]
    assert len(answer.headers["x-request-id"]) == 32
    sent = team.asked["ai-generate-insight"][-1]["messages"]
    assert sent == [{"role": "user", "content": f"{QUERY} of sales"}]
    recorded = [e for e in team.events("ai-generate-insight") if str(e.task_id) == said["id"]]
    assert {event.kind for event in recorded} == {"task_start", "llm_call", "task_end"}


def test_the_unit_may_be_given(post: Post) -> None:
    body = {"query": "q", "context": {"department": "x"}, "unit_id": "u-1"}
    said = post(body=body).json()
    assert (said["unit"], said["unit_from"]) == ("u-1", "given")


@pytest.mark.parametrize(
    ("authorization", "said"),
    [
        (None, "no API key"),
        ("Basic bWxvcHM6bWxvcHM=", "no bearer token"),
        ("Bearer", "no bearer token"),
        ("Bearer mlops_wrong", "unknown or was revoked"),
        ("Bearer " + "mlops_" + "x" * 5_000, "unknown or was revoked"),
        ("Bearer \xe9", "unknown or was revoked"),
    ],
)
def test_without_a_key_that_opens_nothing_is_asked(
    post: Post, team: Team, authorization: str | None, said: str
) -> None:
    before = len(team.asked["ai-generate-insight"])
    raw = None if authorization is None else authorization.encode("latin-1")
    answer = post(headers={"Authorization": raw})
    assert said in problem(answer, 401, "unauthorized")["detail"]
    assert answer.headers["www-authenticate"] == "Bearer"
    assert len(team.asked["ai-generate-insight"]) == before


def test_a_revoked_key_opens_nothing_from_then_on(post: Post, team: Team) -> None:
    with tenant_session(team.tenant) as session:
        key = create_api_key(session, "short-lived")
    assert post(key=key).status_code == 200
    with tenant_session(team.tenant) as session:
        revoke_api_key(session, "short-lived")
    problem(post(key=key), 401, "unauthorized")


def test_no_key_sees_the_functions_of_another_tenant(post: Post, team: Team) -> None:
    with ExitStack() as stack:
        other = Team(stack)
        other.function("secret-plan", lambda n: completion("Ours.", usage=USAGE))
        assert post("secret-plan", key=other.key).json()["text"] == "Ours."
        hidden = problem(post("secret-plan"), 404, "unknown_function")
        assert "did you mean" not in hidden["detail"]
        foreign = problem(post(key=other.key), 404, "unknown_function")
        assert foreign["detail"] == "no function 'ai-generate-insight'; there is: secret-plan"


def test_an_unknown_name_tells_those_that_are_near(post: Post) -> None:
    said = problem(post("ai-generate-insigth"), 404, "unknown_function")["detail"]
    assert said == "no function 'ai-generate-insigth'; did you mean 'ai-generate-insight'?"


@pytest.mark.parametrize(
    "name", ["..%2f..%2fetc%2fpasswd", "../readyz", "%00", "a%ff", "x" * 5_000, "a@99", "a@-1", " "]
)
def test_a_hostile_name_is_a_name_that_is_not_there(post: Post, name: str) -> None:
    answer = post(name)
    assert answer.status_code == 404
    assert answer.json()["code"] in ("unknown_function", "not_found")


def test_other_addresses_and_methods_are_problems_too(url: str, http: httpx2.Client) -> None:
    problem(http.get(f"{url}/nothing"), 404, "not_found")
    refused = http.get(f"{url}/functions/v1/ai-generate-insight")
    problem(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{not json",
        b'{"query": "x"',
        b'{"query": NaN}',
        b'{"query": "\xff"}',
        b'{"query": "\\ud800"}',
        b'{"query": ' + b"[" * 200_000,
        b'{"query": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}",
    ],
)
def test_what_is_no_json_is_said_in_one_line(post: Post, body: bytes) -> None:
    assert "the body is no JSON: " in problem(post(body=body), 400, "malformed_json")["detail"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "the body must be a JSON object"),
        ({}, "query: Field required"),
        ({"query": 5}, "query: Input should be a valid string"),
        ({"query": "x" * 1_000_001}, "query: String should have at most 1000000 characters"),
        ({"query": "x", "context": []}, "context: Input should be a valid dictionary"),
        ({"query": "x", "model": "mine"}, "model: Extra inputs are not permitted"),
        ({"query": "x"}, "the prompt needs department in the context, which has nothing"),
        ({"query": "x", "context": {"department": 10**300}, "unit_id": "a\x00b"}, "without NUL"),
        ({"query": "x", "context": {"department": "d"}, "unit_id": ""}, "of 0 characters"),
    ],
)
def test_a_request_that_does_not_fit_says_what_would(post: Post, body: Any, said: str) -> None:
    assert said in problem(post(body=body), 422, "invalid_request")["detail"]


def test_what_only_looks_hostile_is_data(post: Post, team: Team) -> None:
    body = {"query": "a\x00b $department ${x} {{7*7}}", "context": {"department": "$query"}}
    assert post(body=body).status_code == 200
    # PostgreSQL and models take no NUL; a template in a value is never read as one.
    (sent,) = team.asked["ai-generate-insight"][-1]["messages"]
    assert sent["content"] == "ab $department ${x} {{7*7}} of $query"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": None},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Encoding": "gzip"},
    ],
)
def test_only_plain_json_is_taken(post: Post, headers: dict[str, str | None]) -> None:
    answer = post(headers=headers)
    problem(answer, 415, "unsupported_media_type")
    assert answer.headers["accept-post"] == "application/json"


def raw(url: str, head: str, team: Team | None = None) -> socket.socket:
    """A connection on which only this has been sent."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    key = f"Authorization: Bearer {team.key}\r\n" if team else ""
    connection.sendall(head.replace("\n", "\r\n").replace("KEY\r\n", key).encode("latin-1"))
    return connection


POST = (
    "POST /functions/v1/ai-generate-insight HTTP/1.1\nHost: x\nKEY\n"
    "Content-Type: application/json\n"
)


@pytest.mark.parametrize("length", ["Content-Length: 1073741824", "Transfer-Encoding: chunked"])
def test_a_body_of_a_gigabyte_is_refused_and_not_read(
    url: str, team: Team, with_environment: Callable[..., None], length: str
) -> None:
    with_environment(MLOPS_WEB_BODY_BYTES=str(LONGEST))
    piece = b"x" * 65_536
    if "chunked" in length:
        piece = b"10000\r\n" + piece + b"\r\n"
    sent = 0
    with raw(url, f"{POST}{length}\n\n", team) as connection:
        try:
            while sent < 2**30:
                connection.sendall(piece)
                sent += len(piece)
        except (ConnectionResetError, BrokenPipeError):
            pass
    # What the kernel's buffers and the wait for the reader of the answer take.
    assert sent < 2**25
    with raw(url, f"{POST}{length}\n\n", team) as connection:
        connection.sendall(piece * 2)
        answer = b""
        while b"request_id" not in answer:
            answer += connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"body_too_large"' in answer


@pytest.mark.parametrize(
    "head",
    [
        "POST / HTTP/1.1\nHost: x\nX: " + "x" * 40_000,
        "POST /functions/v1/\xe9 HTTP/1.1\nHost: x\n\n",
        "GET / HTTP/1.1\n\n",
        "GET / HTTP/1.1\nHost: a\nHost: b\n\n",
        "\x16\x03\x01\x02\x00\x01\x00\n\n",
        "POST /x HTTP/1.1\nHost: x\nContent-Length: -5\n\n",
        "POST /x HTTP/1.1\nHost: x\nContent-Length: 5\nContent-Length: 6\n\n",
    ],
)
def test_what_is_no_http_is_a_problem_and_the_end_of_the_connection(url: str, head: str) -> None:
    with raw(url, head) as connection:
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer


def test_no_answer_depends_on_the_host_that_is_asked_for(post: Post) -> None:
    assert post(headers={"Host": "evil.example"}).status_code == 200


@pytest.mark.parametrize("head", ["", "POST /functions/v1/x HTTP/1.1\nHost: x\nX-Slow: "])
def test_a_head_that_does_not_come_to_its_end_is_not_waited_for(
    url: str, monkeypatch: pytest.MonkeyPatch, head: str
) -> None:
    monkeypatch.setattr(connections.Connection, "head_seconds", 0.1)
    with raw(url, head) as connection:
        assert connection.recv(100) == b""


def test_a_body_that_drips_is_not_waited_for(
    url: str, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.bodies.BODY_SECONDS", 0.1)
    with raw(url, f"{POST}Content-Length: 50\n\n", team) as connection:
        connection.sendall(b'{"query"')
        assert connection.recv(65_536).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("answer", "status", "code", "retry_after"),
    [
        ((429, b"{}"), 429, "no_answer_rate_limited", "1"),
        ((503, b"{}"), 503, "no_answer_unavailable", "1"),
        ((500, b"{}"), 502, "no_answer_broken", "1"),
        ((401, b"{}"), 502, "no_answer_broken", None),
        ((200, b"{}"), 502, "no_answer_broken", None),
    ],
)
def test_what_the_models_endpoint_does_is_told_as_a_gateway_does(
    post: Post, team: Team, answer: Answer, status: int, code: str, retry_after: str | None
) -> None:
    name = f"failing-{answer[0]}"
    team.function(name, lambda n: answer)
    refused = post(name, {"query": "q"})
    said = problem(refused, status, code)
    assert refused.headers.get("retry-after") == retry_after
    assert said["detail"].startswith(f"function {name}@1 gave no answer: only: http://127.0.0.1")
    # It may have cost something.
    assert (said["invocation"]["calls"], said["invocation"]["cost_nanos"]) == (1, None)


@contextmanager
def hanging(team: Team, name: str, **more: Any) -> Iterator[Event]:
    """A function whose endpoint does not answer; the event is set once it is asked."""
    asked, over = Event(), Event()

    def hang(n: int) -> Answer:
        asked.set()
        over.wait(30)
        return 500, b"{}"

    team.function(name, hang, **more)
    try:
        yield asked
    finally:
        over.set()


def test_a_model_that_is_too_slow_is_a_gateways_timeout(post: Post, team: Team) -> None:
    with hanging(team, "slow", deadline_seconds=0.3):
        problem(post("slow", {"query": "q"}), 504, "no_answer_timeout")


def until(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def test_a_request_ends_at_its_own_deadline_and_is_recorded(
    post: Post, team: Team, with_environment: Callable[..., None]
) -> None:
    with_environment(MLOPS_WEB_REQUEST_SECONDS="0.3")
    with hanging(team, "slower"):
        problem(post("slower", {"query": "q"}), 504, "too_slow")
    assert [e.error_type for e in team.events("slower") if e.kind == "llm_call"] == ["aborted"]


def test_a_client_that_goes_away_breaks_its_call_off(url: str, team: Team) -> None:
    body = b'{"query": "q"}'
    head = POST.replace("ai-generate-insight", "left") + f"Content-Length: {len(body)}\n\n"
    with hanging(team, "left") as asked:
        with raw(url, head, team) as connection:
            connection.sendall(body)
            assert asked.wait(20)
        events = until(lambda: team.events("left"))
    assert [e.error_type for e in events if e.kind == "llm_call"] == ["aborted"]


def test_a_server_that_is_stopped_breaks_its_calls_off_and_records_them(
    team: Team, http: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.server.STOP_SECONDS", 0.1)
    with hanging(team, "stopped") as asked, ThreadPoolExecutor(1) as pool:
        with served() as address:
            given = {"Authorization": f"Bearer {team.key}"}
            there = f"{address}/functions/v1/stopped"
            asking = pool.submit(http.post, there, json={"query": "q"}, headers=given)
            assert asked.wait(20)
        problem(asking.result(), 503, "stopping")
    assert [e.error_type for e in team.events("stopped") if e.kind == "llm_call"] == ["aborted"]


def test_a_hard_stop_is_a_refusal(post: Post, clean_redis: object) -> None:
    with ExitStack() as stack:
        poor = Team(stack)
        poor.function("costly", lambda n: completion("x", usage=USAGE))
        with tenant_session(poor.tenant) as session:
            set_budget(session, Budget(Period.DAY, 1, hard_stop=True))
        reserving._limits.forget()
        said = problem(post("costly", {"query": "q"}, poor.key), 403, "no_answer_hard_stop")
        assert "a hard stop cannot be kept with m" in said["detail"]
        assert poor.asked["costly"] == []


def test_fifty_requests_at_a_time_are_answered_each_with_its_own(post: Post, team: Team) -> None:
    team.function("echo", lambda n: completion(str(n), usage=USAGE))

    def one(n: int) -> dict[str, Any]:
        answer = post("echo", {"query": "q", "unit_id": f"u-{n}"})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(one, range(50)))
    assert [answer["unit"] for answer in answers] == [f"u-{n}" for n in range(50)]
    assert sorted(int(answer["text"]) for answer in answers) == list(range(1, 51))
    assert len({event.task_id for event in team.events("echo")}) == 50


def test_who_finds_no_place_is_told_to_come_again(
    team: Team, post: Post, with_environment: Callable[..., None], http: httpx2.Client
) -> None:
    with_environment(MLOPS_WEB_CONCURRENCY="1")
    with served() as address, hanging(team, "holding") as asked, ThreadPoolExecutor(1) as pool:
        there = f"{address}/functions/v1/holding"
        given: dict[str, Any] = {
            "json": {"query": "q"},
            "headers": {"Authorization": f"Bearer {team.key}"},
        }
        with httpx2.Client(trust_env=False) as leaving:

            def leave() -> None:
                with pytest.raises(httpx2.ReadTimeout):
                    leaving.post(there, timeout=0.4, **given)

            first = pool.submit(leave)
            assert asked.wait(20)
            refused = http.post(there, **given)
            first.result()
        problem(refused, 503, "busy")
        assert refused.headers["retry-after"] == "1"
        # The one that went away gives its place back.
        found = f"{address}/functions/v1/ai-generate-insight"
        given["json"] |= {"context": {"department": "x"}}
        until(lambda: http.post(found, **given).status_code == 200)


def test_while_postgresql_is_away_everybody_is_told_to_come_again(
    post: Post,
    url: str,
    http: httpx2.Client,
    with_environment: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("web.health.FRESH_SECONDS", 0)
    with_environment(DATABASE_URL="postgresql://u:hunter2@127.0.0.1:1/x")
    answer = post()
    assert "hunter2" not in answer.text
    problem(answer, 503, "database_away")
    assert answer.headers["retry-after"] == "5"
    assert http.get(f"{url}/healthz").json() == {"status": "ok"}
    not_ready = problem(http.get(f"{url}/readyz"), 503, "not_ready")
    assert not_ready["services"] == {"PostgreSQL": "away", "Redis": "ok"}


def test_it_is_ready_while_both_services_are(
    url: str, http: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.health.FRESH_SECONDS", 0)
    ready = http.get(f"{url}/readyz")
    assert ready.status_code == 200
    assert ready.json() == {"PostgreSQL": "ok", "Redis": "ok"}


def test_an_error_of_the_server_shows_nothing_but_an_id_that_is_in_the_log(
    post: Post, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: object) -> None:
        raise KeyError("hunter2")

    monkeypatch.setattr("web.functions.invoke", fails)
    answer = post()
    assert "hunter2" not in answer.text
    found = problem(answer, 500, "internal")["request_id"]
    (logged,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert found in logged.getMessage()


def test_a_request_is_one_line_in_the_log_without_its_key(
    post: Post, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    request_id = post("x%0aforged%1b[2J").headers["x-request-id"]
    until(lambda: any(request_id in line for line in caplog.messages))
    (line,) = [line for line in caplog.messages if line.startswith(request_id)]
    assert "POST /functions/v1/x\\nforged\\x1b[2J 404 " in line
    assert team.key not in caplog.text


def test_it_describes_itself(url: str, http: httpx2.Client) -> None:
    described = http.get(f"{url}/openapi.json").json()
    asked = described["paths"]["/functions/v1/{name}"]["post"]
    schema = asked["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["query"]
    assert http.get(f"{url}/docs").status_code == 404


def test_a_killed_process_leaves_a_call_recorded_whole_or_not_at_all(team: Team) -> None:
    environment = os.environ | {"MLOPS_WEB_PORT": "0"}
    command = [sys.executable, "-m", "mlops.cli", "web"]
    with (
        hanging(team, "killed") as asked,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        told = process.stdout.readline()
        assert told.startswith("functions are at http://127.0.0.1:")
        address = told.split()[-1].removesuffix("NAME")
        given: dict[str, Any] = {"headers": {"Authorization": f"Bearer {team.key}"}}
        with httpx2.Client(trust_env=False, timeout=30) as http:
            body = {"query": "q", "context": {"department": "x"}}
            assert http.post(f"{address}ai-generate-insight", json=body, **given).status_code == 200

            def ask() -> None:
                with pytest.raises(httpx2.TransportError):
                    http.post(f"{address}killed", json={"query": "q"}, **given)

            with ThreadPoolExecutor(1) as pool:
                asking = pool.submit(ask)
                assert asked.wait(20)
                process.send_signal(signal.SIGKILL)
                asking.result()
    assert team.events("killed") == []


def test_a_port_that_is_taken_is_one_line(url: str) -> None:
    from typer.testing import CliRunner

    from mlops.cli import app

    answer = CliRunner().invoke(app, ["web", "--port", url.rpartition(":")[2]])
    assert answer.exit_code == 1
    assert "cannot listen at 127.0.0.1 port" in answer.stderr
    assert answer.stderr.count("\n") == 1
