"""From the caller's thread to the transport: a bounded buffer and the one thread that empties it.

`add` does no input or output and waits for nobody, so it may be called from anywhere, a signal's
handler and a destructor included. The thread encodes, packs and sends; what cannot be sent at once
is spilled, so that memory holds only what was not flushed yet. Where the disk takes nothing either,
batches are held in memory, and once that is full what comes is dropped and counted.
"""

from __future__ import annotations

# What a transport imports may want it, and it cannot be imported any more once a process ends: a
# short script sends its only batch then.
import concurrent.futures.thread  # noqa: F401
import logging
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final
from uuid import uuid4

from mlops.telemetry import processes
from mlops.telemetry.encoding import KEPT_LENGTH, Record, encode
from mlops.telemetry.sending import Batch, RefusedBatchError, Transport, WaitError
from mlops.telemetry.spilling import SpillFolder
from shared.telemetry.packing import pack

log = logging.getLogger("mlops.metrics")

EXIT_SECONDS: Final = 5.0
"How long the end of a process waits for the service before it spills what is left."

_FORK_SECONDS: Final = 1.0
"How long a fork waits for a batch on its way."

_LONGEST_PAUSE_SECONDS: Final = 60.0

_BATCH_BYTES: Final = 16 * 2**20
"Of a batch before it is compressed; a service takes four times as much."

_TOLD: Final = 100


@dataclass(frozen=True)
class Counts:
    """What became of the events: `recorded` = `sent` + `waiting` + `dropped` + `refused`.

    The sum holds where no other process shares the spill folder and it was empty at first.
    """

    recorded: int
    "Events that this process was asked to record."
    sent: int
    "Handed over, also from files that others have left."
    spilled: int
    "Written to files by this process, sent since or not."
    waiting: int
    "In memory, and in the files of all processes."
    dropped: int
    "Lost because memory and spill folder were full."
    refused: int
    "Lost because they can never be taken; the log has the reason."


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
        self._lock = threading.RLock()
        "Of the counts and of starting threads; reentrant, for a signal's handler records as well."
        self._working = threading.Lock()
        "Held while the thread is inside of libraries, whose locks must not be forked."
        self._ending = False

        self._held: deque[Batch] = deque()
        self._held_events = 0
        self._in_hand: Batch | None = None
        self._failures = 0
        self._not_before = 0.0
        self._disk_complained = False
        self._told: set[str] = set()
        "Reasons that the log has; it is not told each of them a thousand times."

        self._taken = self._sent = self._spilled = self._dropped = self._refused = 0
        self._on_the_way = 0
        "Events that are no longer records, and neither sent nor spilled, held or refused."

    # In the caller's thread

    def add(self, record: Record) -> None:
        """Keep the record for the thread; when memory is full it is dropped and counted."""
        for value in record[2].values():
            if type(value) is str and len(value) > KEPT_LENGTH:
                record = _cut(record)
                break
        records = self._records
        waiting = len(records)
        if waiting + self._held_events >= self._most_events:
            with self._lock:
                self._dropped += 1
        else:
            records.append(record)
        if self._thread is None:
            self._start()
        elif waiting >= self._batch_events:
            self._hurry(waiting)

    def refuse(self, reason: str, events: int = 1) -> None:
        """Count events that could not even be recorded, and say why in the log."""
        with self._lock:
            self._refused += events
            self._taken += events
        if reason not in self._told:
            log.warning("telemetry was refused: %s", reason)
        if len(self._told) < _TOLD:
            self._told.add(reason)

    def flush(self, timeout: float | None = None) -> bool:
        """Hand over what was recorded so far; False if it is still in memory after `timeout`.

        What the service does not take now is in the spill folder then.
        """
        done = threading.Event()
        self._commands.put(done)
        if self._thread is None:
            self._start()
        if self._thread is None:
            return not self._records and not self._held_events
        return done.wait(timeout) and not self._held_events

    def counts(self) -> Counts:
        try:
            on_disk = self._folder.events_waiting()
        except OSError:
            on_disk = 0
        with self._lock:
            buffered = len(self._records)
            return Counts(
                recorded=self._taken + buffered + self._dropped,
                sent=self._sent,
                spilled=self._spilled,
                waiting=buffered + self._on_the_way + self._held_events + on_disk,
                dropped=self._dropped,
                refused=self._refused,
            )

    def end(self, timeout: float) -> None:
        """Hand over what can be in `timeout` seconds and spill the rest; the thread ends."""
        if self._thread is None and not self._records:
            return
        self._ending = True
        self.flush(timeout)
        self._spill_rest()

    def leave(self) -> None:
        """At the end of the process: `end`, and keep what is still being sent, for all one knows.

        Should it arrive none the less, the resend is absorbed.
        """
        self.end(EXIT_SECONDS)
        in_hand = self._in_hand
        if in_hand is not None:
            with suppress(OSError):
                self._folder.put(in_hand)

    def end_soon(self) -> None:
        """Let the thread end once it has handed over what there is; may run in a destructor."""
        self._ending = True
        self._commands.put(None)

    def _start(self) -> None:
        with self._lock:
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
        if self._in_hand is not None and waiting >= self._most_events // 2:
            with self._lock:
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

    def _spill_rest(self) -> None:
        """What a service that does not answer has left in memory, written by the caller."""
        for _ in range(len(self._held)):
            held = self._unhold()
            if not self._spill(held):
                self._hold(held)
        while self._records:
            batch = self._take()
            if batch is not None and not self._spill(batch):
                self._hold(batch)

    def _rescue(self) -> None:
        """In a thread of its own: spill batches until a quarter of the memory is full."""
        try:
            while len(self._records) > self._most_events // 4:
                batch = self._take()
                if batch is not None and not self._spill(batch):
                    self._hold(batch)
                    return
        finally:
            self._rescuer = None

    # In the outbox's thread

    def _run(self) -> None:
        self._clean_up()
        due = time.monotonic() + self._flush_seconds
        while True:
            try:
                command = self._commands.get(timeout=max(due - time.monotonic(), 0.001))
            except Empty:
                command = None
            self._woken = False
            try:
                self._work(due)
            except Exception:
                # This thread is all there is: what it could not do is tried again.
                log.exception("telemetry could not be handed over")
                self._pause(self._failed())
            if command is not None:
                command.set()
            if self._ending and not (self._records or self._held) and self._commands.empty():
                break
            due = time.monotonic() + self._flush_seconds
        with self._lock:
            processes.let_go(self)
            self._ending = False
            self._thread = None
        if self._records or not self._commands.empty():
            self._start()

    def _work(self, due: float) -> None:
        self._deliver_all()
        while time.monotonic() >= self._not_before and self._resend():
            # A long queue on disk must not make what comes in overflow, nor wait.
            if len(self._records) >= self._batch_events or time.monotonic() >= due:
                self._deliver_all()

    def _deliver_all(self) -> None:
        for _ in range(len(self._held)):
            if time.monotonic() < self._not_before:
                break
            with self._working:
                self._deliver(self._unhold())
        while self._records:
            with self._working:
                batch = self._take()
                if batch is not None:
                    self._deliver(batch)

    def _take(self) -> Batch | None:
        """The oldest records as a batch; None if none of them can be said."""
        lines: list[bytes] = []
        size = 0
        while len(lines) < self._batch_events and size < _BATCH_BYTES:
            record = self._next()
            if record is None:
                break
            try:
                lines.append(encode(record))
                size += len(lines[-1])
            except Exception as error:  # noqa: BLE001 (of whatever object the caller has passed)
                with self._lock:
                    self._taken -= 1
                    self._on_the_way -= 1
                self.refuse(f"{record[0]}: {type(error).__name__}")
        return Batch(uuid4(), pack(lines), len(lines)) if lines else None

    def _next(self) -> Record | None:
        # Two threads take at the end of the process, or when one of them is stuck.
        with self._lock:
            if not self._records:
                return None
            self._taken += 1
            self._on_the_way += 1
            return self._records.popleft()

    def _deliver(self, batch: Batch) -> None:
        """Send the batch, or spill it, or hold it."""
        self._in_hand = batch
        tried = time.monotonic() >= self._not_before
        if tried and self._send(batch):
            with self._lock:
                self._on_the_way -= batch.events
        elif not self._spill(batch):
            self._hold(batch)
        self._in_hand = None

    def _hold(self, batch: Batch) -> None:
        with self._lock:
            self._held.append(batch)
            self._held_events += batch.events
            self._on_the_way -= batch.events

    def _unhold(self) -> Batch:
        with self._lock:
            batch = self._held.popleft()
            self._held_events -= batch.events
            self._on_the_way += batch.events
        return batch

    def _resend(self) -> bool:
        """Send the oldest file that nobody else is sending; False if there is nothing to do."""
        try:
            with self._working, self._folder.oldest() as claim:
                if claim is None or not self._send(claim.batch):
                    return False
                claim.done()
        except OSError as error:
            self._complain(error)
            return False
        return True

    def _send(self, batch: Batch) -> bool:
        """Whether nothing remains to be done about the batch."""
        try:
            self._transport.send(batch.id, batch.packed, batch.events)
        except RefusedBatchError as refused:
            with self._lock:
                self._refused += batch.events
            log.warning("a batch of %d events was refused: %s", batch.events, _said(refused))
        except WaitError as wait:
            self._pause(wait.seconds)
            return False
        except Exception as error:  # noqa: BLE001 (a transport's ways to fail are its own)
            if not self._failures:
                log.warning("telemetry waits, the service cannot be reached: %s", _said(error))
            self._pause(self._failed())
            return False
        else:
            with self._lock:
                self._sent += batch.events
        if self._failures:
            log.warning("telemetry is being sent again")
        self._failures = 0
        return True

    def _failed(self) -> float:
        """Count a failure; the seconds to wait until the next try."""
        from tenacity import RetryCallState, wait_random_exponential

        self._failures += 1
        state: Any = RetryCallState(None, None, (), {})  # type: ignore[arg-type]
        state.attempt_number = self._failures
        # Random, so that the processes of a fleet do not come back as one.
        return wait_random_exponential(min=0.5, max=_LONGEST_PAUSE_SECONDS)(state)

    def _pause(self, seconds: float) -> None:
        self._not_before = time.monotonic() + seconds

    def _spill(self, batch: Batch) -> bool:
        try:
            written = self._folder.put(batch)
        except OSError as error:
            self._complain(error)
            return False
        if written:
            self._disk_complained = False
            with self._lock:
                self._spilled += batch.events
                self._on_the_way -= batch.events
        return written

    def _complain(self, error: OSError) -> None:
        """Once, until the disk takes something again."""
        if not self._disk_complained:
            log.warning("the spill folder %s fails: %s", self._folder.path, error.strerror)
        self._disk_complained = True

    def _clean_up(self) -> None:
        try:
            self._folder.remove_leftovers()
        except OSError as error:
            self._complain(error)

    # Around a fork

    def hold_still(self) -> bool:
        """Before a fork: wait for a batch on its way; whether `go_on` is due."""
        return self._working.acquire(timeout=_FORK_SECONDS)

    def go_on(self) -> None:
        """In the parent, after a fork."""
        self._working.release()

    def begin_anew(self) -> None:
        """In the child, after a fork: what was recorded before is the parent's to send."""
        self._folder.forget_claims()
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


def _said(error: BaseException) -> str:
    """An error in one line, without what follows its first."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
