"""No command shows a tenant what another has reported, spent, registered or been refused."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from click.testing import Result
from typer.testing import CliRunner

from mlops.cli import app
from shared.database import TenantId, tenant_session
from shared.jobs.contracts import RollUp
from shared.jobs.submission import submit
from shared.jobs.tables import JobRow
from shared.settings import settings
from shared.telemetry.ingestion import CallCost, ingest
from shared.telemetry.rollups import roll_up_dirty_hours
from shared.tenancy.tenants import create_tenant

MARK = "f0reign"
NOW = datetime.now(UTC)

READING = (
    ("monitor", "performance", "--by", "function"),
    ("monitor", "errors"),
    ("monitor", "metrics"),
    ("monitor", "rejected"),
    ("cost", "report", "--by", "function"),
    ("cost", "budget", "list"),
    ("cost", "prices"),
    ("feature", "list"),
    ("model", "list"),
    ("key", "list"),
)
"In these the mark is to be seen by its own tenant."

READING_TOO = (
    ("monitor", "health"),
    ("cost", "anomalies"),
    ("cost", "forecast"),
    ("cost", "advise"),
    ("card", "list"),
    ("drift", "list"),
    ("drift", "quality"),
    ("drift", "changes"),
    ("drift", "baseline", "list"),
    ("drift", "budget"),
    ("alert", "list"),
    ("ab", "list"),
    ("job", "list"),
)

NAMING = (
    ("monitor", "performance", "--model", "{}@1"),
    ("monitor", "metrics", "--name", "{}"),
    ("monitor", "rejected", "--reason", "{}"),
    ("cost", "prices", "show", "{}/m"),
    ("feature", "show", "{}"),
    ("feature", "latest", "{}", "--entity", "e"),
    ("card", "show", "{}@1"),
)
"Commands that name what they are asked for."

REGISTER_FEATURE = (
    *("feature", "register", "--type", "number", "--owner", "o"),
    *("--source", "s", "--description", "d"),
)


@pytest.fixture(scope="module")
def foreign(services: object, tmp_path_factory: pytest.TempPathFactory) -> TenantId:
    """Another tenant, with the mark in all that it has."""
    name = f"other-{uuid.uuid4()}"
    tenant = create_tenant(name)

    def event(kind: str, **fields: object) -> bytes:
        always = {"kind": kind, "event_id": str(uuid.uuid4()), "occurred_at": NOW.isoformat()}
        named = {"model": f"{MARK}@1", "function": MARK}
        return json.dumps(always | named | fields).encode()

    lines = [
        event("llm_call", provider=MARK, llm_model=MARK, error_message=f"{MARK} fails"),
        event("metric", name=MARK, value=1),
        event("system", host=MARK, memory_percent=1),
        event("llm_call", mood=MARK),
    ]
    with tenant_session(tenant) as session:
        ingest(session, lines, lambda _: CallCost(10**9, "a price"), NOW)
        roll_up_dirty_hours(session)
    submit(tenant, RollUp())
    prices = tmp_path_factory.mktemp("foreign") / "prices.yaml"
    prices.write_text(
        f"[{{provider: {MARK}, model: m, starts: 2026-01-01, input: 1, output: 2, source: s}}]"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_TENANT", name)
        settings.cache_clear()
        for command in (
            ("cost", "prices", "import", str(prices)),
            ("cost", "budget", "set", "5", "--period", "day", "--function", MARK),
            (*REGISTER_FEATURE, MARK),
            ("model", "register", MARK, "--agent", "random"),
            ("key", "create", MARK),
        ):
            done = CliRunner().invoke(app, list(command))
            assert done.exit_code == 0, (command, done.output)
        for reading in READING:
            told = CliRunner().invoke(app, [*reading, "--json"]).output
            assert MARK in told, reading
    settings.cache_clear()
    return tenant


def test_no_command_shows_what_another_tenant_has(
    foreign: TenantId, mlops: Callable[..., Result]
) -> None:
    for command in (*READING, *READING_TOO):
        told = mlops(*command, "--json")
        json.loads(told.stdout)
        assert MARK not in told.stdout + told.stderr, command
    assert mlops("cost", "prices", "export").stdout == "[]\n"


def test_what_another_tenant_has_is_as_if_nobody_had_it(
    foreign: TenantId, mlops: Callable[..., Result]
) -> None:
    for command in NAMING:
        theirs, nobodys = (
            mlops(*(word.format(name) for word in command)) for name in (MARK, "n0body1")
        )
        assert theirs.exit_code == nobodys.exit_code, command
        said = theirs.output.replace(MARK, "n0body1")
        assert said == nobodys.output, command


def test_a_job_of_another_tenant_can_neither_be_seen_nor_changed(
    foreign: TenantId, mlops: Callable[..., Result]
) -> None:
    with tenant_session(foreign) as session:
        job = session.scalars(sa.select(JobRow.id)).first()
    for command in ("status", "cancel", "retry", "watch"):
        said = mlops("job", command, str(job))
        assert said.exit_code != 0, command
        assert "no job" in said.stderr, command
