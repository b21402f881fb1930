"""Agents from outside, over stdin and stdout and over HTTP: real programs, each in one file."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from shared.evaluation import asking
from shared.evaluation.agents import describe_agent, documentation, make_agent, messages
from shared.evaluation.protocol import (
    Action,
    AgentError,
    Click,
    Decision,
    Element,
    EndpointError,
    Observation,
    Outcome,
    Task,
)

DOCUMENT = Path(__file__).parents[3] / "docs" / "agents.md"
EXAMPLE = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)[0]
TASK = Task(
    benchmark="miniwob",
    name="click-button",
    category="click",
    difficulty="easy",
    max_steps=5,
    timeout_seconds=30,
)
PAGE = Observation(
    goal='Click on the "Yes" button.',
    url="http://127.0.0.1/",
    title="",
    text="No Yes",
    elements=tuple(
        Element(
            id=number,
            tag="button",
            role="button",
            text=text,
            attributes={},
            interactive=True,
            box=(0, 0, 1, 1),
        )
        for number, text in ((3, "No"), (4, "Yes"))
    ),
    step=0,
    dom_nodes=9,
    screenshot=b"\xff\xd8 a picture",
)

Allow = Callable[..., dict[str, Any]]


@pytest.fixture
def allowed(tmp_path: Path, with_environment: Callable[..., None]) -> Allow:
    """Write a program, let it be run as `mine`, and give the parameters that ask for it."""

    def allow(program: str, **parameters: object) -> dict[str, Any]:
        path = tmp_path / "agent.py"
        path.write_text(textwrap.dedent(program), "utf-8")
        with_environment(MLOPS_AGENT_COMMANDS=json.dumps({"mine": [sys.executable, str(path)]}))
        return {"command": "mine", **parameters}

    return allow


def play(parameters: dict[str, Any], steps: int = 1) -> list[Decision]:
    async def episode() -> list[Decision]:
        agent = make_agent("external", parameters)
        try:
            await agent.reset(TASK, 7)
            return [await agent.act(PAGE) for _ in range(steps)]
        finally:
            await agent.close()

    return asyncio.run(episode())


def test_the_example_of_the_documentation_plays_over_stdio(allowed: Allow) -> None:
    first, second = play(allowed(EXAMPLE), steps=2)
    assert first.action == second.action == {"kind": "click", "element": 4}
    assert first.reasoning == "the goal names 'Yes'"
    assert len(EXAMPLE.strip().splitlines()) <= 35


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The example of the documentation as an HTTP server; gives its address."""
    path = tmp_path / "agent.py"
    path.write_text(EXAMPLE, "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(path), "--http", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(500):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def test_the_example_of_the_documentation_plays_over_http(
    server: str, with_environment: Callable[..., None]
) -> None:
    with_environment(MLOPS_AGENT_HOSTS=json.dumps([server.removeprefix("http://")]))
    (decision,) = play({"url": server})
    assert decision.action == {"kind": "click", "element": 4}


ECHO = """
    import json, os, sys
    received = []
    for line in sys.stdin:
        received.append(json.loads(line))
        call = {"provider": "p", "llm_model": "m", "latency_ms": 5, "input_tokens": 7}
        print(json.dumps({
            "action": {"kind": "wait", "milliseconds": 1},
            "reasoning": json.dumps([received, dict(os.environ)]),
            "calls": [call],
        }), flush=True)
"""


def test_what_is_sent_keeps_to_the_schema_and_holds_no_secret_of_ours(
    allowed: Allow, with_environment: Callable[..., None]
) -> None:
    parameters = allowed(ECHO, settings={"depth": 3}, parts=["screenshot"])
    with_environment(DATABASE_URL="postgresql://u:hidden@127.0.0.1/x", SOME_KEY="theirs")
    (decision,) = play(parameters)
    (reset, act), environment = json.loads(decision.reasoning)
    schemas = messages.schemas()
    jsonschema.validate(reset, schemas["Reset"])
    jsonschema.validate(act, schemas["Act"])
    jsonschema.validate(act["observation"], schemas["Observation"])
    assert (reset["settings"], reset["seed"], reset["protocol"]) == ({"depth": 3}, 7, 1)
    assert {tool["function"]["name"] for tool in reset["tools"]} == set(TASK.actions)
    assert reset["session"] == act["session"]
    assert act["observation"]["screenshot"] == "/9ggYSBwaWN0dXJl"
    assert environment["SOME_KEY"] == "theirs"
    assert not {name for name in environment if name.startswith("MLOPS_")}
    assert "hidden" not in json.dumps(environment)
    (call,) = decision.calls
    assert (call.input_tokens, call.output_tokens, call.latency_ms) == (7, None, 5)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (
            "import sys; sys.exit('no model is loaded')",
            "ended with exit code 1: no model is loaded",
        ),
        ("input(); print('thinking...', flush=True); input()", "answered 'thinking...'"),
        ("input(); print('[]', flush=True); input()", "answered '\\[\\]'"),
        ('input(); print(\'{"error": "too hard"}\', flush=True)', "refused the task: too hard"),
        ("input(); print('{}', flush=True); input(); print('{}', flush=True)", "neither"),
        ("import time; time.sleep(60)", "did not answer within 1 s"),
        ("import sys\nwhile True: sys.stdout.write('x' * 1000000)", "a line of more than 8 MB"),
        ("import os, time; os.close(1); time.sleep(60)", "closed its output"),
    ],
)
def test_what_a_program_does_wrong_is_the_agents_error_in_one_line(
    allowed: Allow, program: str, said: str
) -> None:
    with pytest.raises(AgentError, match=said) as error:
        play(allowed(program, timeout_seconds=1 if "within" in said else 20))
    assert not isinstance(error.value, EndpointError)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("away", [False, True])
def test_a_program_and_all_that_it_started_are_gone_after_the_episode(
    allowed: Allow, tmp_path: Path, away: bool
) -> None:
    started = tmp_path / "child"
    program = f"""
        import json, signal, subprocess, sys
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen(["sleep", "600"], start_new_session={away})
        open({str(started)!r}, "w").write(str(child.pid))
        for line in sys.stdin:
            print('{{"action": {{"kind": "wait", "milliseconds": 1}}}}', flush=True)
        signal.pause()
    """
    play(allowed(program))
    child = int(started.read_text())
    for _ in range(500):
        if not _runs(child):
            break
        time.sleep(0.02)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_only_what_the_operator_names_is_run_and_asked(
    with_environment: Callable[..., None],
) -> None:
    with_environment(
        MLOPS_AGENT_COMMANDS='{"other": ["/nowhere/agent"]}',
        MLOPS_AGENT_HOSTS='["agents.example.org", "127.0.0.1:8700"]',
        OTHER_KEY="sk-secret-of-the-worker",
    )
    for parameters, said in (
        ({"command": "sh"}, r"no agent program 'sh' may be run here, only other"),
        ({"url": "http://127.0.0.1:6379"}, r"at http://127\.0\.0\.1:6379 may not be asked, only"),
        ({"url": "http://agents.example.org"}, r"may not be asked"),
        ({"url": "https://agents.example.org:8443"}, r"may not be asked"),
        (
            {"url": "https://agents.example.org", "api_key_env": "OTHER_KEY"},
            "OTHER_KEY may not go to https://agents.example.org",
        ),
    ):
        with pytest.raises(ValueError, match=said):
            describe_agent("external", parameters)
        # The worker refuses what another machine let in.
        with pytest.raises(EndpointError, match=said) as error:
            play(parameters)
        assert error.value.permanent
    for parameters in ({"url": "https://agents.example.org/a"}, {"url": "http://127.0.0.1:8700"}):
        assert describe_agent("external", parameters)["url"] == parameters["url"]


def test_an_agent_that_is_not_there_is_no_fault_of_the_agent(
    with_environment: Callable[..., None],
) -> None:
    with_environment(
        MLOPS_AGENT_COMMANDS='{"mine": ["/nowhere/agent"]}', MLOPS_AGENT_HOSTS='["127.0.0.1:9"]'
    )
    with pytest.raises(EndpointError, match="'mine' cannot be started: No such file"):
        play({"command": "mine"})
    with pytest.raises(EndpointError, match=r"cannot reach http://127\.0\.0\.1:9/reset"):
        play({"url": "http://127.0.0.1:9"})


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, "give either the command or the url"),
        ({"command": "a", "url": "http://h"}, "either"),
        ({"url": "ftp://h"}, "http"),
        ({"url": "http://u:secret@h"}, "no user, password"),
        ({"command": "a", "parts": ["sound"]}, "parts.0"),
        ({"command": "a", "api_key_env": "K"}, "goes with url"),
    ],
)
def test_wrong_parameters_are_one_line(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        describe_agent("external", parameters)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("action", "checked", "said"),
    [
        ('{"kind": "click", "element": 4}', Click(element=4), ""),
        ('{"kind": "eval", "code": "1"}', None, "malformed"),
        ('{"kind": "click", "element": 4, "then": 1}', None, "malformed"),
    ],
)
def test_an_action_is_checked_like_that_of_any_agent(
    allowed: Allow, action: str, checked: Action | None, said: str
) -> None:
    program = f"""
        import sys
        for line in sys.stdin:
            print('{{"action": {action}}}', flush=True)
    """

    async def asked() -> asking.Answer:
        agent = make_agent("external", allowed(program))
        assert await asking.reset(agent, TASK, 7) is None
        answer = await asking.ask(agent, PAGE)
        await agent.close()
        return answer

    answer = asyncio.run(asked())
    assert answer.action == checked
    assert said in (answer.error or "")
    assert answer.fatal is None


def test_an_agent_that_cannot_be_reached_at_reset_is_for_good_where_it_is_not_allowed(
    with_environment: Callable[..., None],
) -> None:
    with_environment(MLOPS_AGENT_HOSTS='["127.0.0.1:9"]')
    for url, permanent in (("http://127.0.0.1:9", False), ("http://127.0.0.1:10", True)):
        refused = asyncio.run(asking.reset(make_agent("external", {"url": url}), TASK, 7))
        assert refused is not None
        assert (refused.fatal, refused.permanent) == (Outcome.ENVIRONMENT_ERROR, permanent)


def test_the_schema_of_an_action_takes_what_an_agent_answers() -> None:
    answer = messages.ActAnswer.model_validate_json('{"action": {"kind": "click", "element": 4}}')
    jsonschema.validate(answer.action, messages.schemas()["click"])


def test_the_schemas_are_printed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "shared.evaluation.agents.messages"],
        capture_output=True,
        check=True,
        env=os.environ,
    )
    printed = json.loads(done.stdout)
    assert {"Reset", "Act", "Close", "ActAnswer", "Observation", "click"} <= set(printed)
    for schema in printed.values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_the_documentation_lists_the_parameters_as_they_are() -> None:
    document = DOCUMENT.read_text("utf-8")
    assert documentation.written(document) == document
