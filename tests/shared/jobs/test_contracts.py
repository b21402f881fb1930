"""The contracts are the interface: what is malformed is told apart, in one line, by field."""

from __future__ import annotations

import jsonschema
import pytest

from shared.jobs.contracts import CONTRACTS, Queue, RunBenchmark, parse, parse_submitted, schemas
from shared.jobs.errors import InvalidJobError


def test_every_queue_has_a_kind_of_job() -> None:
    assert {contract.queue for contract in CONTRACTS.values()} == set(Queue)


def test_every_contract_has_a_json_schema_that_accepts_its_own_json() -> None:
    job = RunBenchmark(models=("agent",), seeds=(1, 2))
    jsonschema.validate(job.model_dump(mode="json"), schemas()["run_benchmark"])
    for schema in schemas().values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({}, "unknown job None"),
        ({"job": "rm_rf"}, "unknown job 'rm_rf'"),
        ({"job": ["roll_up"]}, "unknown job"),
        ({"job": "roll_up", "force": True}, "force: Extra inputs are not permitted"),
        ({"job": "run_benchmark", "seeds": [1]}, "name either the models or an A/B test"),
        ({"job": "run_benchmark", "seeds": [], "models": ["a"]}, "seeds:"),
        ({"job": "run_benchmark", "seeds": [1, 1], "models": ["a"]}, "seeds must be distinct"),
        ({"job": "run_benchmark", "seeds": [-1], "models": ["a"]}, "seeds must be from 0"),
        ({"job": "run_benchmark", "seeds": ["x"], "models": ["a"]}, "seeds.0:"),
        ({"job": "evaluate_episode", "episode_id": "1"}, "episode_id:"),
        ({"job": "ingest_events", "events": []}, "events:"),
        (
            {
                "job": "detect_drift",
                "baseline": {"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"},
                "current": {"start": "2026-01-02T00:00:00Z", "end": "2026-01-03T00:00:00Z"},
            },
            "baseline: the end of a window must be after its start",
        ),
        *(
            (
                {
                    "job": "check_quality",
                    "current": {
                        "start": "2026-01-02T00:00:00Z",
                        "end": "2026-01-03T00:00:00Z",
                        field: "buyer",
                    },
                },
                "names no function or model: all are checked",
            )
            for field in ("function", "model")
        ),
    ],
)
def test_a_malformed_job_is_refused_in_one_line_that_names_the_field(
    job: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidJobError) as refused:
        parse_submitted(job)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_refusal_does_not_repeat_the_value() -> None:
    with pytest.raises(InvalidJobError) as refused:
        parse("evaluate_episode", {"job": "evaluate_episode", "episode_id": "sk-secret"})
    assert "sk-secret" not in str(refused.value)
