"""A game of tic-tac-toe: win, else block, else the best free square."""

from __future__ import annotations

import re

from shared.evaluation.agents.policies.answers import wait_for
from shared.evaluation.agents.policies.looking import has_class
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import Action, Click, Observation

_GOAL = re.compile(r"^Playing as 'X', win a game of tic-tac-toe")
_LINES = (
    (0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6),
)  # fmt: skip
_FREE, _X, _O = 0, 1, -1


def play_tic_tac_toe(observation: Observation, memory: Memory) -> Action | None:
    """The square that wins against the best play, or hopes for the worst where none does."""
    if not _GOAL.match(observation.goal):
        return None
    squares = [e for e in observation.elements if e.attributes.get("id", "").startswith("ttt-")]
    if len(squares) != 9:
        return wait_for("a board of nine squares", memory)
    board = tuple(
        _X if has_class(e, "mark-x") else _O if has_class(e, "mark-o") else _FREE for e in squares
    )
    if _FREE not in board:
        return wait_for("a free square", memory)
    return Click(element=squares[best_square(board)].id)


def best_square(board: tuple[int, ...]) -> int:
    """The index of the free square with the greatest chance to win against random answers."""
    free = [i for i, mark in enumerate(board) if mark == _FREE]
    return max(free, key=lambda i: _chance(_marked(board, i, _X), _O))


def _chance(board: tuple[int, ...], turn: int) -> float:
    """How likely X wins if it plays to win and O takes a free square at random, a loss as -1."""
    for mark, value in ((_X, 1.0), (_O, -1.0)):
        if any(all(board[i] == mark for i in line) for line in _LINES):
            return value
    free = [i for i, mark in enumerate(board) if mark == _FREE]
    if not free:
        return 0.0
    if turn == _X:
        return max(_chance(_marked(board, i, _X), _O) for i in free)
    return sum(_chance(_marked(board, i, _O), _X) for i in free) / len(free)


def _marked(board: tuple[int, ...], square: int, mark: int) -> tuple[int, ...]:
    return (*board[:square], mark, *board[square + 1 :])
