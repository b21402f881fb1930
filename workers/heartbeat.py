"""The heartbeat of a worker: a file it keeps fresh, for health checks that need no broker.

`python -m workers.heartbeat NODE` exits with 0 when the worker of that name lives and 1 when not.

While the worker is connected, it is its event loop that beats: a loop that hangs stops beating, and
a restart mends it. While the broker is away there is no event loop (Celery is waiting for the
broker), and a restart would mend nothing: then a thread beats. It stops with the process, so a
worker that is dead is never alive here.
"""

from __future__ import annotations

import argparse
import logging
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.local.errors import ServiceError
from shared.local.heartbeats import (
    MAX_AGE_SECONDS,
    age_seconds,
    beat,
    forget_dead,
    heartbeat_file,
)
from shared.settings import SettingsError, settings

if TYPE_CHECKING:
    from celery import Celery

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 5.0


class Heart:
    """One worker's file, and who beats it at the moment."""

    def __init__(self, file: Path, interval: float = INTERVAL_SECONDS) -> None:
        self.file = file
        self._interval = interval
        self._connected = threading.Event()
        self._stopped = threading.Event()
        self._timer: Any = None
        self._thread = threading.Thread(target=self._while_away, name="heartbeat", daemon=True)

    def start(self) -> None:
        """From here on the worker lives; it is not connected yet."""
        self.beat()
        try:
            forget_dead(self.file.parent)
        except OSError as error:
            log.warning("old heartbeats stay in %s: %s", self.file.parent, error.strerror)
        self._thread.start()

    def connected(self, timer: Any) -> None:
        """The event loop beats from now on, by the worker's `timer`."""
        self.beat()
        self._timer = timer.call_repeatedly(self._interval, self.beat)
        self._connected.set()

    def disconnected(self) -> None:
        """The event loop has ended, or may have: the thread beats from now on."""
        self._connected.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stop(self) -> None:
        """The worker was stopped in order: it lives no more, and nothing is wrong with that."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self.file.unlink(missing_ok=True)

    def beat(self) -> None:
        try:
            beat(self.file)
        except OSError as error:
            # Its work does not depend on it; whoever watches the file will tell.
            log.warning("no heartbeat at %s: %s", self.file, error.strerror)

    def _while_away(self) -> None:
        while not self._stopped.wait(self._interval):
            if not self._connected.is_set():
                self.beat()


def with_heartbeat(app: Celery) -> None:
    """Give the workers of this application a heartbeat."""
    # Here and not above, because the question of a health check needs no Celery.
    from celery import bootsteps

    class OfWorker(bootsteps.StartStopStep):  # type: ignore[misc]
        """Lives from the worker's start until its pool has ended."""

        requires = ("celery.worker.components:Timer",)

        def __init__(self, worker: Any, **_: Any) -> None:
            worker.heart = Heart(heartbeat_file(settings().state_dir, worker.hostname))

        def start(self, worker: Any) -> None:
            worker.heart.start()

        def stop(self, worker: Any) -> None:
            worker.heart.stop()

        terminate = stop

    class OfConnection(bootsteps.StartStopStep):  # type: ignore[misc]
        """Is started when the worker has connected, and stopped when it has lost the broker."""

        requires = ("celery.worker.consumer.connection:Connection",)

        def start(self, consumer: Any) -> None:
            consumer.controller.heart.connected(consumer.timer)

        def stop(self, consumer: Any) -> None:
            consumer.controller.heart.disconnected()

        shutdown = terminate = stop

    app.steps["worker"].add(OfWorker)
    app.steps["consumer"].add(OfConnection)


def main() -> int:
    """Whether a worker lives, as an exit code."""
    parser = argparse.ArgumentParser(prog="python -m workers.heartbeat", description=main.__doc__)
    parser.add_argument("node", help="name of the worker, e.g. evaluation@host")
    parser.add_argument("--max-age", type=float, default=MAX_AGE_SECONDS, metavar="SECONDS")
    asked = parser.parse_args()
    try:
        file = heartbeat_file(settings().state_dir, asked.node)
        age = age_seconds(file)
    except (SettingsError, ServiceError, OSError) as error:
        sys.stderr.write(f"mlops: {error}\n")
        return 1
    if age is None:
        sys.stderr.write(f"mlops: worker {asked.node} is not running: there is no {file}\n")
        return 1
    if age > asked.max_age:
        sys.stderr.write(
            f"mlops: worker {asked.node} hangs: its last heartbeat was {age:.0f} s ago\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
