"""The units of this process that met a variant: each counted once per test until it is drained.

PostgreSQL counts a unit once whoever reports it, so what is reported twice, because a process
forgot or another one saw the unit too, changes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

MOST_KNOWN = 200_000
"Units of all tests that a process remembers to have counted; then it forgets them all."
MOST_PENDING = 100_000
"Exposures that may wait to be drained; beyond it they are refused, and counted when met again."


class Exposure(NamedTuple):
    """A unit met a variant. `at` is in seconds since the epoch."""

    test_id: UUID
    unit_id: str
    variant: str
    slot: int
    at: float


Count = Callable[[str, int, str], bool]
"""Count a unit, whose slot is given, with the name of the variant that it met; only once.

Whether the unit may have the variant: if not, it must not be shown it.
"""


class Counting(Protocol):
    """Where a live test counts whom it shows a variant."""

    def of_test(
        self, test_id: UUID, clock: Callable[[], float], holds: Callable[[], bool]
    ) -> tuple[Mapping[str, int], Count]:
        """The units of a test that were counted, with their slots, and what counts another.

        `holds` is whether the table still is the one to assign by.
        """


class ExposureBuffer:
    """Bounded, and safe to be filled by many threads while one drains it."""

    def __init__(self, most_known: int = MOST_KNOWN, most_pending: int = MOST_PENDING) -> None:
        self._most_known = most_known
        self._most_pending = most_pending
        self._lock = threading.Lock()
        self._known: dict[UUID, dict[str, int]] = {}
        self._count_known = 0
        self._pending: list[Exposure] = []
        self.refused = 0
        "Exposures that found no place."

    def of_test(
        self, test_id: UUID, clock: Callable[[], float], holds: Callable[[], bool]
    ) -> tuple[Mapping[str, int], Count]:
        """As `Counting` has it; all may have their variant, also those that find no place."""
        with self._lock:
            known = self._known.setdefault(test_id, {})

        def count(unit_id: str, slot: int, variant: str) -> bool:
            with self._lock:
                if unit_id in known:
                    return True
                if len(self._pending) >= self._most_pending:
                    self.refused += 1
                    return True
                if self._count_known >= self._most_known:
                    self._forget()
                known[unit_id] = slot
                self._count_known += 1
                self._pending.append(Exposure(test_id, unit_id, variant, slot, clock()))
                return True

        return known, count

    def add(self, exposure: Exposure) -> None:
        """What somebody else counts, and counts once."""
        with self._lock:
            if len(self._pending) >= self._most_pending:
                self.refused += 1
            else:
                self._pending.append(exposure)

    @property
    def pending(self) -> int:
        return len(self._pending)

    def drain(self, take: Callable[[Sequence[Exposure]], object]) -> int:
        """Hand what is pending to `take`; what it raises is raised, and nothing is lost by it."""
        with self._lock:
            batch, self._pending = self._pending, []
        if not batch:
            return 0
        try:
            take(batch)
        except BaseException:
            with self._lock:
                self._pending = batch + self._pending
            raise
        return len(batch)

    def begin_anew_after_fork(self) -> None:
        """In a child: what the parent has pending is the parent's to drain."""
        self._lock = threading.Lock()
        self._pending = []
        self._forget()

    def _forget(self) -> None:
        for units in self._known.values():
            units.clear()
        self._count_known = 0


class StickyExposures:
    """Exposures of sticky tests: counted into a buffer, and kept here besides until they are
    stored.

    Nobody is shown a variant who cannot be kept, or by a table that holds no longer: whoever stores
    what is kept after a table has ceased to hold stores all that it ever showed.
    """

    def __init__(
        self,
        buffer: ExposureBuffer,
        most_known: int = MOST_KNOWN,
        most_unstored: int = MOST_PENDING,
    ) -> None:
        self._buffer = buffer
        self._most_known = most_known
        self._most_unstored = most_unstored
        self._lock = threading.Lock()
        self._known: dict[UUID, dict[str, int]] = {}
        self._count_known = 0
        self._unstored: list[Exposure] = []

    def of_test(
        self, test_id: UUID, clock: Callable[[], float], holds: Callable[[], bool]
    ) -> tuple[Mapping[str, int], Count]:
        """As `Counting` has it."""
        with self._lock:
            known = self._known.setdefault(test_id, {})
        add = self._buffer.add

        def count(unit_id: str, slot: int, variant: str) -> bool:
            with self._lock:
                # Asked for first: a newer table may have shown the unit another variant since.
                if not holds():
                    return False
                if unit_id in known:
                    return True
                if len(self._unstored) >= self._most_unstored:
                    return False
                if self._count_known >= self._most_known:
                    self._forget()
                known[unit_id] = slot
                self._count_known += 1
                exposure = Exposure(test_id, unit_id, variant, slot, clock())
                self._unstored.append(exposure)
            add(exposure)
            return True

        return known, count

    @property
    def unstored(self) -> int:
        return len(self._unstored)

    def take(self) -> list[Exposure]:
        """All that is not stored; who cannot store it gives it back."""
        with self._lock:
            taken, self._unstored = self._unstored, []
        return taken

    def give_back(self, taken: list[Exposure]) -> None:
        with self._lock:
            self._unstored = taken + self._unstored

    def begin_anew_after_fork(self) -> None:
        """In a child: what the parent has not stored is the parent's to store."""
        self._lock = threading.Lock()
        self._unstored = []
        self._forget()

    def _forget(self) -> None:
        for units in self._known.values():
            units.clear()
        self._count_known = 0
