"""A service that `MetricsCollector` sends to, for the tests and for the processes they start.

Those start often: nothing is imported here that they do not need.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from mlops.telemetry.sending import RefusedBatchError, WaitError


@dataclass(frozen=True)
class Receiver:
    """A service that takes batches, one file each, and does what its `state` says."""

    folder: Path

    def become(self, state: str) -> None:
        """`there`, `away`, `silent` (does not answer), `full 0.2` (seconds), or `refusing`."""
        draft = self.folder / f".{uuid4()}"
        draft.write_text(state)
        draft.rename(self.folder / "state")

    def send(self, batch_id: UUID, packed: bytes, events: int) -> None:
        match (self.folder / "state").read_text().split():
            case ["away"]:
                raise ConnectionRefusedError("nobody is there")
            case ["full", seconds]:
                raise WaitError(float(seconds))
            case ["refusing"]:
                raise RefusedBatchError("it is not a batch")
            case ["silent"]:
                while (self.folder / "state").read_text() == "silent":
                    time.sleep(0.01)
                raise TimeoutError("it has not answered")
        assert len(zlib.decompress(packed).splitlines()) == events
        # One file for each time that it was sent: a second delivery is to be seen.
        draft = self.folder / f".{uuid4()}"
        draft.write_bytes(packed)
        draft.rename(self.folder / f"{time.time_ns():020}_{batch_id}_{os.getpid()}.received")

    def batches(self) -> list[list[dict[str, Any]]]:
        """The events of each delivery, in their order."""
        files = sorted(self.folder.glob("*.received"))
        return [
            [json.loads(line) for line in zlib.decompress(file.read_bytes()).splitlines()]
            for file in files
        ]

    def events(self) -> list[dict[str, Any]]:
        return [event for batch in self.batches() for event in batch]

    def event(self) -> dict[str, Any]:
        """The only one."""
        [event] = self.events()
        return event
