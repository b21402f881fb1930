"""From the caller's thread to the transport: a bounded buffer and the one thread that empties it.

`add` does no input or output and waits for nobody, so it may be called from anywhere, a signal's
handler and a destructor included. The thread encodes, packs and delivers; what cannot be sent at
once is spilled, so that memory holds only what was not flushed yet. Where the disk takes nothing
either, batches are held in memory, and once that is full what comes is dropped and counted.
"""

from __future__ import annotations

# What a transport imports may want it, and it cannot be imported any more once a process ends: a
# short script sends its only batch then.
import concurrent.futures.thread  # noqa: F401
import logging
import threading
import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import Final, Protocol
from uuid import uuid4

from mlops.telemetry import processes
from mlops.telemetry.counting import Counts, Tally
from mlops.telemetry.delivering import Delivery
from mlops.telemetry.encoding import KEPT_LENGTH, Record, encode
from mlops.telemetry.raising import is_for_the_caller
from mlops.telemetry.sending import Batch, Transport
from mlops.telemetry.spilling import SpillFolder
from shared.telemetry.packing import pack

log = logging.getLogger("mlops.metrics")

EXIT_SECONDS: Final = 5.0
"How long the end of a process waits for the service before it spills what is left."

_FORK_SECONDS: Final = 1.0
"How long a fork waits while the thread is inside of libraries, such as to import them."

_ANSWER_SECONDS: Final = 0.02
"How long a fork waits for a service: one that is well has answered then."

_BATCH_BYTES: Final = 16 * 2**20
"Of a batch before it is compressed; a service takes four times as much."


class Lock(Protocol):
    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...

    def release(self) -> None: ...


class Outbox:
    """Collects records and hands them over in batches."""

    def __init__(
        self,
        transport: Transport,
        folder: SpillFolder,
        *,
        batch_events: int,
        flush_seconds: float,
        most_events: int,
    ) -> None:
        self._transport = transport
        self._folder = folder
        self._batch_events = batch_events
        self._flush_seconds = flush_seconds
        self._most_events = most_events
        self._begin()

    def _begin(self) -> None:
        """The state of a process that has recorded nothing."""
        self._records: deque[Record] = deque()
        self._commands: SimpleQueue[threading.Event | None] = SimpleQueue()
        "Wakes the thread; an event is set once what was recorded before it is out of memory."
        self._woken = False
        self._thread: threading.Thread | None = None
        self._rescuer: threading.Thread | None = None
        self._tally = Tally()
        self._delivery = Delivery(self._transport, self._folder, self._tally)
        self._working = threading.RLock()
        "Held while a thread is inside of libraries, whose locks must not be forked."
        self._stilled: list[Lock] = []
        self._ending = False

    # In the caller's thread

    def add(self, record: Record) -> None:
        """Keep the record for the thread. Where memory is full its caller spills a batch first, and
        where the disk takes none the record is dropped, counted and told in the log."""
        for value in record[2].values():
            if type(value) is str and len(value) > KEPT_LENGTH:
                record = _cut(record)
                break
        records = self._records
        waiting = len(records)
        if waiting + self._delivery.held_events < self._most_events or self._spill_one():
            records.append(record)
        else:
            with self._tally.lock:
                self._tally.overflowed += 1
            self._tally.tell("telemetry is dropped: memory and spill folder are full")
        if self._thread is None:
            self._start()
        elif waiting >= self._batch_events:
            self._hurry(waiting)

    def _spill_one(self) -> bool:
        """Make room where the threads do not keep up with what is recorded; whether there is."""
        if self._delivery.held_events:
            # The disk takes no more.
            return False
        batch = self._take()
        return batch is None or self._delivery.keep(batch)

    def refuse(self, reason: str, events: int = 1) -> None:
        """Count events that could not even be recorded, and say why in the log."""
        self._tally.refuse(reason, events)

    def flush(self, timeout: float | None = None) -> bool:
        """Hand over what was recorded so far; False if it is still in memory after `timeout`.

        What the service does not take now is in the spill folder then.
        """
        done = threading.Event()
        self._commands.put(done)
        if self._thread is None:
            self._start()
        if self._thread is None:
            return not self._records and not self._delivery.held_events
        return done.wait(timeout) and not self._delivery.held_events

    def counts(self) -> Counts:
        return self._delivery.counts(self._records)

    def end(self, timeout: float) -> None:
        """Hand over what can be in `timeout` seconds and spill the rest; the thread ends."""
        if self._thread is None and not self._records:
            return
        self._ending = True
        self.flush(timeout)
        self._delivery.keep_held()
        while self._records:
            batch = self._take()
            if batch is not None:
                self._delivery.keep(batch)

    def leave(self) -> None:
        """At the end of the process: `end`, and keep what is still being sent."""
        self.end(EXIT_SECONDS)
        self._delivery.keep_in_hand()

    def end_soon(self) -> None:
        """Let the thread end once it has handed over what there is; may run in a destructor."""
        self._ending = True
        self._commands.put(None)

    def _start(self) -> None:
        with self._tally.lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="mlops-metrics", daemon=True)
            self._thread = thread
            try:
                thread.start()
            except RuntimeError:
                # The process is ending, or may have no more threads: `end` spills what there is.
                self._thread = None
                return
            processes.look_after(self)

    def _hurry(self, waiting: int) -> None:
        """A batch is full. With half the memory full, a thread that is busy sending gets help."""
        if not self._woken:
            self._woken = True
            self._commands.put(None)
        if self._delivery.in_hand is not None and waiting >= self._most_events // 2:
            with self._tally.lock:
                self._start_rescue()

    def _start_rescue(self) -> None:
        if self._rescuer is not None:
            return
        rescuer = threading.Thread(target=self._rescue, name="mlops-metrics-spill", daemon=True)
        self._rescuer = rescuer
        try:
            rescuer.start()
        except RuntimeError:
            self._rescuer = None

    def _rescue(self) -> None:
        """In a thread of its own: spill batches until a quarter of the memory is full."""
        try:
            while len(self._records) > self._most_events // 4:
                batch = self._take()
                if batch is not None and not self._delivery.keep(batch):
                    return
        finally:
            self._rescuer = None

    # In the outbox's thread

    def _run(self) -> None:
        self._delivery.clean_up()
        due = time.monotonic() + self._flush_seconds
        while True:
            try:
                command = self._commands.get(timeout=max(due - time.monotonic(), 0.001))
            except Empty:
                command = None
            self._woken = False
            try:
                self._work(due)
            except BaseException:
                # This thread is all there is: what it could not do is tried again.
                log.exception("telemetry could not be handed over")
                self._delivery.fail()
            if command is not None:
                command.set()
            if self._ending and self._is_empty() and self._commands.empty():
                break
            due = time.monotonic() + self._flush_seconds
        with self._tally.lock:
            processes.let_go(self)
            self._ending = False
            self._thread = None
        if self._records or not self._commands.empty():
            self._start()

    def _is_empty(self) -> bool:
        return not self._records and not self._delivery.held_events

    def _work(self, due: float) -> None:
        with self._working:
            self._delivery.prepare()
        self._deliver_all()
        while not self._delivery.is_paused() and self._delivery.resend():
            # A long queue on disk must not make what comes in overflow, nor wait.
            if len(self._records) >= self._batch_events or time.monotonic() >= due:
                self._deliver_all()

    def _deliver_all(self) -> None:
        self._delivery.deliver_held()
        while self._records:
            batch = self._take()
            if batch is not None:
                self._delivery.deliver(batch)

    # In any thread

    def _take(self) -> Batch | None:
        """The oldest records as a batch; None if none of them can be said."""
        lines: list[bytes] = []
        size = 0
        with self._working:
            while len(lines) < self._batch_events and size < _BATCH_BYTES:
                record = self._next()
                if record is None:
                    break
                try:
                    lines.append(encode(record))
                    size += len(lines[-1])
                except BaseException as error:  # of whatever object the caller has passed
                    with self._tally.lock:
                        self._tally.taken -= 1
                        self._tally.on_the_way -= 1
                    self.refuse(f"{record[0]}: {type(error).__name__}")
                    if is_for_the_caller(error):
                        raise
            return Batch(uuid4(), pack(lines), len(lines)) if lines else None

    def _next(self) -> Record | None:
        # Two threads take at the end of the process, or when one of them is stuck.
        with self._tally.lock:
            if not self._records:
                return None
            self._tally.taken += 1
            self._tally.on_the_way += 1
            return self._records.popleft()

    # Around a fork

    def hold_still(self) -> bool:
        """Before a fork: wait while the thread is inside of libraries; whether `go_on` is due.

        Hardly for a service, which may not answer: a thread that waits for it holds no lock that
        the child would need.
        """
        locks: tuple[tuple[Lock, float], ...] = (
            (self._working, _FORK_SECONDS),
            (self._delivery.exchanging, _ANSWER_SECONDS),
        )
        self._stilled = [lock for lock, seconds in locks if lock.acquire(timeout=seconds)]
        return bool(self._stilled)

    def go_on(self) -> None:
        """In the parent, after a fork."""
        for lock in self._stilled:
            lock.release()

    def begin_anew(self) -> None:
        """In the child, after a fork: what was recorded before is the parent's to send."""
        self._delivery.forget_claims()
        self._begin()


def _cut(record: Record) -> Record:
    """The record without what no text is sent with."""
    kind, at, fields = record
    return (
        kind,
        at,
        {
            name: value[:KEPT_LENGTH] if type(value) is str else value
            for name, value in fields.items()
        },
    )
