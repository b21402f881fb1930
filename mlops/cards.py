"""`mlops card ...`: write, read and hand out model cards."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mlops.console import (
    Exit,
    Json,
    complain,
    err,
    looking_up,
    one_line_errors,
    plain,
    print_json,
    print_table,
    say,
    until_interrupted,
)

app = typer.Typer(no_args_is_help=True, help="Model cards: what is known of a model, with proof.")

Model = Annotated[str, typer.Argument(help="name@version, or name for its newest version.")]


@app.command("list")
def list_cards(as_json: Json = False) -> None:
    """List the newest card of every model's version.

    Example: mlops card list
    """
    with one_line_errors():
        from shared.cards.writing import newest_card
        from shared.database import tenant_session
        from shared.registry import models
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            rows = [
                {
                    "model": models.key(version),
                    "number": card.number,
                    "content_hash": card.content_hash,
                    "created_at": card.created_at,
                }
                for version in models.versions(session)
                if (card := newest_card(session, version)) is not None
            ]
    if as_json:
        print_json(rows)
    else:
        print_table(
            ["model", "card", "written", "SHA-256"],
            [
                (
                    row["model"],
                    row["number"],
                    f"{row['created_at']:%Y-%m-%d %H:%M:%S}",
                    row["content_hash"][:12],
                )
                for row in rows
            ],
            empty="no cards yet: `mlops card write MODEL` has one written",
        )


@app.command()
def show(model: Model, as_json: Json = False) -> None:
    """Print a model's newest card: Markdown, or JSON with the query of each figure.

    Example: mlops card show my-agent
    """
    with one_line_errors():
        name, version, card = _newest(model)
    if as_json:
        print_json(
            {
                "model": f"{name}@{version}",
                "number": card.number,
                "content_hash": card.content_hash,
                "created_at": card.created_at,
                "content": card.content,
                "figures": card.figures,
            }
        )
    else:
        sys.stdout.write("\n".join(plain(line) for line in card.content.split("\n")))


@app.command()
def export(
    model: Model,
    directory: Annotated[Path, typer.Option(help="The folder; it is made if need be.")],
    as_json: Json = False,
) -> None:
    """Write a model's newest card to a file, and print the file's path.

    Example: mlops card export my-agent --directory cards
    """
    with one_line_errors():
        from shared.cards.writing import file_name

        name, version, card = _newest(model)
        path = directory / file_name(name, version)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            path.write_text(card.content, encoding="utf-8", newline="\n")
        except OSError as error:
            raise complain(f"{path} cannot be written: {error.strerror}") from None
    if as_json:
        print_json({"model": f"{name}@{version}", "number": card.number, "path": path})
    else:
        say(path)


@app.command()
def write(model: Model, as_json: Json = False) -> None:
    """Have the next version of a model's card written, if anything changed, and wait for it.

    Example: mlops card write my-agent@1.0.0
    """
    with one_line_errors():
        from mlops.client import submit
        from shared.database import tenant_session
        from shared.jobs.contracts import WriteCard
        from shared.registry.models import key, resolve
        from shared.tenancy.tenants import current_tenant

        tenant_id = current_tenant()
        with tenant_session(tenant_id) as session, looking_up():
            name = key(resolve(session, model))
        job = submit(WriteCard(model=name), tenant_id=tenant_id)
        going_on = f"job {job.id} goes on: `mlops job watch {job.id}` follows it"
        with until_interrupted(going_on), err.status(f"job {job.id}"):
            row = job.wait()
        if row.status != "succeeded":
            raise complain(f"job {row.id} {row.status}: {row.error}")
        result = dict(row.result or {})
    if as_json:
        print_json({"model": name} | result)
    else:
        say(f"{name} card {result['number']}")


def _newest(model: str):  # type: ignore[no-untyped-def]
    """The name, the version and the newest card of what `model` names."""
    from shared.cards.writing import newest_card
    from shared.database import tenant_session
    from shared.registry.models import key, resolve
    from shared.tenancy.tenants import current_tenant

    with tenant_session(current_tenant()) as session:
        with looking_up():
            version = resolve(session, model)
        card = newest_card(session, version)
        name = key(version)
        if card is None:
            raise complain(
                f"{name} has no card yet: `mlops card write {name}` has one written",
                Exit.NOT_FOUND,
            )
        return version.model.name, version.version, card
