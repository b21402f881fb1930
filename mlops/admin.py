"""`mlops db`, `mlops tenant`, `mlops key` and `mlops model`: what is set up once."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from mlops.console import Exit, complain, one_line_errors, out, print_json, print_table

db = typer.Typer(no_args_is_help=True, help="The database schema.")
tenant = typer.Typer(no_args_is_help=True, help="Tenants: walled off from each other.")
key = typer.Typer(no_args_is_help=True, help="API keys of the current tenant.")
model = typer.Typer(no_args_is_help=True, help="Models: agents under a name and a version.")

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


@db.command()
def upgrade() -> None:
    """Bring the schema up to date: `DATABASE_OWNER_URL` migrates, `DATABASE_URL` is let in.

    Makes the tenant of `MLOPS_TENANT` if it is not there.
    """
    with one_line_errors():
        from migrations.run import MigrationError
        from migrations.run import upgrade as migrate
        from shared.local import discovery

        try:
            revision = migrate(discovery.database_owner_url(), discovery.database_url())
        except MigrationError as error:
            raise complain(str(error)) from None
        out.print(f"the schema is at {revision}")


@tenant.command("create")
def create_tenant(name: str) -> None:
    """Make a tenant. `MLOPS_TENANT=name` then works in it."""
    with one_line_errors():
        from shared.tenancy import tenants

        out.print(str(tenants.create_tenant(name)))


@key.command("create")
def create_key(name: str) -> None:
    """Make an API key. It is shown this once; `MLOPS_API_KEY` then stands for the tenant."""
    with one_line_errors():
        from shared.database import tenant_session
        from shared.tenancy import tenants

        with tenant_session(tenants.current_tenant()) as session:
            secret = tenants.create_api_key(session, name)
        out.print(secret)


@key.command("list")
def list_keys(as_json: Json = False) -> None:
    """List the API keys, without what is secret of them."""
    with one_line_errors():
        from shared.database import tenant_session
        from shared.tenancy import tenants

        with tenant_session(tenants.current_tenant()) as session:
            keys = tenants.api_keys(session)
    fields = ("name", "prefix", "created_at", "revoked_at")
    rows = [[getattr(one, field) for field in fields] for one in keys]
    if as_json:
        print_json([dict(zip(fields, row, strict=True)) for row in rows])
    else:
        print_table(fields, rows)


@key.command("revoke")
def revoke_key(name: str) -> None:
    """Revoke an API key, at once and for good."""
    with one_line_errors():
        from shared.database import tenant_session
        from shared.tenancy import tenants

        with tenant_session(tenants.current_tenant()) as session:
            tenants.revoke_api_key(session, name)
        out.print(f"{name} revoked")


@model.command("register")
def register_model(
    name: str,
    version: Annotated[str, typer.Option(help="Semantic version.")] = "1.0.0",
    agent: Annotated[str, typer.Option(help="Kind of agent: rule-based or llm.")] = "llm",
    parameters: Annotated[
        str,
        typer.Option(help='The agent\'s parameters as JSON, e.g. \'{"model": "gpt-4.1-mini"}\''),
    ] = "{}",
    description: str = "",
) -> None:
    """Register a version of a model.

    Example: mlops model register mini --parameters '{"model": "gpt-4.1-mini"}'
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.evaluation.agents.registry import describe_agent
        from shared.registry import models
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            registered = models.register(
                session,
                name,
                version,
                agent,
                _object(parameters),
                description,
                check=describe_agent,
            )
            out.print(models.key(registered))


@model.command("list")
def list_models(as_json: Json = False) -> None:
    """List the registered versions."""
    with one_line_errors():
        from shared.database import tenant_session
        from shared.registry import models
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            found = models.versions(session)
    if as_json:
        print_json(
            [
                {
                    "model": models.key(one),
                    "id": one.id,
                    "agent": one.agent,
                    "parameters": one.parameters,
                    "created_at": one.created_at,
                }
                for one in found
            ]
        )
    else:
        print_table(
            ["model", "agent", "parameters"],
            [(models.key(one), one.agent, json.dumps(one.parameters)) for one in found],
        )


def _object(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError as error:
        raise complain(f"--parameters is not JSON: {error}", Exit.USAGE) from None
    if not isinstance(parsed, dict):
        raise complain("--parameters must be a JSON object", Exit.USAGE)
    return parsed
