"""Prompt versions are ordered by their numbers, not by their letters."""

from __future__ import annotations

import pytest

from shared.evaluation.agents import prompting
from shared.evaluation.agents.parameters import LlmParameters
from shared.evaluation.agents.prompting import Mode
from shared.evaluation.custom.prompting import PARTS, complete


def test_a_tenth_prompt_knows_what_the_second_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(prompting.PARTS, "v10", prompting.PARTS["v2"])
    taken = LlmParameters(model="m", mode=Mode.TOOLS, prompt_version="v10")
    assert taken.prompt_version == "v10"


def test_the_newest_prompt_of_a_judge_is_the_last() -> None:
    files = {f"{part}.{version}.txt" for part in PARTS for version in ("v10", "v2", "v1")}
    assert complete(files | {"judge-system.v11.txt"}) == ("v1", "v2", "v10")
