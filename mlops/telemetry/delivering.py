"""Batches on their way: to the service, to a file, or held until one of the two takes them."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sized
from contextlib import suppress
from typing import Any, Final

from mlops.telemetry.counting import Counts, Tally
from mlops.telemetry.sending import Batch, RefusedBatchError, Transport, WaitError
from mlops.telemetry.spilling import Contents, SpillFolder

log = logging.getLogger("mlops.metrics")

_LONGEST_PAUSE_SECONDS: Final = 60.0


class Delivery:
    """Hands batches over, and those of the spill folder; what waits is in one of its places."""

    def __init__(self, transport: Transport, folder: SpillFolder, tally: Tally) -> None:
        self._transport = transport
        self._folder = folder
        self._tally = tally
        self._filing = threading.RLock()
        "Of the folder with what is counted of it: a file is counted where it is."
        self.exchanging = threading.Lock()
        "Held while the service is spoken to."
        self.in_hand: Batch | None = None
        self._held: deque[Batch] = deque()
        self.held_events = 0
        self._failures = 0
        self._not_before = 0.0
        self._disk_complained = False

    def prepare(self) -> None:
        """Have the transport load what it needs, before it is waited for."""
        prepare = getattr(self._transport, "prepare", None)
        if prepare is not None:
            # Where it cannot, sending says why.
            with suppress(Exception):
                prepare()

    def deliver(self, batch: Batch) -> None:
        """Send the batch, or keep it."""
        self.in_hand = batch
        accepted = None if self.is_paused() else self._exchange(batch)
        if accepted is None:
            self.keep(batch)
        else:
            with self._tally.lock:
                self._tally.on_the_way -= batch.events
                if accepted:
                    self._tally.sent += batch.events
                else:
                    self._tally.refused += batch.events
        self.in_hand = None

    def deliver_held(self) -> None:
        for _ in range(len(self._held)):
            if self.is_paused():
                break
            self.deliver(self._unhold())

    def resend(self) -> bool:
        """Send the oldest file that nobody else is sending; False if there is nothing to do."""
        try:
            with self._folder.oldest() as claim:
                if claim is None:
                    return False
                accepted = self._exchange(claim.batch)
                if accepted is None:
                    return False
                with self._filing:
                    claim.done()
                    self._tally.unfiled(claim.batch.id, claim.batch.events, accepted=accepted)
        except OSError as error:
            self._complain(error)
            return False
        return True

    def keep(self, batch: Batch) -> bool:
        """Spill the batch, or hold it in memory; whether it was spilled."""
        with self._filing:
            try:
                written = self._folder.put(batch)
            except OSError as error:
                self._complain(error)
                written = False
            if written:
                self._disk_complained = False
                self._tally.filed(batch.id, batch.events)
        if not written:
            with self._tally.lock:
                self._held.append(batch)
                self.held_events += batch.events
        return written

    def keep_held(self) -> None:
        """Spill what is held in memory, as far as the disk takes it."""
        for _ in range(len(self._held)):
            self.keep(self._unhold())

    def keep_in_hand(self) -> None:
        """Spill what is still being sent, for all one knows: if it arrives, this is absorbed."""
        in_hand = self.in_hand
        if in_hand is not None:
            with suppress(OSError):
                self._folder.put(in_hand)

    def clean_up(self) -> None:
        try:
            self._folder.remove_leftovers()
        except OSError as error:
            self._complain(error)

    def counts(self, buffer: Sized) -> Counts:
        """With what is in the outbox's memory."""
        with self._filing:
            contents: Contents | None = None
            with suppress(OSError):
                contents = self._folder.contents()
            return self._tally.counts(buffer, contents)

    def is_paused(self) -> bool:
        return time.monotonic() < self._not_before

    def fail(self) -> None:
        """Count a failure, and pause."""
        from tenacity import RetryCallState, wait_random_exponential

        self._failures += 1
        state: Any = RetryCallState(None, None, (), {})  # type: ignore[arg-type]
        state.attempt_number = self._failures
        # Random, so that the processes of a fleet do not come back as one.
        self._pause(wait_random_exponential(min=0.5, max=_LONGEST_PAUSE_SECONDS)(state))

    def forget_claims(self) -> None:
        """In a forked child: the files that the parent is sending stay the parent's."""
        self._folder.forget_claims()

    def _exchange(self, batch: Batch) -> bool | None:
        """Whether the service has taken the batch or refused it; None if it is to be tried again.

        In the outbox's thread alone: whatever a transport raises must not end it.
        """
        try:
            with self.exchanging:
                self._transport.send(batch.id, batch.packed, batch.events)
        except RefusedBatchError as refused:
            log.warning("a batch of %d events was refused: %s", batch.events, _said(refused))
            return False
        except WaitError as wait:
            self._pause(wait.seconds)
            return None
        except BaseException as error:  # noqa: BLE001 (a transport's ways to fail are its own)
            if not self._failures:
                log.warning("telemetry waits, the service cannot be reached: %s", _said(error))
            self.fail()
            return None
        if self._failures:
            log.warning("telemetry is being sent again")
        self._failures = 0
        return True

    def _unhold(self) -> Batch:
        with self._tally.lock:
            batch = self._held.popleft()
            self.held_events -= batch.events
        return batch

    def _pause(self, seconds: float) -> None:
        self._not_before = time.monotonic() + seconds

    def _complain(self, error: OSError) -> None:
        """Once, until the disk takes something again."""
        if not self._disk_complained:
            log.warning("the spill folder %s fails: %s", self._folder.path, error.strerror)
        self._disk_complained = True


def _said(error: BaseException) -> str:
    """An error in one line, without what follows its first."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
