"""`mlops functions` and `mlops.functions`: what they say, on the stand-in and on a bad endpoint."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlops import functions
from mlops.cli import app
from mlops.console import Exit
from shared.functions.recording import NoAnswerError
from shared.settings import settings
from shared.tenancy.tenants import create_tenant
from tests.shared.evaluation.test_llm_agent import completion, endpoint

STAND_IN = """\
name: ai-generate-insight
variants:
  - name: short
    model: stand-in
    base_url: stand-in
    prompt: "$query (plan: $plan)"
quality:
  max_characters: 5000
"""


@pytest.fixture
def mlops(services, monkeypatch):
    """A command in this process, in a tenant of the test's own; what it says on stdout."""
    monkeypatch.setenv("MLOPS_TENANT", name := f"functions-{uuid.uuid4()}")
    monkeypatch.setattr("mlops.console.out.width", 200)
    settings.cache_clear()
    create_tenant(name)

    def run(*arguments, code=0):
        answer = CliRunner().invoke(app, ["functions", *map(str, arguments)])
        assert answer.exception is None or isinstance(answer.exception, SystemExit), answer
        assert answer.exit_code == code, answer.stderr
        return answer

    yield run
    settings.cache_clear()


@pytest.fixture
def insight(mlops, tmp_path) -> Path:
    file = tmp_path / "insight.yaml"
    file.write_text(STAND_IN)
    assert mlops("create", file).stdout == "ai-generate-insight@1\n"
    return file


def test_a_function_is_created_listed_shown_and_removed(mlops, insight):
    assert mlops("create", insight).stdout == "ai-generate-insight@1\n"
    insight.write_text(STAND_IN + "description: clearer\n")
    assert json.loads(mlops("create", insight, "--json").stdout)["version"] == 2
    assert "ai-generate-insight@2" in mlops("list").stdout
    shown = json.loads(mlops("show", "ai-generate-insight@1", "--json").stdout)
    assert shown["definition"]["variants"][0]["prompt"] == "$query (plan: $plan)"
    assert '"description": "clearer"' in mlops("show", "ai-generate-insight").stdout
    removed = mlops("remove", "ai-generate-insight").stdout
    assert removed == "ai-generate-insight removed, 2 versions\n"
    assert "no functions yet" in mlops("list").stdout
    gone = mlops("show", "ai-generate-insight", code=Exit.NOT_FOUND)
    assert "no function 'ai-generate-insight'; there is: none yet" in gone.stderr


def test_a_function_is_asked(mlops, insight):
    ask = ("invoke", "ai-generate-insight", "Why?", "--context", '{"plan": "free"}')
    answer = mlops(*ask, "--unit", "u-1")
    assert answer.stdout.strip()
    assert "ai-generate-insight@1, variant short: " in answer.stderr
    assert "1 call, $0.00" in answer.stderr
    assert "(simulated)" in answer.stderr
    told = json.loads(mlops(*ask, "--unit", "u-1", "--json").stdout)
    assert (told["unit"], told["unit_from"], told["answered_by"]) == ("u-1", "given", "short")
    lacking = mlops(*ask[:3], code=Exit.FAILURE)
    assert "the prompt needs plan in the context, which has nothing" in lacking.stderr
    mlops(*ask[:3], "--context", "[1]", code=Exit.USAGE)


def test_python_asks_it_too(mlops, insight):
    context = {"plan": "free", "conversation_id": "c-9"}
    answer = asyncio.run(functions.invoke("ai-generate-insight", query="Why?", context=context))
    assert (answer.variant, answer.unit, answer.unit_from) == ("short", "c-9", "conversation_id")
    assert answer.text


def test_an_endpoint_that_fails_is_one_line_and_exit_code_1(mlops):
    with endpoint(lambda n: (503, b"{}")) as (url, _):
        variant = {"name": "only", "model": "m", "base_url": url, "api_key_env": None}
        functions.create({"name": "insight", "variants": [variant | {"max_retries": 0}]})
        answer = mlops("invoke", "insight", "Why?", "--json", code=Exit.FAILURE)
        with pytest.raises(NoAnswerError):
            asyncio.run(functions.invoke("insight", query="Why?"))
    assert json.loads(answer.stdout)["outcome"] == "no_answer"
    assert answer.stderr.startswith("mlops: function insight@1 gave no answer: only: http")
    assert answer.stderr.count("\n") == 1


def test_what_the_model_says_cannot_command_the_terminal(mlops):
    with endpoint(lambda n: completion("one\x1b[2Jtwo\nthree")) as (url, _):
        variant = {"name": "only", "model": "m", "base_url": url, "api_key_env": None}
        functions.create({"name": "insight", "variants": [variant]})
        said = mlops("invoke", "insight", "Why?").stdout
    assert "\x1b" not in said
    assert said.count("\n") == 2


def test_every_mistake_of_a_file_is_a_line_with_its_place(mlops, tmp_path):
    file = tmp_path / "wrong.yaml"
    file.write_text(
        "name: insight\n"
        "variants:\n"
        "  - name: short\n"
        "    modle: m\n"
        "    prompt: 'for $ 5'\n"
        "quality:\n"
        "  max_characters: none\n"
        "colour: red\n"
    )
    told = mlops("create", file, code=Exit.USAGE).stderr.replace(str(file), "FILE").splitlines()
    assert [line.removeprefix("mlops: ") for line in told] == [
        "FILE:3:5: variants.0.model: is missing",
        "FILE:4:5: variants.0.modle: unknown key; did you mean 'model'?",
        "FILE:5:5: variants.0.prompt: a `$` must begin a name, as in `$query` or `${customer}`;"
        " `$$` is a dollar",
        "FILE:7:3: quality.max_characters: Input should be a valid integer, unable to parse string"
        " as an integer",
        "FILE:8:1: colour: unknown key; it takes name, description, variants, test, fallback,"
        " deadline_seconds, response_schema, quality, judge",
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("f.json", '{"name": "a",\n}', "f.json:2:1: no valid JSON"),
        ("f.json", "[" * 100_000, "nests too deep"),
        ("f.json", '{"name": "a"}', "f.json: variants: is missing"),
        ("f.yaml", "name: a\nname: b\n", "f.yaml:2:1: 'name' stands here a second time"),
        ("f.yaml", "- a\n", "a function is a mapping with `name` and `variants`"),
    ],
)
def test_a_file_that_is_no_definition_is_refused(mlops, tmp_path, name, text, said):
    file = tmp_path / name
    file.write_text(text)
    assert said in mlops("create", file, code=Exit.USAGE).stderr
    assert "cannot be read" in mlops("create", tmp_path / "none.yaml", code=Exit.USAGE).stderr


def test_a_definition_may_be_json(mlops, tmp_path):
    file = tmp_path / "insight.json"
    variant = {"name": "only", "model": "stand-in", "base_url": "stand-in"}
    file.write_text(json.dumps({"name": "insight", "variants": [variant]}, indent="\t"))
    assert mlops("create", file).stdout == "insight@1\n"
