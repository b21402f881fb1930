"""A benchmark of one's own, from its YAML file to its rows, as a worker does it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import TenantId, tenant_session
from shared.evaluation.agents.registry import describe_agent
from shared.evaluation.custom.checking import load
from shared.evaluation.runs import EvaluationError, create_run
from shared.evaluation.tables import BenchmarkRun, Episode, EvaluationTask
from shared.jobs import claims
from shared.jobs.contracts import EvaluateEpisode, RunBenchmark
from shared.jobs.execution import Failed, Succeeded, TryAgain
from shared.jobs.leases import Lease
from shared.jobs.tables import JobRow
from shared.registry import models
from tasks.evaluation import evaluate
from workers.browser import BrowserRuntime

YAML = """\
name: museum
defaults: {{max_steps: 3, timeout_seconds: 20, actions: [click, answer]}}
tasks:
  - name: press
    task_prompt: Click on the "{{{{word}}}}" button.
    start: {{file: press.html, fill_values: true}}
    cases: [{{word: Open}}, {{word: Close}}]
    success_criteria:
      element: {{selector: "#said", has_text: "{{{{word}}}}"}}
  - name: impossible
    task_prompt: Click on the "Open" button.
    start: {{file: press.html}}
    success_criteria: {{visited: {{prefix: /elsewhere}}}}
  - name: hours
    task_prompt: When does it open?
    start: {{html: "<button>9</button>"}}
    success_criteria:
      answer: {{number: 9}}
      judge:
        question: Does it say when?
        model: {{model: judge-1, base_url: "{origin}/v1", api_key_env: null, max_retries: 0}}
"""
PRESS = """<!doctype html><button onclick="said.textContent = this.textContent">Open</button>
<button onclick="said.textContent = this.textContent">Close</button><p id=said></p>"""


class Models:
    """An endpoint that is both the agent's model, which answers 9, and the judge."""

    def __init__(self) -> None:
        self.verdict = "success"
        models = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                action = {"kind": "answer", "text": "At 9."}
                said: Any = {"reasoning": "I see it.", "action": action}
                if asked["model"] == "judge-1":
                    said = {"reason": "It does.", "verdict": models.verdict}
                message = {"role": "assistant", "content": json.dumps(said)}
                usage = {"prompt_tokens": 50, "completion_tokens": 5}
                reply = {"choices": [{"message": message}], "usage": usage}
                body = json.dumps(reply).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.origin = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def endpoint() -> Iterator[Models]:
    made = Models()
    yield made
    made.close()


def create(tenant: TenantId, definition: Any, **more: Any) -> None:
    job = RunBenchmark(benchmark="museum", definition=definition, recording="none", **more)
    with tenant_session(tenant) as session:
        create_run(session, job, _no_test, lambda version: None)


def _no_test(session: Session, split: Any) -> Any:
    raise AssertionError("this run names its models")


def work(tenant: TenantId, browser: BrowserRuntime) -> list[Any]:
    """Do all queued episodes as a worker does; how they ended."""
    with tenant_session(tenant) as session:
        jobs = session.scalars(
            sa.select(JobRow.id).where(JobRow.kind == "evaluate_episode", JobRow.status == "queued")
        ).all()
    endings = []
    for job_id in jobs:
        claim = claims.claim(tenant, job_id, worker="w", lease_seconds=60)
        assert claim is not None
        record = evaluate(browser, EvaluateEpisode.model_validate(claim.payload), Lease(claim))
        with tenant_session(tenant) as session:
            ending = record(session)
            match ending:
                case Succeeded(summary):
                    claims.succeed(session, claim, summary)
                case Failed(error, summary):
                    claims.fail(session, claim, error, summary)
                case TryAgain(error):
                    claims.give_back(session, claim, error)
        endings.append(ending)
    return endings


def test_a_yaml_file_becomes_episodes_with_results(
    tenant: TenantId, browser: BrowserRuntime, tmp_path: Path, endpoint: Models
) -> None:
    (tmp_path / "press.html").write_text(PRESS)
    path = tmp_path / "museum.yaml"
    path.write_text(YAML.format(origin=endpoint.origin))
    definition = load(path).definition()
    # A worker is another machine: there are no such files.
    path.unlink()
    (tmp_path / "press.html").unlink()
    llm = {"model": "agent-1", "base_url": f"{endpoint.origin}/v1", "api_key_env": None}
    with tenant_session(tenant) as session:
        models.register(session, "rules", "1.0.0", "rule-based", {}, check=describe_agent)
        models.register(session, "llm", "1.0.0", "llm", llm, check=describe_agent)
    create(tenant, definition, models=("rules",), tasks=("press", "impossible"), seeds=(0, 1))
    create(tenant, definition, models=("llm",), tasks=("hours",), seeds=(0,))
    assert [type(one) for one in work(tenant, browser)] == [Succeeded] * 5
    endpoint.verdict = "failure"
    create(tenant, definition, models=("llm",), tasks=("hours",), seeds=(1,))
    (ending,) = work(tenant, browser)
    assert ending == Succeeded({"outcome": "failure", "reason": "the judge: It does."})
    endpoint.verdict = "perhaps"
    create(tenant, definition, models=("llm",), tasks=("hours",), seeds=(2,))
    (ending,) = work(tenant, browser)
    assert isinstance(ending, TryAgain)
    assert "gave no verdict in 2 answers" in ending.error

    with tenant_session(tenant) as session:
        rows = session.execute(
            sa.select(EvaluationTask.name, Episode.seed, Episode.outcome)
            .join(EvaluationTask, EvaluationTask.id == Episode.task_id)
            .where(Episode.outcome != "environment_error")
            .order_by(EvaluationTask.name, Episode.seed)
        ).all()
        assert [tuple(row) for row in rows] == [
            ("hours", 0, "success"),
            ("hours", 1, "failure"),
            ("impossible", 0, "failure"),
            ("impossible", 1, "failure"),
            ("press", 0, "success"),
            ("press", 1, "success"),
        ]
        judged = session.scalars(sa.select(Episode).where(Episode.outcome == "success")).all()
        (hours,) = (one for one in judged if one.judgements is not None)
        assert (hours.llm_calls, hours.input_tokens) == (1, 50)
        (judgement,) = hours.judgements or ()
        assert judgement["success"] is True
        assert (judgement["model"], judgement["llm_calls"], judgement["attempt"]) == (
            "judge-1",
            1,
            1,
        )
        events = [
            event
            for payload in session.scalars(
                sa.select(JobRow.payload).where(JobRow.kind == "ingest_events")
            )
            for event in payload["events"]
            if event["kind"] == "llm_call" and event["task_id"] == str(hours.id)
        ]
        assert {event["model"] for event in events} == {"llm@1.0.0", "judge:judge-1"}
        stored = session.scalars(sa.select(EvaluationTask)).all()
        assert len(stored) == 3
        assert all(len(one.digest) == 64 and one.definition for one in stored)
        runs = session.scalars(sa.select(BenchmarkRun)).all()
        assert all("definition" not in run.specification for run in runs)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "theatre"}, "the definition is of 'theatre', not of 'museum'"),
        ({"tasks": []}, "definition tasks: "),
        ({"extra": 1}, "definition extra: "),
    ],
)
def test_a_definition_that_does_not_hold_makes_no_run(
    tenant: TenantId, change: dict[str, Any], said: str
) -> None:
    task = {
        "name": "one",
        "task_prompt": "x",
        "start": {"html": "x"},
        "success_criteria": {"url": "/"},
    }
    definition = {"name": "museum", "tasks": [task]} | change
    with pytest.raises(EvaluationError, match=said):
        create(tenant, definition, models=("rules",), seeds=(0,))
