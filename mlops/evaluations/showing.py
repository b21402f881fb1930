"""`mlops evaluate show`: how a run did, or one episode step by step."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from mlops.console import Json, one_line_errors, out, plain, print_json, print_table
from mlops.evaluations.finding import find_run_or_episode
from mlops.evaluations.outcome import show_run
from shared.money import call_count, cost_text, dollars, known_nanos

if TYPE_CHECKING:
    from shared.evaluation.artifacts import ArtifactStore
    from shared.evaluation.replaying import RecordedEpisode, RecordedStep


def register(app: typer.Typer) -> None:
    app.command()(show)


@one_line_errors()
def show(
    identifier: Annotated[
        str,
        typer.Argument(
            metavar="RUN|EPISODE", help="Identifier of a run or an episode, or a prefix of it."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Show how the agents of a run did so far, or replay one episode.

    Example: mlops evaluate show 4f1c
    """
    from shared.database import tenant_session
    from shared.evaluation.replaying import recorded_episode
    from shared.tenancy.tenants import current_tenant

    tenant_id = current_tenant()
    with tenant_session(tenant_id) as session:
        run_id, episode_id = find_run_or_episode(session, identifier)
        episode = None if episode_id is None else recorded_episode(session, episode_id)
    if run_id is not None:
        show_run(tenant_id, run_id, as_json=as_json)
    elif episode is not None:
        from shared.evaluation.artifacts import ArtifactStore

        store = ArtifactStore(tenant_id)
        if as_json:
            print_json(_fields(episode, store))
        else:
            _replay(episode, store)


def _fields(episode: RecordedEpisode, store: ArtifactStore) -> dict[str, Any]:
    fields = dataclasses.asdict(episode)
    fields["recording_file"] = _file(store, episode.recording)
    for step in fields["steps"]:
        step["screenshot_file"] = _file(store, step["screenshot"])
    return fields


def _replay(episode: RecordedEpisode, store: ArtifactStore) -> None:
    colour = _COLOURS.get(episode.outcome or "", "white")
    _line(
        f"[bold]{_safe(episode.benchmark)}/{_safe(episode.task)}[/bold] seed {episode.seed}"
        f" by [bold]{_safe(episode.model)}[/bold]"
        + (f" (variant {_safe(episode.variant)})" if episode.variant else "")
    )
    _line(f"[bold]goal[/bold]     {_safe(episode.goal or 'not known: it did not begin')}")
    for step in episode.steps:
        _replay_step(step, store)
    _line(
        f"[bold]outcome[/bold]  [{colour}]{_safe(episode.outcome or episode.job_status)}[/{colour}]"
        + ("" if episode.reason is None else f": {_safe(episode.reason)}")
        + ("" if episode.scored or episode.outcome is None else " (not scored)")
    )
    if episode.answer is not None:
        _line(f"[bold]answer[/bold]   {_safe(episode.answer)}")
    for violation in episode.violations or ():
        _line(f"[bold red]violation[/bold red] {_safe(violation)}")
    print_table(["of the episode", ""], _figures(episode, store))


def _replay_step(step: RecordedStep, store: ArtifactStore) -> None:
    _line(f"\n[bold cyan]step {step.index + 1}[/bold cyan]  {_safe(step.url)}")
    if step.reasoning:
        _line(f"  [dim]thought[/dim]  {_safe(step.reasoning)}")
    _line(f"  [dim]did[/dim]      {_safe(step.action_line)}")
    if step.error is not None:
        _line(f"  [red]error[/red]    {_safe(step.error)}")
    _line(
        f"  [dim]took[/dim]     observe {step.observe_ms} ms, think {step.think_ms} ms,"
        f" act {step.act_ms} ms" + _calls(step)
    )
    if step.screenshot is not None:
        _line(f"  [dim]picture[/dim]  {_safe(_kept(store, step.screenshot))}")


def _calls(step: RecordedStep) -> str:
    if not step.calls:
        return ""
    failed = f" ({step.failed_calls} failed)" if step.failed_calls else ""
    return (
        f"; {call_count(step.calls)}{failed} of {_safe(', '.join(step.models))}: "
        + _known(step.input_tokens, "tokens in")
        + ", "
        + _known(step.output_tokens, "out")
        + ", "
        + ("cost unknown" if step.cost_nanos is None else dollars(step.cost_nanos))
    )


def _known(count: int | None, what: str) -> str:
    return f"{'unknown' if count is None else f'{count:,}'} {what}"


def _figures(episode: RecordedEpisode, store: ArtifactStore) -> list[tuple[str, object]]:
    known = known_nanos(episode.cost_nanos, episode.llm_calls, episode.unpriced_calls)
    cost = cost_text(known, episode.unpriced_calls, simulated=False)
    figures: list[tuple[str, object]] = [
        ("raw reward", episode.raw_reward),
        ("duration", None if episode.duration_ms is None else f"{episode.duration_ms} ms"),
        ("tokens in / out", f"{episode.input_tokens:,} / {episode.output_tokens:,}"),
        ("cost", cost if episode.llm_calls else "no calls"),
        ("attempt", episode.attempt),
        ("worker", episode.worker),
        ("run", episode.run_id),
        ("episode", episode.id),
    ]
    if episode.recording is not None:
        figures.append(("trace", _kept(store, episode.recording)))
    return figures


def _file(store: ArtifactStore, sha256: str | None) -> str | None:
    if sha256 is None or not store.path(sha256).is_file():
        return None
    return str(store.path(sha256).absolute())


def _kept(store: ArtifactStore, sha256: str) -> str:
    return _file(store, sha256) or f"no longer kept, or not on this machine ({sha256[:12]})"


_COLOURS = {
    "success": "green",
    "failure": "red",
    "agent_error": "red",
    "timeout": "yellow",
    "environment_error": "magenta",
}


def _line(markup: str) -> None:
    out.print(markup, soft_wrap=True)


def _safe(text: str) -> str:
    return escape(plain(text))
