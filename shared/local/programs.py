"""The programs of the product and their commands: the single place for both.

`mlops up` runs these commands and `docker-compose.yml` states the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.jobs.contracts import Queue
from shared.local.state import LOOPBACK

STOP_SECONDS = 30
"""How long a program may take to end before it is killed; a worker's soft shutdown is shorter."""

WORKER_ENVIRONMENT = {"REMAP_SIGTERM": "SIGQUIT"}
"SIGTERM then starts Celery's soft shutdown: work is handed back in time, none lost or doubled."


@dataclass(frozen=True)
class Program:
    """One process to keep alive: a module that Python runs, and its arguments."""

    name: str
    command: tuple[str, ...]
    queue: str | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """What the program needs beside the URLs; nothing secret."""
        return WORKER_ENVIRONMENT if self.queue else {}


def programs(
    *,
    episodes_per_worker: int | str = 4,
    beat_schedule: str = "beat.db",
    flower_address: str = LOOPBACK,
    flower_port: int = 5555,
    web_host: str = LOOPBACK,
    web_port: int = 8000,
) -> dict[str, Program]:
    """One worker per queue, beat, Flower and the HTTP server, by name.

    `episodes_per_worker` episodes run at a time in the evaluation worker. Flower's user and
    password come from FLOWER_BASIC_AUTH: a command line can be read by every user of a machine.
    """
    beat = ("celery", "-A", "beat_schedule", "beat")
    flower = ("celery", "-A", "workers", "flower")
    table = [
        *(worker(queue.value, episodes_per_worker) for queue in Queue),
        Program("beat", (*beat, "--schedule", beat_schedule, "--loglevel", "INFO")),
        Program("flower", (*flower, f"--address={flower_address}", f"--port={flower_port}")),
        Program("web", ("mlops.cli", "web", "--host", web_host, "--port", str(web_port))),
    ]
    return {program.name: program for program in table}


def worker(queue: str, episodes_per_worker: int | str = 4) -> Program:
    """The worker of one queue.

    Episodes wait for pages and models, so they share one process and its browser; the other
    queues compute, in a process of their own.
    """
    pool = ("-P", "threads") if queue == Queue.EVALUATION else ()
    concurrency = str(episodes_per_worker) if queue == Queue.EVALUATION else "1"
    command = ("celery", "-A", "workers", "worker", "-Q", queue, *pool, "-c", concurrency)
    return Program(queue, (*command, "-n", f"{queue}@%h", "--loglevel", "INFO"), queue)
