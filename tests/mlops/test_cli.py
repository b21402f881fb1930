"""`mlops job`, `model`, `tenant`, `key` and `db`, on real services: what they say, and where."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid

import psycopg
import pytest
from typer.testing import CliRunner

from mlops.cli import app
from mlops.console import Exit
from shared.database import tenant_session
from shared.jobs.tables import JobRow
from shared.settings import settings
from shared.tenancy.tenants import create_tenant, find_tenant

ROLL_UP = '{"job": "roll_up"}'
HOSTILE = {
    "emoji": "\U0001f916 model",
    "quotes": 'it\'s "quoted"; DROP TABLE mlops.jobs; --',
    "escape": "\x1b[2J\x1b]0;owned\x07name",
    "right to left": "abc\u202egnp",
    "long": "x" * 10_000,
    "path": "../../etc/passwd",
    "markup": "[red]name[/red]",
}


@pytest.fixture
def name(services):
    """The name of a tenant that only this test knows."""
    name = f"cli-{uuid.uuid4()}"
    create_tenant(name)
    return name


@pytest.fixture
def mlops(name, monkeypatch):
    """A command in this process, in the test's own tenant."""

    def run(*arguments, stdin=None, **variables):
        with monkeypatch.context() as patch:
            for variable, value in {"MLOPS_TENANT": name, **variables}.items():
                patch.setenv(variable, value)
            patch.setattr("mlops.console.out.width", 250)
            settings.cache_clear()
            answer = CliRunner().invoke(app, arguments, input=stdin)
        settings.cache_clear()
        # A traceback would be an exception that is no exit.
        assert answer.exception is None or isinstance(answer.exception, SystemExit), answer
        told = answer.stdout + answer.stderr
        assert not set("\x1b\x07\x9b\u202e") & set(told)
        assert "hunter2" not in told
        return answer

    return run


@pytest.fixture
def process(name):
    """A command in a process of its own."""

    def start(*arguments, **variables):
        return subprocess.Popen(
            [sys.executable, "-m", "mlops.cli", *arguments],
            env={**os.environ, "MLOPS_TENANT": name, "COLUMNS": "250", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def refused(answer, code, *parts):
    """One line on stderr, nothing on stdout, this exit code."""
    assert answer.exit_code == code, answer.stderr
    assert answer.stdout == ""
    assert answer.stderr.count("\n") == 1, answer.stderr
    assert answer.stderr.startswith("mlops: ")
    for part in parts:
        assert part in answer.stderr


def submitted(mlops, job=ROLL_UP, *options):
    answer = mlops("job", "submit", job, *options)
    assert (answer.exit_code, answer.stderr) == (0, "")
    return answer.stdout.strip()


def test_a_job_from_submission_to_retry(mlops, tmp_path):
    job = submitted(mlops, ROLL_UP, "--key", "nightly")
    assert str(uuid.UUID(job)) == job
    assert submitted(mlops, ROLL_UP, "--key", "nightly") == job

    row = json.loads(mlops("job", "status", job, "--json").stdout)
    assert (row["id"], row["kind"], row["status"]) == (job, "roll_up", "queued")
    assert job in mlops("job", "status", job[:13]).stdout
    assert [r["id"] for r in json.loads(mlops("job", "list", "--json").stdout)] == [job]
    assert job[:8] in mlops("job", "list", "--status", "queued", "--kind", "roll_up").stdout
    assert json.loads(mlops("job", "list", "--status", "failed", "--json").stdout) == []

    refused(mlops("job", "retry", job), Exit.FAILURE, "only failed or cancelled")
    assert mlops("job", "cancel", job).stdout == f"{job} cancelled\n"
    watched = mlops("job", "watch", job, "--json")
    assert (watched.exit_code, json.loads(watched.stdout)["status"]) == (1, "cancelled")
    retried = mlops("job", "retry", job, "--json")
    assert json.loads(retried.stdout)["status"] == "queued"
    assert json.loads(mlops("job", "cancel", job, "--json").stdout)["status"] == "cancelled"


def test_a_job_is_read_from_a_file_or_stdin(mlops, tmp_path):
    file = tmp_path / "job.json"
    file.write_text(ROLL_UP)
    assert submitted(mlops, f"@{file}")
    answer = mlops("job", "submit", "-", "--json", stdin=ROLL_UP)
    assert uuid.UUID(json.loads(answer.stdout)["id"])


def test_the_list_hides_telemetry_and_says_what_it_leaves_out(mlops, name):
    from shared.jobs.contracts import IngestEvents
    from shared.jobs.submission import enqueue

    with tenant_session(find_tenant(name)) as session:
        for _ in range(3):
            enqueue(session, IngestEvents(events=({},)))
    assert mlops("job", "list").stdout.startswith("no jobs yet")
    jobs = [submitted(mlops) for _ in range(3)]

    listed = mlops("job", "list", "--json")
    assert {row["id"] for row in json.loads(listed.stdout)} == set(jobs)
    assert listed.stderr.startswith("3 jobs that store telemetry")
    assert len(json.loads(mlops("job", "list", "--all", "--json").stdout)) == 6
    assert len(json.loads(mlops("job", "list", "--kind", "ingest_events", "--json").stdout)) == 3
    cut = mlops("job", "list", "--limit", "2")
    assert "the newest 2 of 3 jobs: --limit N shows more" in cut.stderr
    assert mlops("job", "list", "--all").stderr == ""
    assert mlops("job", "list", "--status", "failed").stdout == "no such jobs\n"


def test_an_error_that_is_cut_off_ends_in_an_ellipsis(mlops, name):
    job = submitted(mlops)
    with tenant_session(find_tenant(name)) as session:
        session.get(JobRow, uuid.UUID(job)).error = "e" * 81
    assert "e" * 79 + "\N{HORIZONTAL ELLIPSIS}" in mlops("job", "list").stdout
    with tenant_session(find_tenant(name)) as session:
        session.get(JobRow, uuid.UUID(job)).error = "e" * 80
    assert "e" * 80 in mlops("job", "list").stdout


def test_schemas(mlops):
    assert "roll_up" in json.loads(mlops("job", "schema").stdout)
    assert json.loads(mlops("job", "schema", "run_benchmark").stdout)["type"] == "object"
    refused(mlops("job", "schema", "nothing"), Exit.NOT_FOUND, "run_benchmark")


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ("{", "not JSON"),
        ("[1]", "must be an object"),
        ("{}", "job"),
        ('{"job": "nothing"}', "nothing"),
        ('{"job": 7}', "job"),
        ('{"job": "run_benchmark"}', "seeds"),
        ('{"job": "roll_up", "unknown": 1}', "unknown"),
        ("[" * 100_000, "nested too deeply"),
        ("@/does/not/exist", "No such file"),
    ],
)
def test_a_job_that_is_none_is_refused_in_one_line(mlops, job, told):
    refused(mlops("job", "submit", job), Exit.USAGE, told)
    assert json.loads(mlops("job", "list", "--json").stdout) == []


def test_identifiers(mlops, name):
    refused(mlops("job", "status", str(uuid.uuid4())), Exit.NOT_FOUND, "no job")
    refused(mlops("job", "status", "../x"), Exit.NOT_FOUND, "hexadecimal")
    refused(mlops("job", "watch", "%"), Exit.NOT_FOUND, "hexadecimal")
    for _ in range(17):
        first = submitted(mlops)
    # Of seventeen identifiers two begin with the same digit.
    digits = [row["id"][0] for row in json.loads(mlops("job", "list", "--json").stdout)]
    twice = next(digit for digit in digits if digits.count(digit) > 1)
    refused(mlops("job", "cancel", twice), Exit.NOT_FOUND, "more than one")

    create_tenant(f"{name}-other")
    refused(mlops("job", "status", first, MLOPS_TENANT=f"{name}-other"), Exit.NOT_FOUND)


def test_mistakes_of_usage_are_one_line_too(mlops):
    refused(mlops("job", "list", "--status", "done"), Exit.USAGE, "queued", "succeeded")
    refused(mlops("job", "list", "--limit", "0"), Exit.USAGE, "--limit")
    refused(mlops("job", "list", "--nothing"), Exit.USAGE, "--nothing")
    refused(mlops("nothing"), Exit.USAGE, "nothing")
    refused(mlops("job", "submit"), Exit.USAGE)
    refused(mlops("job", "list", "--kind", "\udcff"), Exit.USAGE, "not valid text")


def test_models(mlops):
    made = mlops("model", "register", "m", "--parameters", '{"model": "gpt-4.1-mini"}', "--json")
    assert json.loads(made.stdout)["model"] == "m@1.0.0"
    assert mlops("model", "register", "m", "--version", "1.1.0", "--agent", "rule-based").stdout
    listed = json.loads(mlops("model", "list", "--json").stdout)
    assert {model["model"] for model in listed} == {"m@1.0.0", "m@1.1.0"}
    assert "m@1.1.0" in mlops("model", "list").stdout

    refused(mlops("model", "register", "m", "--parameters", "{"), Exit.USAGE, "not JSON")
    refused(mlops("model", "register", "m", "--parameters", "[]"), Exit.USAGE, "JSON object")
    refused(mlops("model", "register", "m", "--version", "one"), Exit.FAILURE, "one")
    refused(mlops("model", "register", "m", "--agent", "nobody"), Exit.FAILURE, "nobody")


def test_a_key_that_is_not_set_here_is_told_when_a_model_is_registered(mlops):
    made = ("model", "register", "m", "--parameters", '{"model": "gpt-4.1-mini"}')
    told = mlops(*made, OPENAI_API_KEY="")
    assert (told.exit_code, told.stdout) == (0, "m@1.0.0\n")
    assert "OPENAI_API_KEY" in told.stderr
    assert told.stderr.count("\n") == 1
    quiet = mlops(*made, "--version", "1.0.1", OPENAI_API_KEY="hunter2")
    assert (quiet.exit_code, quiet.stderr) == (0, "")


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_names_from_elsewhere_do_not_reach_the_terminal_raw(mlops, hostile):
    for command in (
        ("model", "register", hostile, "--agent", "rule-based"),
        ("tenant", "create", f"{hostile}{uuid.uuid4().hex}"),
        ("key", "create", hostile),
        ("key", "revoke", hostile),
        ("job", "submit", json.dumps({"job": hostile})),
        ("job", "submit", ROLL_UP, "--key", hostile),
        ("job", "list", "--kind", hostile),
        ("job", "list", "--status", hostile),
    ):
        answer = mlops(*command)
        if answer.exit_code != 0:
            assert answer.stderr.count("\n") == 1
            assert len(answer.stderr) < 2_500
        elif command[:2] != ("key", "create"):
            assert answer.stderr == ""
    for command in (("model", "list"), ("key", "list"), ("job", "list")):
        assert mlops(*command).exit_code == 0
        json.loads(mlops(*command, "--json").stdout)


def test_the_error_of_a_job_does_not_reach_the_terminal_raw(mlops, name):
    job = submitted(mlops)
    with tenant_session(find_tenant(name)) as session:
        row = session.get(JobRow, uuid.UUID(job))
        row.status, row.error = "failed", "\x1b[31mboom\x07\n:bomb: [red]x[/red]"
    for command in (("job", "list"), ("job", "status", job), ("job", "watch", job)):
        answer = mlops(*command)
        assert r"\x1b[31mboom\x07 :bomb: [red]x[/red]" in answer.stdout + answer.stderr


def test_tenants_and_keys(mlops, name):
    made = mlops("tenant", "create", f"{name}-2", "--json")
    assert json.loads(made.stdout)["name"] == f"{name}-2"
    assert f"MLOPS_TENANT={name}-3 makes" in mlops("tenant", "create", f"{name}-3").stdout
    refused(mlops("tenant", "create", name), Exit.FAILURE, "already")
    refused(mlops("tenant", "create", ""), Exit.USAGE, "printable")
    refused(mlops("job", "list", MLOPS_TENANT="nobody"), Exit.AUTH, "nobody")

    assert mlops("key", "list").stdout.startswith("no API keys yet")
    made = mlops("key", "create", "ci")
    key = made.stdout.strip()
    assert "shown this once" in made.stderr
    assert "MLOPS_API_KEY" in made.stderr
    assert key not in made.stderr
    refused(mlops("key", "create", "ci"), Exit.FAILURE, "already")
    refused(mlops("key", "revoke", "ghost"), Exit.NOT_FOUND, "ghost")
    job = submitted(mlops)
    by_key = mlops("job", "list", "--json", MLOPS_API_KEY=key, MLOPS_TENANT="nobody")
    assert [row["id"] for row in json.loads(by_key.stdout)] == [job]
    listed = mlops("key", "list", "--json", MLOPS_API_KEY=key)
    assert [one["name"] for one in json.loads(listed.stdout)] == ["ci"]
    assert key not in listed.stdout
    assert json.loads(mlops("key", "revoke", "ci", "--json").stdout)["revoked"] is True
    answer = mlops("job", "list", MLOPS_API_KEY=key)
    refused(answer, Exit.AUTH, "revoked")
    assert key not in answer.stderr


def test_the_schema_is_upgraded_as_often_as_one_likes(mlops):
    assert json.loads(mlops("db", "upgrade", "--json").stdout)["revision"]
    assert "the schema is at" in mlops("db", "upgrade").stdout


def test_a_database_that_is_away_or_refuses_is_one_line(mlops, services):
    right = services.database_url
    password = right.partition("//")[2].partition(":")[2].partition("@")[0]
    wrong = right.replace(password, "hunter2")
    nowhere = "postgresql://u:hunter2@127.0.0.1:1/x"
    refused(mlops("job", "list", DATABASE_URL=nowhere), Exit.FAILURE, "127.0.0.1", "refused")
    refused(mlops("job", "list", DATABASE_URL=wrong), Exit.FAILURE, "password")
    refused(mlops("job", "list", DATABASE_URL="mysql://u:hunter2@h/x"), Exit.USAGE, "postgresql://")
    refused(mlops("job", "list", DATABASE_URL="postgresql://u:hunter2/@h/x"), Exit.USAGE, "%XX")
    refused(mlops("job", "list", REDIS_URL="http://hunter2@h"), Exit.USAGE, "redis://")
    for url in (nowhere, wrong):
        answer = mlops("db", "upgrade", DATABASE_OWNER_URL=url)
        refused(answer, Exit.FAILURE, "DATABASE_OWNER_URL")


def test_a_job_is_kept_when_redis_is_away(process, mlops):
    with process("job", "submit", ROLL_UP, "--json", REDIS_URL="redis://:hunter2@127.0.0.1:1") as p:
        out, err = p.communicate(timeout=60)
    assert p.returncode == 0
    assert err.startswith("mlops: the broker is away")
    assert err.count("\n") == 1
    assert "hunter2" not in err
    row = json.loads(mlops("job", "status", json.loads(out)["id"], "--json").stdout)
    assert row["status"] == "queued"


def test_a_password_that_redis_refuses_is_told_as_that(process, services):
    wrong = services.redis_url.replace("://:", "://:hunter2")
    with process("job", "submit", ROLL_UP, "--json", REDIS_URL=wrong) as p:
        out, err = p.communicate(timeout=60)
    assert (p.returncode, err.count("\n")) == (0, 1)
    assert "Redis refuses the user or the password of REDIS_URL" in err
    assert "hunter2" not in err
    assert json.loads(out)["id"]


@pytest.fixture
def at_rest(services):
    """Whether commands started since have looked, and slept, as often as waiting does."""
    url = services.database_url
    with psycopg.connect(url, autocommit=True) as connection:
        query = "SELECT pid, query_start FROM pg_stat_activity WHERE application_name = 'mlops'"
        before = [pid for pid, _ in connection.execute(query)]
        resting = (
            f"{query} AND state = 'idle' AND clock_timestamp() - query_start > interval '0.1s'"
        )
        rests = set()

        def look(times=5):
            # One or two rests are imports on the way; more of them are a loop that waits.
            rests.update(row for row in connection.execute(resting) if row[0] not in before)
            return len(rests) >= times

        yield look


@pytest.mark.parametrize("waiting", ["watch", "--wait"])
def test_ctrl_c_ends_the_waiting_and_not_the_job(process, mlops, at_rest, waiting):
    if waiting == "watch":
        arguments = ("job", "watch", submitted(mlops))
    else:
        arguments = ("job", "submit", ROLL_UP, "--wait")
    with process(*arguments) as p:
        while p.poll() is None and not at_rest():
            time.sleep(0.02)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
    assert (p.returncode, out) == (Exit.INTERRUPTED, "")
    assert "goes on" in err
    assert err.count("\n") == 1
    (row,) = json.loads(mlops("job", "list", "--json").stdout)
    assert row["status"] == "queued"


def test_a_process_tells_a_mistake_in_one_line(process):
    with process("job", "submit", "{") as p:
        out, err = p.communicate(timeout=60)
    assert (p.returncode, out, err.count("\n")) == (Exit.USAGE, "", 1)


def test_the_help_names_every_kind_of_agent(mlops):
    from shared.evaluation.agents.registry import KINDS

    text = mlops("model", "register", "--help").stdout
    assert all(kind in text for kind in KINDS)


def test_help_imports_no_database_and_no_process_manager():
    heavy = ("sqlalchemy", "psycopg", "psutil", "celery", "redis", "pydantic", "supervisor")
    code = f"import sys, mlops.cli; assert not set({heavy!r}) & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
