"""Why a model call has no price: a few classes of reasons, so that calls can be counted by them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Gap(StrEnum):
    """A class of reasons. The value is how the reason begins that is stored with the call."""

    NO_PRICE = "no price is known"
    NO_PROVIDER = "no provider was named"
    NO_MODEL = "no model was named"
    NO_COUNT = "the number of"
    IMPOSSIBLE_COUNT = "impossible numbers of tokens"
    OTHER_UNIT = "not priced by input and output tokens"
    BEYOND_A_CALL = "more than one call can cost"
    NO_TABLE = "the embedded price table"
    OTHER = "another reason"

    @property
    def code(self) -> str:
        """What rollups and JSON call it."""
        return self.name.lower()

    @property
    def label(self) -> str:
        """For people, without the names and numbers of one call."""
        return _LABELS.get(self, self.value)


_LABELS: Final = {
    Gap.NO_COUNT: "the number of tokens is unknown",
    Gap.NO_TABLE: "the embedded price table is not installed",
}


def gap_of(code: str) -> Gap:
    """The class that has this code; one that is not known any more is `OTHER`."""
    return next((gap for gap in Gap if gap.code == code), Gap.OTHER)


_CASES: Final = " ".join(
    f"WHEN starts_with(cost_reason, '{gap.value}') THEN '{gap.code}'"
    for gap in Gap
    if gap is not Gap.OTHER
)

GAP_IN_SQL: Final = f"CASE WHEN cost_nanos IS NOT NULL THEN '' {_CASES} ELSE '{Gap.OTHER.code}' END"
"The code of a call of `mlops.events`; empty where it has a price."
