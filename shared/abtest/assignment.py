"""Which variant a unit gets: a hash and a look-up, the same everywhere and for ever."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

from shared.abtest.hashing import slot_of
from shared.abtest.slots import SlotTable

LONGEST_UNIT_ID: Final = 1_000


class AssignmentError(ValueError):
    """The unit cannot be assigned; the message is one line."""


@dataclass(frozen=True)
class Variant:
    name: str
    weight: float
    model: str
    "The model's key, `name@version`."


@dataclass(frozen=True)
class AssignmentTable:
    """All that assigning needs: what is published, and what every process may keep a copy of."""

    test_id: UUID
    version: int
    status: str
    seed: str
    variants: tuple[Variant, ...]
    slots: SlotTable

    def __post_init__(self) -> None:
        if max(self.slots.owners) >= len(self.variants):
            raise ValueError(f"slots for more than the {len(self.variants)} variants there are")

    def to_json(self) -> str:
        return json.dumps(
            {
                "test_id": str(self.test_id),
                "version": self.version,
                "status": self.status,
                "seed": self.seed,
                "variants": [vars(variant) for variant in self.variants],
                "ends": self.slots.ends,
                "owners": self.slots.owners,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises ValueError, KeyError or TypeError when `text` is not what `to_json` writes."""
        stored = json.loads(text)
        return cls(
            test_id=UUID(stored["test_id"]),
            version=int(stored["version"]),
            status=str(stored["status"]),
            seed=str(stored["seed"]),
            variants=tuple(Variant(**variant) for variant in stored["variants"]),
            slots=SlotTable(tuple(stored["ends"]), tuple(stored["owners"])),
        )


def assign(table: AssignmentTable, unit_id: str) -> Variant:
    """The variant of `unit_id`. Raises `AssignmentError` for a unit id that is no identifier."""
    if not 1 <= len(unit_id) <= LONGEST_UNIT_ID or "\x00" in unit_id:
        raise AssignmentError(
            f"unit id {unit_id[:40]!r} of {len(unit_id)} characters: it must be 1 to"
            f" {LONGEST_UNIT_ID} characters without NUL"
        )
    return table.variants[table.slots.owner(slot_of(table.seed, unit_id))]
