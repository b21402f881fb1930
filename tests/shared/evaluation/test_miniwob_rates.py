"""The documentation's page of what the rule-based agent makes of each task."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.evaluation.miniwob.catalogue import catalogue, unsupported
from shared.evaluation.miniwob.rates import Played, page, read, solved
from shared.evaluation.protocol import Outcome

DOCUMENT = Path(__file__).parents[3] / "docs" / "miniwob.md"
ROW = re.compile(
    r"^\| (?P<task>[a-z\d-]+) \| (?P<category>\w+) \| (?P<difficulty>\w+) "
    r"\| (?P<strict>\d+)/(?P<seeds>\d+) \| .*? \| (?P<loose>\d+)/\d+ \| (?P<tags>.*?) ?\|$",
    re.MULTILINE,
)
REASON = re.compile(r"^\| (?P<page>[a-z\d-]+) \| (?P<reason>[^|]{20,}) \|$", re.MULTILINE)


def played(task: str, *rewards: float | None) -> list[Played]:
    return [
        Played(
            task=task,
            seed=seed,
            outcome=Outcome.SUCCESS if reward == 1 else Outcome.FAILURE,
            raw_reward=reward,
        )
        for seed, reward in enumerate(rewards)
    ]


def test_the_page_lists_the_catalogue() -> None:
    rows = list(ROW.finditer(DOCUMENT.read_text("utf-8")))

    assert [(row["task"], row["category"], row["difficulty"], row["tags"]) for row in rows] == [
        (task.name, task.category, task.difficulty, ", ".join(task.tags))
        for task in catalogue().values()
    ]


def test_the_page_lists_what_is_left_out_and_why() -> None:
    rows = REASON.finditer(DOCUMENT.read_text("utf-8"))

    assert {row["page"]: row["reason"] for row in rows} == unsupported()


def test_the_page_tells_of_at_least_45_solved_tasks_with_distinct_seeds() -> None:
    text = DOCUMENT.read_text("utf-8")
    rows = list(ROW.finditer(text))
    over = [row for row in rows if int(row["strict"]) > 0.9 * int(row["seeds"])]

    assert len(over) >= 45
    assert f"**{len(over)} of {len(rows)} tasks" in text
    assert len({row["seeds"] for row in rows}) == 1


def test_strict_and_loose_stand_side_by_side_and_errors_of_the_environment_count_as_neither() -> (
    None
):
    error = Played(task="click-test", seed=9, outcome=Outcome.ENVIRONMENT_ERROR, raw_reward=None)
    episodes = [*played("click-test", 1, 0.4, -1, None), error]

    assert "| click-test | click | easy | 1/4 | 5% to 70% | 2/4 | |" in page(episodes, "Made here")


@pytest.mark.parametrize(("lost", "counts"), [(0, True), (1, True), (2, False)])
def test_a_task_is_solved_above_nine_in_ten(lost: int, counts: bool) -> None:
    episodes = played("click-test", *[1.0] * (20 - lost), *[0.9] * lost)

    assert solved(episodes) == ({"click-test"} if counts else set())


def test_a_task_that_was_never_played_is_unknown() -> None:
    assert "| click-link | click | easy | 0/0 | unknown | 0/0 | |" in page(
        played("click-test", 1), "Made here"
    )


def test_noted_episodes_are_read_again(tmp_path: Path) -> None:
    notes = tmp_path / "episodes.jsonl"
    episodes = played("click-test", 1, 0.5)
    notes.write_text("".join(f"{e.model_dump_json()}\n" for e in episodes), "utf-8")

    assert read(notes) == episodes
    assert read(tmp_path / "none.jsonl") == []
