"""`mlops functions`: create, look at, ask and remove LLM functions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.console import (
    Exit,
    Json,
    complain,
    note,
    one_line_errors,
    print_json,
    print_table,
    say,
)
from shared.money import cost_text

if TYPE_CHECKING:
    from shared.functions.recording import Invocation
    from shared.functions.registering import Registered

app = typer.Typer(
    no_args_is_help=True,
    help="LLM functions: a prompt with a name, whose variants are tested, asked and recorded.",
)

Name = Annotated[str, typer.Argument(help="`name` for the newest version, or `name@version`.")]


@app.command()
def create(
    file: Annotated[Path, typer.Argument(help="The definition as YAML or JSON.")],
    as_json: Json = False,
) -> None:
    """Store a function; a changed one becomes the next version, the same one stays.

    Example: mlops functions create insight.yaml
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.functions import registering
        from shared.functions.files import FileMistakesError, read_definition
        from shared.tenancy.tenants import current_tenant

        try:
            definition = read_definition(file)
        except FileMistakesError as error:
            for line in error.lines:
                complain(line)
            raise typer.Exit(Exit.USAGE) from None
        with tenant_session(current_tenant()) as session:
            made = registering.create(session, definition)
    if as_json:
        print_json(_described(made))
    else:
        say(made.key)


@app.command("list")
def list_functions(as_json: Json = False) -> None:
    """List the functions in their newest version.

    Example: mlops functions list
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.functions.registering import functions
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            found = functions(session)
    if as_json:
        print_json([_described(one) for one in found])
        return
    print_table(
        ["function", "variants", "test", "fallback", "created"],
        [
            (
                one.key,
                ", ".join(f"{v.name} ({v.model})" for v in one.definition.variants),
                one.definition.test and one.definition.test.test,
                one.definition.fallback,
                f"{one.created_at:%Y-%m-%d %H:%M:%S}",
            )
            for one in found
        ],
        empty="no functions yet: `mlops functions create FILE` makes one",
    )


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """Show the definition of a function.

    Example: mlops functions show ai-generate-insight@2
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.functions.registering import find
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            found = find(session, name)
    if as_json:
        print_json(_described(found))
        return
    said = found.definition.model_dump(mode="json", exclude_defaults=True)
    say(f"{found.key}, created {found.created_at:%Y-%m-%d %H:%M:%S}")
    for line in json.dumps(said, indent=2, ensure_ascii=False).splitlines():
        say(line)


@app.command()
def invoke(
    name: Name,
    query: Annotated[str, typer.Argument(help="What is asked; - for stdin.")],
    context: Annotated[
        str, typer.Option(help="A JSON object with what the prompt names besides the query.")
    ] = "{}",
    unit: Annotated[
        str | None, typer.Option(help="Whose variant; the context's conversation or user if none.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Ask a function: the answer on stdout, what it took on stderr.

    Example: mlops functions invoke ai-generate-insight "Why?" --context '{"plan": "free"}'
    """
    with one_line_errors():
        import asyncio

        from mlops import functions
        from shared.functions.recording import NoAnswerError

        asked = functions.invoke(name, query=_read(query), context=_object(context), unit_id=unit)
        try:
            answer = asyncio.run(asked)
        except NoAnswerError as error:
            if as_json:
                print_json(error.invocation.to_json())
            raise
    if as_json:
        print_json(answer.to_json())
        return
    for line in (answer.text or "").splitlines():
        say(line)
    note(_took(answer))
    for problem in answer.problems:
        note(problem)


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="Of the function.")], as_json: Json = False
) -> None:
    """Let a function be asked no more. What it has answered stays in the telemetry.

    Example: mlops functions remove ai-generate-insight
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.functions import registering
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            versions = registering.remove(session, name)
    if as_json:
        print_json({"function": name, "versions_removed": versions})
    else:
        say(f"{name} removed, {versions} version{'' if versions == 1 else 's'}")


def _described(one: Registered) -> dict[str, Any]:
    return {
        "function": one.key,
        "version": one.version,
        "created_at": one.created_at,
        "definition": one.definition.model_dump(mode="json"),
    }


def _took(answer: Invocation) -> str:
    cost = cost_text(answer.cost_nanos, answer.unpriced_calls, simulated=answer.simulated)
    by = answer.variant
    if answer.answered_by != answer.variant:
        by = f"{answer.variant}, answered by the fallback {answer.answered_by}"
    calls = f"{answer.calls} call{'' if answer.calls == 1 else 's'}"
    quality = "" if answer.quality is None else f", quality {answer.quality:.2f}"
    return f"{answer.function}, variant {by}: {answer.latency_ms:,} ms, {calls}, {cost}{quality}"


def _read(query: str) -> str:
    return sys.stdin.read() if query == "-" else query


def _object(text: str) -> dict[str, Any]:
    try:
        context = json.loads(text)
    except (ValueError, RecursionError):
        context = None
    if not isinstance(context, dict):
        raise complain(f"--context {text[:100]!r} is no JSON object", Exit.USAGE)
    return context
