"""What became of the events of a process: each is counted once, wherever it is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sized
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mlops.telemetry.spilling import Contents

log = logging.getLogger("mlops.metrics")

_TOLD: Final = 100


@dataclass(frozen=True)
class Counts:
    """What became of the events of this process, and what it saw of others in the spill folder.

    `recorded` = `sent` + `waiting` + `handed_on` + `dropped` + `refused`.
    """

    recorded: int
    "Events that this process was asked to record."
    sent: int
    "Of those: handed over to the service by this process."
    spilled: int
    "Written to files by this process, sent since or not."
    waiting: int
    "In memory, and in files that this process wrote."
    handed_on: int
    "In files that this process wrote and that are gone: another process has sent them."
    dropped: int
    "Lost because memory and spill folder were full, or a file was damaged."
    refused: int
    "Lost because they can never be taken; the log has the reason."
    sent_for_others: int
    "From files that other processes have left."
    waiting_of_others: int
    "In files of other processes that can be read."
    unreadable: int
    "Files (not events) in the spill folder that cannot be read: they are left where they are."


class Tally:
    """The counts as they change, under one lock."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        "Reentrant, for a signal's handler records as well."
        self.taken = self.sent = self.spilled = self.refused = 0
        self.overflowed = self.damaged = 0
        self.on_the_way = 0
        "Events that are no longer records, and neither sent nor spilled nor refused."
        self.handed_on = self.sent_for_others = 0
        self.files: dict[UUID, int] = {}
        "Batches in files that this process wrote, with their events."
        self._told: set[str] = set()
        "Reasons that the log has; it is not told each of them a thousand times."

    def refuse(self, reason: str, events: int = 1) -> None:
        """Count events that could not even be recorded, and say why in the log."""
        with self.lock:
            self.refused += events
            self.taken += events
        self.tell(f"telemetry was refused: {reason}")

    def tell(self, reason: str) -> None:
        """A warning in the log, once for each reason."""
        if reason not in self._told:
            log.warning("%s", reason)
        if len(self._told) < _TOLD:
            self._told.add(reason)

    def filed(self, batch_id: UUID, events: int) -> None:
        with self.lock:
            self.spilled += events
            self.on_the_way -= events
            self.files[batch_id] = events

    def unfiled(self, batch_id: UUID, events: int, *, accepted: bool) -> None:
        """A file is done with: `events` of it were sent, or refused if not `accepted`."""
        with self.lock:
            own = self.files.pop(batch_id, None)
            if own is None:
                self.sent_for_others += events if accepted else 0
            elif accepted:
                self.sent += events
                # Of a damaged file less is sent than was written.
                self.damaged += own - events
            else:
                self.refused += own

    def counts(self, buffer: Sized, files: Contents | None) -> Counts:
        """With the records in memory; `files` is None where the folder cannot be read."""
        with self.lock:
            buffered = len(buffer)
            of_others = 0
            if files is not None:
                for gone in self.files.keys() - files.listed:
                    self.handed_on += self.files.pop(gone)
                of_others = sum(n for one, n in files.readable.items() if one not in self.files)
            return Counts(
                recorded=self.taken + buffered + self.overflowed,
                sent=self.sent,
                spilled=self.spilled,
                waiting=buffered + self.on_the_way + sum(self.files.values()),
                handed_on=self.handed_on,
                dropped=self.overflowed + self.damaged,
                refused=self.refused,
                sent_for_others=self.sent_for_others,
                waiting_of_others=of_others,
                unreadable=0 if files is None else files.unreadable,
            )
