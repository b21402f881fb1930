"""The states of a test and the moves between them, in one table."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class AbTestError(ValueError):
    """A test is not there, or cannot be made or changed like this; the message is one line."""


class AbStatus(StrEnum):
    DRAFT = "draft"
    "Assigns nothing yet; everything about it may still change."
    RUNNING = "running"
    PAUSED = "paused"
    "Assigns nothing for now."
    STOPPED = "stopped"
    "Assigns nothing any more."
    CONCLUDED = "concluded"
    "Everyone who is targeted gets the winner."


ENDED: Final = (AbStatus.STOPPED, AbStatus.CONCLUDED)
"What its units do from then on is not the test's."


class Move(StrEnum):
    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    CONCLUDE = "conclude"
    STOP = "stop"


_MOVES: Final[dict[Move, tuple[AbStatus, tuple[AbStatus, ...]]]] = {
    Move.START: (AbStatus.RUNNING, (AbStatus.DRAFT,)),
    Move.PAUSE: (AbStatus.PAUSED, (AbStatus.RUNNING,)),
    Move.RESUME: (AbStatus.RUNNING, (AbStatus.PAUSED,)),
    Move.CONCLUDE: (AbStatus.CONCLUDED, (AbStatus.RUNNING, AbStatus.PAUSED)),
    # The winner is part of the product by then, and the test is only in its way.
    Move.STOP: (AbStatus.STOPPED, (AbStatus.RUNNING, AbStatus.PAUSED, AbStatus.CONCLUDED)),
}


def after(status: AbStatus, move: Move) -> AbStatus:
    """The state that `move` leads to; a test that is there already stays.

    Raises `AbTestError` that says from where the move can be made.
    """
    to, from_ = _MOVES[move]
    if status is not to and status not in from_:
        raise AbTestError(f"it is {status}; {move} takes a test that is {' or '.join(from_)}")
    return to
