"""The policy that all sides of `evaluation` follow."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks import oracle
from benchmarks.oracle import TASKS, Move, moves
from shared.evaluation.miniwob.catalogue import catalogue


def test_the_tasks_are_of_the_benchmark() -> None:
    assert set(TASKS) <= set(catalogue())


def test_moves_follow_the_goal() -> None:
    goal = 'Enter "Jerald" into the text field and press Submit.'

    assert moves("enter-text", goal) == [
        Move("fill", "textbox", "", "Jerald"),
        Move("click", "button", "Submit"),
    ]
    assert moves("click-button", 'Click on the "Ok" button.') == [Move("click", "button", "Ok")]
    with pytest.raises(ValueError, match=r"no moves for 'book-flight'.*click-test"):
        moves("book-flight", "")


def test_the_policy_runs_in_a_python_that_has_nothing_of_ours() -> None:
    command = [sys.executable, "-I", "-S", oracle.__file__]

    assert subprocess.run(command, check=False, cwd="/").returncode == 0
