"""How a verdict on drift is said to people. What is stored, and JSON, keep the state's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shared.drift.verdicts import DriftState

# A test that finds nothing has not shown that there is nothing.
_SAID: Final[Mapping[str, str]] = {
    DriftState.STABLE: "no drift shown",
    DriftState.WARNING: "slight drift",
    DriftState.DRIFT: "drift",
    DriftState.NO_DATA: "no data",
    DriftState.INSUFFICIENT: "too little data",
}


def said(verdict: str) -> str:
    """The words for a stored verdict, which is a `DriftState`'s name."""
    return _SAID.get(verdict, verdict)
