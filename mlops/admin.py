"""`mlops db`, `mlops tenant` and `mlops key`: what is set up once."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

import typer

from mlops.console import Json, note, one_line_errors, print_json, print_table, say

db = typer.Typer(no_args_is_help=True, help="The database schema.")
tenant = typer.Typer(no_args_is_help=True, help="Tenants: walled off from each other.")
key = typer.Typer(no_args_is_help=True, help="API keys of the current tenant.")


@db.command()
def upgrade(as_json: Json = False) -> None:
    """Bring the schema up to date: `DATABASE_OWNER_URL` migrates, `DATABASE_URL` is let in.

    `DATABASE_URL` does both when it is alone. Makes the tenant of `MLOPS_TENANT` if it is not
    there.
    """
    with one_line_errors():
        from migrations.run import upgrade as migrate
        from shared.local import discovery
        from shared.local.reachable import postgresql_version

        owner, application = discovery.database_owner_url(), discovery.database_url()
        named = "DATABASE_URL" if owner == application else "DATABASE_OWNER_URL"
        postgresql_version(owner, named)
        revision = migrate(owner, application)
    _result(f"the schema is at {revision}", {"revision": revision}, as_json)


@tenant.command("create")
def create_tenant(name: str, as_json: Json = False) -> None:
    """Make a tenant. `MLOPS_TENANT=name` then works in it."""
    with one_line_errors():
        from shared.tenancy import tenants

        made = tenants.create_tenant(name)
    _result(
        f"tenant {name} made ({made}): MLOPS_TENANT={shlex.quote(name)} makes commands work in it",
        {"id": made, "name": name},
        as_json,
    )


@tenant.command("retention")
def event_retention(
    days: Annotated[
        int | None, typer.Argument(min=1, max=800, help="Keep them so long from now on.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say for how many days telemetry events are kept, or change it. Their rollups stay.

    Findings of drift are kept as long, and longer where something refers to them.

    Example: mlops tenant retention 30
    """
    with one_line_errors():
        import sqlalchemy as sa

        from shared.database import tenant_session
        from shared.telemetry.retention import keep_for
        from shared.tenancy.tables import Tenant
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            if days is not None:
                keep_for(session, days)
            kept = session.execute(sa.select(Tenant.event_days, Tenant.events_from)).one()
    said = f"events are kept for {kept.event_days} days"
    if kept.events_from is not None:
        said += f"; those from before {kept.events_from:%Y-%m-%d} are removed"
    _result(said, {"event_days": kept.event_days, "events_from": kept.events_from}, as_json)


@key.command("create")
def create_key(name: str, as_json: Json = False) -> None:
    """Make an API key. It is shown this once; `MLOPS_API_KEY` then stands for the tenant."""
    with one_line_errors():
        from shared.database import tenant_session
        from shared.tenancy import tenants

        with tenant_session(tenants.current_tenant()) as session:
            secret = tenants.create_api_key(session, name)
    _result(secret, {"name": name, "key": secret}, as_json)
    note(
        f"the API key {name}, shown this once, only its hash is stored: keep it, and set"
        " MLOPS_API_KEY to it where commands shall work in this tenant"
    )


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
        print_table(fields, rows, empty="no API keys yet: `mlops key create NAME` makes one")


@key.command("revoke")
def revoke_key(name: str, as_json: Json = False) -> None:
    """Revoke an API key, at once and for good."""
    with one_line_errors():
        from shared.database import tenant_session
        from shared.tenancy import tenants

        with tenant_session(tenants.current_tenant()) as session:
            tenants.revoke_api_key(session, name)
    _result(f"{name} revoked", {"name": name, "revoked": True}, as_json)


def _result(line: object, value: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(value)
    else:
        say(line)
