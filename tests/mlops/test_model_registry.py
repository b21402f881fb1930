"""`ModelRegistry` and `mlops model ...`: what they do on real services, and what they say."""

from __future__ import annotations

import io
import json
import resource
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from click.testing import Result

from mlops.console import Exit
from mlops.model_registry import ModelRegistry
from shared.database import TenantId, tenant_session
from shared.evaluation.runs import create_run
from shared.evaluation.tables import Episode, EvaluationTask
from shared.jobs.contracts import RunBenchmark
from shared.jobs.tables import JobRow
from shared.registry import models
from shared.registry.errors import RegistryError
from shared.registry.stages import MOVES, Stage

STAND_IN = ("stand-in", "stand-in")
Command = Callable[..., Result]
Told = Callable[..., Any]


@pytest.fixture
def registry(tenant: TenantId) -> ModelRegistry:
    return ModelRegistry(tenant)


@pytest.fixture
def told(mlops: Command) -> Told:
    """What a command that succeeds says on stdout: with --json what that means."""

    def run(*arguments: str, width: int = 250) -> Any:
        answer = mlops("model", *arguments, width=width)
        assert answer.exit_code == 0, answer.stderr
        return json.loads(answer.stdout) if "--json" in arguments else answer.stdout

    return run


@pytest.fixture
def refused(mlops: Command) -> Callable[..., None]:
    """One line on stderr, nothing on stdout, this exit code."""

    def run(code: Exit, *parts: str, of: tuple[str, ...]) -> None:
        answer = mlops("model", *of)
        assert isinstance(answer.exception, SystemExit), answer
        assert (answer.exit_code, answer.stdout) == (code, ""), answer.stderr
        assert answer.stderr.count("\n") == 1, answer.stderr
        for part in parts:
            assert part in answer.stderr

    return run


def put_run(tenant: TenantId, outcomes: Mapping[str, Mapping[str, str]]) -> str:
    """A run whose episodes ended so, by model, task and seed: S success, F failure, E broken.

    A call costs a thousandth of a dollar, an episode takes 1.5 seconds; lower case has no price.
    """
    words = {"s": "success", "f": "failure", "e": "environment_error"}
    tasks = tuple(next(iter(outcomes.values())))
    seeds = range(len(next(iter(outcomes.values()))[tasks[0]]))
    job = RunBenchmark(tasks=tasks, seeds=tuple(seeds), models=tuple(outcomes))
    with tenant_session(tenant) as session:
        run = create_run(session, job, lambda *_: None, lambda version: None)["run_id"]
        for episode in session.scalars(sa.select(Episode).where(Episode.run_id == UUID(run))):
            version = session.get_one(models.ModelVersion, episode.model_version_id)
            task = session.get_one(EvaluationTask, episode.task_id)
            letter = outcomes[models.key(version)][task.name][episode.seed]
            episode.outcome = words[letter.lower()]
            episode.steps, episode.duration_ms, episode.finished_at = 2, 1500, sa.func.now()
            episode.llm_calls, episode.cost_nanos = 1, 1_000_000
            episode.unpriced_calls = int(letter.islower())
            session.get_one(JobRow, episode.job_id).status = "succeeded"
    return str(run)


@pytest.fixture
def two(registry: ModelRegistry) -> tuple[str, str]:
    """Two versions of one model."""
    for version, temperature in (("1.0.0", 0.1), ("1.1.0", 0.3)):
        registry.register_model("m", *STAND_IN, version=version, temperature=temperature)
    return "m@1.0.0", "m@1.1.0"


def test_the_python_of_the_product_works_as_it_is_written(registry: ModelRegistry) -> None:
    model_id = registry.register_model(
        name="BrowserAI_GPT4",
        llm_provider="openai",
        llm_model="gpt-4",
        version="1.0.0",
        temperature=0.1,
        description="Production GPT-4 model",
    )
    registry.update_model_performance(
        model_id=model_id, success_rate=0.92, avg_completion_time=45.0, cost_per_task=0.15
    )
    registry.deploy_model(model_id, target="production")

    found = registry.get_model(model_id)
    assert (found.model, found.stage) == ("BrowserAI_GPT4@1.0.0", Stage.PRODUCTION)
    assert found.parameters == {"model": "gpt-4", "temperature": 0.1}
    assert found.description == "Production GPT-4 model"
    assert {name: one.value for name, one in found.stated.items()} == {
        "success_rate": 0.92,
        "completion_seconds": 45.0,
        "cost_nanos": 150_000_000,
    }
    assert [one.action for one in registry.history(model_id)] == [
        "model.register",
        "model.performance",
        "model.deploy",
    ]


def test_the_commands_of_the_product_work_as_they_are_written(mlops: Command) -> None:
    def said(line: str) -> str:
        answer = mlops(*shlex.split(line))
        assert answer.exit_code == 0, answer.stderr
        return answer.stdout

    register = 'model register "GPT4_Model" "openai" "gpt-4"'
    described = f'{register} --temperature 0.1 --description "GPT-4 for browser automation"'
    assert said(described) == "GPT4_Model@1.0.0\n"
    assert said(f"{register} --version 1.1.0") == "GPT4_Model@1.1.0\n"
    said("model deploy GPT4_Model@1.0.0")
    assert "GPT4_Model@1.0.0" in said("model list --status production")
    assert "GPT4_Model@1.1.0" not in said("model list --status production")
    first, second = (one["id"] for one in json.loads(said("model list --json")))
    shown = said(f"model compare {first} {second}")
    assert "temperature" in shown
    assert "not evaluated" in shown


def test_a_provider_whose_endpoint_nobody_named_is_refused(
    registry: ModelRegistry, refused: Callable[..., None]
) -> None:
    refused(Exit.FAILURE, "provider 'mistral'", of=("register", "m", "mistral", "mistral-small"))
    refused(Exit.FAILURE, "both the provider and its model", of=("register", "m", "openai"))
    twice = ("register", "m", "openai", "a", "--parameters", '{"model": "b"}')
    refused(Exit.FAILURE, "model: said twice", of=twice)
    known = {"base_url": "http://127.0.0.1:9/v1", "api_key_env": None}
    made = registry.register_model("m", "mistral", "mistral-small", parameters=known)
    assert registry.get_model(made).parameters == {
        "model": "mistral-small",
        "provider": "mistral",
        **known,
    }


def test_every_reference_leads_to_the_same_version(
    registry: ModelRegistry, two: tuple[str, str], told: Told
) -> None:
    told("alias", "m@1.0.0", "champion")
    wanted = registry.get_model("m@1.0.0").id
    for reference in (str(wanted), wanted.hex[:12], "m@1.0.0", "m@champion"):
        assert told("show", reference, "--json")["id"] == str(wanted)
    assert told("show", "m", "--json")["model"] == "m@1.1.0"
    assert "leads to m@1.1.0; before to m@1.0.0" in told("alias", "m", "champion")
    assert told("alias", "m", "champion", "--remove") == "m@champion leads nowhere now\n"


def test_what_is_not_there_is_exit_code_five_with_what_is_near(
    two: tuple[str, str], refused: Callable[..., None]
) -> None:
    for command in (
        ("show", "n@1.0.0"),
        ("history", "m@champion"),
        ("compare", "m", "m@2.0.0"),
        ("rank", "nobody"),
        ("promote", "m@x"),
        ("deploy", "\U0001f916"),
        ("archive", "../m"),
        ("alias", "x" * 10_000, "a"),
        ("alias", "m", "champion", "--remove"),
        ("performance", "nobody", "--success-rate", "1"),
        ("export", "nobody"),
        ("edit", "nobody", "--description", "x"),
    ):
        refused(Exit.NOT_FOUND, of=command)
    refused(Exit.NOT_FOUND, "m@1.0.0, m@1.1.0", of=("show", "m@9.9.9"))


def test_what_cannot_be_is_one_line_and_changes_nothing(
    registry: ModelRegistry, two: tuple[str, str], refused: Callable[..., None], tmp_path: Path
) -> None:
    registry.deploy_model("m@1.0.0")
    before = (registry.list_models(), registry.history("m"), registry.history("m@1.0.0"))
    refused(Exit.USAGE, "near it: production", of=("list", "--status", "prod"))
    refused(Exit.USAGE, "near it: production", of=("deploy", "m", "--target", "prodution"))
    refused(Exit.USAGE, "the archive is no target", of=("deploy", "m", "--target", "archived"))
    refused(Exit.USAGE, "expected NAME=NUMBER", of=("rank", "--weight", "success"))
    refused(Exit.USAGE, "near it: success", of=("rank", "--weight", "sucess=1"))
    refused(Exit.USAGE, "nothing to change", of=("edit", "m"))
    refused(Exit.FAILURE, "give two versions", of=("compare", "m", "m@1.1.0"))
    refused(Exit.FAILURE, "no promotion", of=("promote", "m@1.0.0"))
    refused(Exit.FAILURE, "cannot go to", of=("deploy", "m@1.0.0", "--target", "development"))
    refused(Exit.FAILURE, "has been in production", of=("edit", "m@1.0.0", "--description", "x"))
    refused(Exit.FAILURE, "alias 'production'", of=("alias", "m", "production"))
    refused(Exit.FAILURE, "nothing is stated", of=("performance", "m"))
    refused(Exit.FAILURE, "expected dollars", of=("performance", "m", "--cost-per-task", "NaN"))
    refused(Exit.FAILURE, "expected 0 to 1", of=("performance", "m", "--success-rate", "92"))
    refused(Exit.FAILURE, "cannot be read", of=("import", str(tmp_path / "none.yaml")))
    runs = ("edit", "m", "--evaluation-run", "4f1c")
    refused(Exit.FAILURE, "no run '4f1c'", of=runs)
    for name in ("", "a" * 10_000, "a@b", "\U0001f916\n"):
        refused(Exit.FAILURE, "model name", of=("register", name, *STAND_IN))
    after = (registry.list_models(), registry.history("m"), registry.history("m@1.0.0"))
    assert after == before


def test_promotion_leads_by_staging_to_production_and_archives_what_was_there(
    two: tuple[str, str], told: Told
) -> None:
    told("deploy", "m@1.0.0")
    assert told("promote", "m@1.1.0") == "m@1.1.0 is in staging, from development\n"
    assert told("promote", "m@1.1.0").splitlines() == [
        "m@1.1.0 is in production, from staging",
        "m@1.0.0 was in production and is archived",
    ]
    assert told("deploy", "m@1.1.0") == "m@1.1.0 is in production already\n"
    assert told("deploy", "m@1.0.0", "--keep-others", "--json")["archived"] == []
    assert [one["stage"] for one in told("list", "--json")] == ["production"] * 2
    assert told("archive", "m@1.0.0") == "m@1.0.0 is archived\n"
    actions = [one["action"] for one in told("history", "m@1.0.0", "--json")]
    assert actions == [
        "model.register",
        "model.deploy",
        "model.archive",
        "model.deploy",
        "model.archive",
    ]
    assert "replaced_by" in told("history", "m@1.0.0")
    shown = told("show", "m@1.0.0", "--json")["deployments"]
    assert [one["came_from"] for one in shown] == ["archived", "development"]
    assert told("show", "m@1.0.0").count("to production (UTC)") == 2


def test_what_is_stated_is_shown_as_stated_and_ranks_nothing(
    two: tuple[str, str], told: Told
) -> None:
    figures = ("--success-rate", "0.92", "--cost-per-task", "0.15", "--tasks", "200")
    said = told("performance", "m@1.0.0", *figures, "--note", "by hand")
    assert "stated success 92.0 %" in said
    assert "of 200 tasks: by hand" in said
    assert "stated cost a task" in told("show", "m@1.0.0")
    ranked = told("rank", "--json")
    assert ranked["ranked"] == []
    assert [one["unknown"] for one in ranked["unknown"]] == [["success", "cost", "latency"]] * 2
    assert "nothing to rank" in told("rank")
    assert "stated success" in told("compare", *two)


def test_versions_are_compared_where_tasks_and_seeds_match(
    tenant: TenantId, two: tuple[str, str], told: Told
) -> None:
    both = {"click-test": "ffff", "search-engine": "ffsf"}
    put_run(tenant, {"m@1.0.0": both, "m@1.1.0": {"click-test": "ssss", "search-engine": "ssse"}})
    # Played again and in one version only; what is newest counts.
    put_run(tenant, {"m@1.0.0": {"click-test": "FFFF", "search-engine": "FFSF"}})
    put_run(tenant, {"m@1.0.0": {"click-button": "SS"}})
    found = told("compare", *two, "--json")
    assert found["measured"]["m@1.0.0"]["units"] == 10
    assert found["measured"]["m@1.0.0"]["cost_nanos"]["value"] == 1_000_000
    assert found["measured"]["m@1.1.0"]["cost_nanos"]["unknown"] == 7
    difference = found["differences"]["m@1.1.0"]
    assert (difference["success"]["pairs"], difference["success"]["gained"]) == (7, 6)
    assert difference["cost_nanos"]["left_out"] == 7
    assert difference["milliseconds"]["difference"] == 0
    shown = told("compare", *two)
    assert "m@1.1.0 against m@1.0.0, on 7 tasks and seeds that both have" in shown
    assert "unknown: 7 calls without a price" in shown
    assert "dollars a task (simulated): unknown in every pair" in shown
    assert "100.0 %" in told("show", "m@1.1.0")
    other = told("compare", *two, "--benchmark", "sites", "--json")
    assert other["measured"]["m@1.0.0"]["units"] == 0


def test_of_many_comparisons_each_p_value_is_adjusted_for_all(
    tenant: TenantId, registry: ModelRegistry, two: tuple[str, str], told: Told
) -> None:
    registry.register_model("m", *STAND_IN, version="1.2.0")
    tasks = ("click-test", "click-button", "click-link", "click-tab", "focus-text", "enter-text")
    put_run(
        tenant,
        {
            "m@1.0.0": dict.fromkeys(tasks, "F"),
            "m@1.1.0": dict.fromkeys(tasks, "S"),
            "m@1.2.0": dict.fromkeys(tasks, "F"),
        },
    )
    alone = registry.compare_models(*two).differences["m@1.1.0"].success
    found = registry.compare_models(*two, "m@1.2.0").differences["m@1.1.0"].success
    assert (alone.p_value, found.p_value) == (2 / 2**6, 4 / 2**6)
    assert (alone.finding.value, found.finding.value) == ("better", "no difference shown")
    assert "adjusted for 2 comparisons" in told("compare", *two, "m@1.2.0")


def test_a_ranking_is_over_what_all_were_scored_on(
    tenant: TenantId, registry: ModelRegistry, two: tuple[str, str], told: Told
) -> None:
    registry.register_model("n", *STAND_IN)
    registry.register_model("untried", *STAND_IN)
    put_run(
        tenant,
        {
            "m@1.0.0": {"click-test": "SF", "search-engine": "SF"},
            "m@1.1.0": {"click-test": "SS", "search-engine": "SF"},
        },
    )
    # Easier tasks alone would lead.
    put_run(tenant, {"m@1.0.0": {"click-button": "SSSS"}})
    put_run(tenant, {"n@1.0.0": {"click-test": "ss", "search-engine": "ss"}})
    found = told("rank", "--json")
    assert [one["name"] for one in found["ranked"]] == ["m@1.1.0", "m@1.0.0"]
    assert found["measured"]["m@1.0.0"]["success"]["rate"] == 0.5
    assert found["pareto_front"] == ["m@1.1.0"]
    assert {one["name"]: one["unknown"] for one in found["unknown"]} == {
        "n@1.0.0": ["cost"],
        "untried@1.0.0": ["success", "cost", "latency"],
    }
    by_success = told("rank", "--weight", "success=1", "--json")
    assert by_success["ranked"][0]["name"] == "n@1.0.0"
    assert by_success["ranked"][0]["on_front"] is None
    shown = told("rank")
    assert "without a place: n@1.0.0 (cost unknown)" in shown
    assert "without a place: untried@1.0.0 (not evaluated)" in shown
    assert "scored on more than all have: m@1.0.0 8" in shown
    registry.archive_model("m@1.0.0")
    assert "m@1.0.0" not in told("rank")


def test_versions_with_no_task_in_common_are_not_ranked(
    tenant: TenantId, two: tuple[str, str], refused: Callable[..., None]
) -> None:
    put_run(tenant, {"m@1.0.0": {"click-test": "SF"}})
    put_run(tenant, {"m@1.1.0": {"click-button": "SF"}})
    refused(Exit.FAILURE, "no task and seed was scored for every one", of=("rank",))


def test_lineage_is_kept_and_shown(tenant: TenantId, two: tuple[str, str], told: Told) -> None:
    run = put_run(tenant, {"m@1.0.0": {"click-test": "SF"}})
    told("edit", "m@1.1.0", "--parent", "m@1.0.0", "--evaluation-run", run[:8])
    made = ("register", "m", *STAND_IN, "--version", "1.2.0", "--parent", "m@1.1.0")
    told(*made, "--dataset-version", "production_v1.0", "--prompt-version", "v2")
    assert told("show", "m@1.1.0", "--json")["evaluation_runs"] == [run]
    shown = told("show", "m@1.2.0", "--json")
    assert shown["ancestors"] == ["m@1.1.0", "m@1.0.0"]
    assert (shown["dataset_version"], shown["prompt_version"]) == ("production_v1.0", "v2")
    assert "m@1.1.0 < m@1.0.0" in told("show", "m@1.2.0")


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_an_export_is_imported_as_it_was(
    registry: ModelRegistry, two: tuple[str, str], told: Told, tmp_path: Path, form: str
) -> None:
    registry.update_model("m@1.1.0", description="\U0001f916 \u202e 1e3 'x'", parent="m@1.0.0")
    path = tmp_path / f"models.{form}"
    assert told("export", *two, "--to", str(path)) == f"{path}\n"
    text = path.read_text("utf-8")
    assert text == told("export", *two, "--format", form)
    assert told("import", str(path), "--json")["registered"] == dict.fromkeys(two, False)
    path.write_text(text.replace("m@", "copy@").replace('"m"', '"copy"').replace(" m\n", " copy\n"))
    dry = told("import", str(path), "--dry-run", "--json")
    assert dry == {"dry_run": True, "registered": {"copy@1.0.0": True, "copy@1.1.0": True}}
    assert registry.list_models(name="copy") == []
    assert "registered" in told("import", str(path))
    again = tmp_path / f"again.{form}"
    told("export", "copy@1.0.0", "copy@1.1.0", "--to", str(again))
    assert again.read_bytes() == path.read_bytes()


def test_an_export_is_imported_from_standard_input_as_well(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = (
        '{"schema_version": 1, "models": [{"name": "a", "version": "1.0.0", "agent": "random"}]}'
    )
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
    assert registry.import_models("-") == {"a@1.0.0": True}


def test_an_export_stays_in_its_folder_whatever_a_model_is_called(
    registry: ModelRegistry, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("../../etc/passwd", "\U0001f916", "-x", ".", "CON", "x" * 100, "plain"):
        registry.register_model(name, *STAND_IN)
        assert registry.export_to(folder, name).parent == folder
    assert len(list(folder.iterdir())) == 7
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (folder / "plain@1.0.0.yaml").is_file()


def test_a_full_disk_leaves_the_file_that_was_there(
    registry: ModelRegistry, two: tuple[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        with pytest.raises(RegistryError, match=r"m\.yaml cannot be written: File too large"):
            registry.export_to(path, *two)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(RegistryError, match="cannot be written: No such file or directory"):
        registry.export_to(tmp_path / "nowhere" / "m.yaml", *two)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "m.yaml:1:1: the file is empty"),
        ("schema_version: 7\nmodels: []", "m.yaml:1:1: schema_version: schema version 7 is not"),
        (
            "schema_version: 1\nmodels:\n  - name: a\n    version: 1.0.0\n    agnet: llm\n",
            "m.yaml:3:5: models.0.agent: is missing",
        ),
        (
            "schema_version: 1\nmodels:\n  - {name: a, version: 1.0.0, agent: llm, paramters: {}}",
            "models.0.paramters: unknown key; near it: parameters",
        ),
        ("schema_version: 1\nschema_version: 1\nmodels: []", "m.yaml:2:1: "),
        ("a: &x 1\nb: *x", "aliases are not allowed"),
        ('{"schema_version": 1, "schema_version": 1}', "stands twice"),
        ('{"schema_version": NaN}', "NaN is no number of JSON"),
        ('{"schema_version": 1', "m.yaml:1:21: no valid JSON"),
        (
            "schema_version: 1\nmodels:\n"
            "  - {name: good, version: 1.0.0, agent: rule-based}\n"
            "  - {name: bad, version: 1.0.0, agent: rule-based, parameters: {x: 1}}\n",
            "m.yaml: models.1: agent kind 'rule-based' takes no parameter 'x'",
        ),
    ],
)
def test_a_file_with_a_mistake_says_where_and_nothing_of_it_is_registered(
    registry: ModelRegistry, refused: Callable[..., None], tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(text)
    refused(Exit.FAILURE, complaint, of=("import", str(path)))
    assert registry.list_models() == []


PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def blocks(language: str) -> list[str]:
    """The code blocks of the page about models."""
    inside = (text.partition("\n") for text in PAGE.read_text("utf-8").split("```")[1::2])
    return [text for named, _, text in inside if named == language]


def test_every_command_of_the_page_works_as_it_is_written(
    tenant: TenantId, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, *others = blocks("")
    said: dict[str, str] = {}

    def work(block: str) -> None:
        for line in filter(None, block.splitlines()):
            program, group, *arguments = shlex.split(line.partition("#")[0])
            assert (program, group) == ("mlops", "model")
            said[line.partition("#")[0].strip()] = told(*arguments)

    work(first)
    put_run(
        tenant,
        {
            "buyer@1.0.0": {"click-test": "SF", "search-engine": "SF"},
            "buyer@1.1.0": {"click-test": "SS", "search-engine": "SF"},
        },
    )
    for block in others:
        work(block)
    assert len(said) >= 18
    assert "buyer@1.0.0" in said["mlops model list --status production"]
    assert (
        "buyer@1.1.0 against buyer@1.0.0, on 4 tasks"
        in said["mlops model compare buyer@1.0.0 buyer@1.1.0"]
    )


def test_the_python_of_the_page_works_as_it_is_written(
    tenant: TenantId,
    name: str,
    with_environment: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with_environment(MLOPS_TENANT=name)
    (program,) = blocks("python")
    exec(program, {})  # noqa: S102 (it is ours)
    printed = [line[2:] for line in program.splitlines() if line.startswith("# ")]
    assert capsys.readouterr().out.splitlines() == printed


def test_the_page_tells_the_moves_that_there_are() -> None:
    for before, after in MOVES.items():
        listed = ", ".join(stage for stage in Stage if stage in after)
        assert f"| {before} | {listed} |" in PAGE.read_text("utf-8")
