"""`mlops up`, `down`, `restart`, `status`, `logs`, `env`, `doctor`, `web`: the services here."""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.markup import escape

from mlops.console import (
    Exit,
    Json,
    complain,
    database_complaint,
    note,
    one_line_errors,
    out,
    plain,
    print_json,
    say,
)

if TYPE_CHECKING:
    from rich.table import Table

    from shared.jobs.reading import QueueDepth
    from shared.local.services import Services
    from shared.local.supervision import ProcessInfo

# What the commands stand on is imported inside of them: `mlops --help` needs none of it, and the
# database, the process manager and the settings take a second of computing.


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for name, command in {
        "up": up,
        "down": down,
        "restart": restart,
        "status": status,
        "logs": show_logs,
        "env": environment,
        "doctor": examine,
        "web": web,
    }.items():
        app.command(name)(command)


@one_line_errors()
def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave them running and return.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Of the workers, beat, flower and web only this one; may be repeated."),
    ] = None,
) -> None:
    """Start PostgreSQL, Redis, one worker per queue, beat, Flower, HTTP; Ctrl-C stops them.

    What DATABASE_URL and REDIS_URL name is used and not started.
    """
    from shared.local import services

    with _ended_by_signals():
        running = _start(only)
        if detach or not running.started:
            return
        try:
            _stream(running.state_dir)
        finally:
            say("stopping")
            services.stop(running.state_dir)
            say("stopped")


@one_line_errors()
def down() -> None:
    """Stop everything that `mlops up` started here."""
    from shared.local import services
    from shared.settings import settings

    stopped = services.stop(settings().state_dir)
    say("stopped" if stopped else f"nothing is running in {state_folder()}")


@one_line_errors()
def restart() -> None:
    """Stop everything, and start the same again in the background."""
    from shared.local import services
    from shared.settings import settings

    programs = services.programs_of(settings().state_dir)
    services.stop(settings().state_dir)
    _start(programs)


def state_folder() -> Path:
    """Where the services' data is, in full: a relative one follows the working directory."""
    from shared.local.state import StateFolder
    from shared.settings import settings

    return StateFolder.at(settings().state_dir).path


def _start(only: Sequence[str] | None = None) -> Services:
    from shared.local import services
    from shared.local.programs import programs
    from shared.settings import settings

    unknown = sorted(set(only or ()) - set(programs()))
    if unknown:
        raise complain(f"no program {unknown[0]!r}: there are {', '.join(programs())}", Exit.USAGE)
    running = services.start(settings().state_dir, programs=only or None, migrate=_migrate)
    for line in running.notes:
        note(line)
    if running.started:
        for name, address in _addresses(running.state_dir):
            say(f"{name:<11} {address}")
        say(f"running     see `mlops status`; passwords are in {running.state_dir}/services.json")
        say(f"folder      {running.state_dir}")
    else:
        say(f"already running in {running.state_dir}: see `mlops status`, stop with `mlops down`")
    return running


def _migrate(owner_url: str, login_url: str) -> None:
    from migrations.run import upgrade

    upgrade(owner_url, login_url)


def _addresses(state_dir: Path) -> Iterator[tuple[str, str]]:
    from shared.local import services

    record = services.running_record(state_dir)
    if record is None:
        return
    named = "named by {}, not started here"
    ours = record.postgres if "postgres" in record.servers else None
    broker = record.redis if "redis" in record.servers else None
    yield (
        "PostgreSQL",
        f"127.0.0.1:{ours.port} (version {ours.major})" if ours else named.format("DATABASE_URL"),
    )
    yield "Redis", f"127.0.0.1:{broker.port}" if broker else named.format("REDIS_URL")
    if record.flower and record.runs("flower"):
        yield "Flower", f"{record.flower.address} (user {record.flower.user})"
    if record.web and record.runs("web"):
        yield "Functions", f"{record.web.address}/functions/v1/NAME (with an API key)"


def _stream(state_dir: Path) -> None:
    """Tell each change of state until interrupted, or until the services are stopped elsewhere."""
    from shared.local import services

    told: dict[str, str] = {}
    try:
        while True:
            infos = services.statuses(state_dir)
            if not infos:
                say("stopped from elsewhere")
                return
            for info in infos:
                line = f"{info.name:<11} {info.state.value}" + (
                    f" (pid {info.pid})" if info.pid else ""
                )
                if told.get(info.name) != line:
                    told[info.name] = line
                    say(line)
            time.sleep(1.0)
    except KeyboardInterrupt:
        return


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A closed terminal and SIGTERM end the command as Ctrl-C does: in order."""

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_ENDING = (signal.SIGTERM, signal.SIGHUP)


@one_line_errors()
def status(
    as_json: Json = False,
) -> None:
    """List each process with its queue: what waits, what runs, how old the oldest is.

    Exit code 1 when nothing is running.
    """
    from shared.local import services

    state_dir = state_folder()
    infos = services.statuses(state_dir)
    depths, reason = _depths(bool(infos))
    if as_json:
        print_json(_status_json(state_dir, infos, depths, reason))
    elif infos:
        out.print(_status_table(infos, depths))
        note(f"state folder {state_dir}")
        if reason:
            note(f"queues unknown: {reason}")
    else:
        say(f"nothing is running in {state_dir}: run `mlops up`")
    if not infos:
        raise typer.Exit(Exit.FAILURE)


def _depths(running: bool) -> tuple[dict[str, QueueDepth] | None, str | None]:
    if not running:
        return None, None
    from sqlalchemy.exc import DBAPIError

    from shared.jobs import reading
    from shared.local.errors import ServiceError

    try:
        return reading.depths(), None
    except ServiceError as error:
        return None, str(error)
    except DBAPIError as error:
        return None, database_complaint(error)


def _queue_of(name: str) -> str | None:
    from shared.local.programs import programs

    program = programs().get(name)
    return program.queue if program else None


def _depth_of(name: str, depths: dict[str, QueueDepth] | None) -> QueueDepth | None:
    queue = _queue_of(name)
    return depths.get(queue) if queue and depths is not None else None


def _status_table(infos: tuple[ProcessInfo, ...], depths: dict[str, QueueDepth] | None) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("process", "pid", "uptime", "state", "queue", "queued", "running", "oldest"):
        numeric = column in ("pid", "uptime", "queued", "running", "oldest")
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for info in infos:
        depth = _depth_of(info.name, depths)
        table.add_row(
            info.name,
            str(info.pid or "-"),
            _duration(info.uptime_seconds),
            info.state.value,
            _queue_of(info.name) or "",
            *_depth_cells(info.name, depth),
        )
    return table


def _depth_cells(name: str, depth: QueueDepth | None) -> tuple[str, str, str]:
    if _queue_of(name) is None:
        return ("", "", "")
    if depth is None:
        return ("-", "-", "-")
    return (str(depth.queued), str(depth.running), _duration(depth.oldest_queued_seconds))


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    whole = int(seconds)
    for size, unit, smaller, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m")):
        if whole >= size:
            return f"{whole // size}{unit} {whole % size // smaller}{small_unit}"
    return f"{whole // 60}m {whole % 60}s" if whole >= 60 else f"{whole}s"


def _status_json(
    state_dir: Path,
    infos: tuple[ProcessInfo, ...],
    depths: dict[str, QueueDepth] | None,
    reason: str | None,
) -> dict[str, Any]:
    from shared.local import services

    def row(info: ProcessInfo) -> dict[str, Any]:
        depth = _depth_of(info.name, depths)
        return {
            "process": info.name,
            "pid": info.pid,
            "uptime_seconds": info.uptime_seconds,
            "state": info.state.value,
            "queue": _queue_of(info.name),
            "queued": depth.queued if depth else None,
            "running": depth.running if depth else None,
            "oldest_queued_seconds": depth.oldest_queued_seconds if depth else None,
        }

    record = services.running_record(state_dir)
    return {
        "running": bool(infos),
        "state_dir": state_dir,
        "processes": [row(info) for info in infos],
        "flower": record.flower.address if record and record.flower else None,
        "web": record.web.address if record and record.web else None,
        "queues_unknown": reason,
    }


@one_line_errors()
def show_logs(
    name: Annotated[str | None, typer.Argument(help="A process; all of them by default.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is added.")
    ] = False,
    count: Annotated[int, typer.Option("-n", min=0, help="How many last lines of each.")] = 20,
) -> None:
    """Show the last lines of the logs."""
    from shared.local import logs
    from shared.local.state import StateFolder
    from shared.settings import settings

    folder = StateFolder.at(settings().state_dir)
    present = {path.stem: path for path in sorted(folder.logs.glob("*.log"))}
    if not present:
        raise complain(f"there are no logs in {folder.path}: run `mlops up` first")
    if name is not None and name not in present:
        raise complain(f"no log {name!r}: there are {', '.join(present)}", Exit.USAGE)
    chosen = {name: present[name]} if name else present
    width = max(map(len, chosen))

    def show(source: str, line: str) -> None:
        say(line if name else f"{source:<{width}} | {line}")

    for source, path in chosen.items():
        for line in logs.last_lines(path, count):
            show(source, line)
    if follow:
        try:
            for source, line in logs.follow(chosen):
                show(source, line)
        except KeyboardInterrupt:
            return


@one_line_errors()
def environment(as_json: Json = False) -> None:
    """Print the URLs of the services, passwords included, as lines for a shell.

    For what is not started in the folder of `mlops up`: a worker, psql, a program of your own.

    Example: eval "$(mlops env)"
    """
    from shared.local import discovery

    urls = {"DATABASE_URL": discovery.database_url(), "REDIS_URL": discovery.redis_url()}
    if as_json:
        print_json(urls)
        return
    for name, url in urls.items():
        say(f"export {name}={shlex.quote(url)}")


@one_line_errors()
def examine(
    as_json: Json = False,
) -> None:
    """Check everything this product needs: one line each, what is wrong and how to mend it.

    Exit code 1 when something is wrong.
    """
    from migrations import run as migrations
    from shared.local import doctor
    from shared.settings import settings

    found = []
    for check in doctor.examine(settings().state_dir, migrations.newest()):
        found.append(check)
        if not as_json:
            colour = {"ok": "green", "wrong": "red"}.get(check.verdict.value, "yellow")
            verdict = f"[{colour}]{check.verdict.value:<11}[/{colour}]"
            line = f"{verdict} {escape(plain(check.name))}: {escape(plain(check.detail))}"
            out.print(line, soft_wrap=True)
    if as_json:
        print_json(
            [{"name": c.name, "verdict": c.verdict.value, "detail": c.detail} for c in found]
        )
    if any(check.verdict is doctor.Verdict.WRONG for check in found):
        raise typer.Exit(Exit.FAILURE)


@one_line_errors()
def web(
    host: Annotated[str | None, typer.Option(help="MLOPS_WEB_HOST by default.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="MLOPS_WEB_PORT by default; 0 for any.")
    ] = None,
) -> None:
    """Answer HTTP requests of LLM functions in the foreground; Ctrl-C ends it.

    `mlops up` runs it as one of its processes.

    Example: mlops web --port 8080
    """
    import logging

    try:
        from web.server import address_of, listen, server
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "uvicorn", "h11", "starlette"):
            raise
        raise complain(
            f"{error.name} is not installed: `pip install 'browser-mlops[web]'`"
        ) from None
    from shared.settings import settings

    logging.basicConfig(
        level=logging.INFO, format="[%(asctime)s: %(levelname)s] %(message)s", force=True
    )
    # Requests have a line each; what the client of the models says of its own would be another.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    here = settings()
    listening = listen(
        here.web_host if host is None else host, here.web_port if port is None else port
    )
    say(f"functions are at {address_of(listening)}/functions/v1/NAME")
    with suppress(KeyboardInterrupt):
        server().run(sockets=[listening])
