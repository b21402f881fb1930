"""What a custom task's environment takes and leaves, without a browser."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from shared.evaluation.benchmark import SoFar
from shared.evaluation.custom.definition import CustomTask
from shared.evaluation.custom.environment import CustomEnvironment, judging_seconds

DEFINITION: dict[str, Any] = {
    "name": "one",
    "task_prompt": "Do it.",
    "start": {"url": "http://127.0.0.1:9/"},
    "success_criteria": {"scorer": "polite", "judge": {"question": "So?", "model": "m"}},
}


def test_a_worker_waits_as_long_as_the_judging_of_an_answer_may_take() -> None:
    environment = CustomEnvironment(CustomTask.model_validate(DEFINITION), 0)
    allowed = environment.seconds_for(SoFar("the answer", ()))
    assert judging_seconds(DEFINITION) >= allowed


def test_an_environment_that_cannot_be_made_serves_nothing() -> None:
    task = CustomTask.model_validate(DEFINITION | {"start": {"html": "<p>x</p>"}})
    before = set(threading.enumerate())
    with pytest.raises(TypeError):
        # No definition that was checked is like this.
        CustomEnvironment(task.model_copy(update={"task_prompt": None}), 0)
    left = [one for one in threading.enumerate() if one not in before and one.name == "fixture"]
    for thread in left:
        thread.join(10)
    assert not any(thread.is_alive() for thread in left)
