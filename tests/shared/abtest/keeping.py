from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

from shared.abtest.hashing import slot_of
from shared.abtest.kept import Kept, keeps, unit_hash
from shared.abtest.slots import SlotTable


def kept_units(slots: SlotTable, names: Sequence[str], met: Mapping[str, str]) -> Kept:
    """Those of the units that keep the variant they met in the test `prompt`, one by one."""
    found = {
        unit_hash(unit): names.index(variant)
        for unit, variant in met.items()
        if variant in names and keeps(slots, slot_of("prompt", unit), names.index(variant))
    }
    units = sorted(found)
    return Kept(array("Q", units), bytes(found[unit] for unit in units))
