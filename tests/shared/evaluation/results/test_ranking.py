"""Own results beside published ones: what is compared, and what is said of it."""

from __future__ import annotations

import math
import uuid
from datetime import date
from pathlib import Path

import pytest

from shared.evaluation.results.published import PublishedError, Settings, read, shipped
from shared.evaluation.results.ranking import OwnResult, differences, leaderboard
from shared.evaluation.results.scores import counted

RUN = uuid.uuid4()


def own(strict: int, loose: int, n: int = 100, **values: object) -> OwnResult:
    like_there = {"tasks": 125, "seeds": (5, 5), "max_steps": (10, 10)}
    return OwnResult(
        run=RUN,
        model="mine@1.0.0",
        kind="llm",
        made_on=date(2026, 11, 20),
        strict=counted(strict, n),
        loose=counted(loose, n),
        **(like_there | values),
    )


def test_what_is_shipped_is_the_published_figures():
    (source,) = shipped()
    assert source.url.startswith("https://github.com/ServiceNow/AgentLab/")
    assert source.benchmark == "miniwob"
    found = {result.model: result.rate for result in source.results}
    assert found == {
        "Claude-3.5-Sonnet": 0.698,
        "o1-mini-2024-09-12": 0.678,
        "Llama-3.1-405B": 0.646,
        "GPT-4o": 0.638,
        "Llama-3.1-70B": 0.576,
        "GPT-4o-mini": 0.566,
    }
    for result in source.results:
        assert result.episodes == source.settings.tasks * source.settings.seeds == 625
        # The journal's standard errors, 0.018 to 0.020, are those of independent episodes.
        half = 1.96 * math.sqrt(result.rate * (1 - result.rate) / 625)
        assert result.interval == pytest.approx((result.rate - half, result.rate + half), abs=0.002)


def test_lines_are_ordered_by_the_loose_score():
    lines = leaderboard([own(50, 64)], shipped(), 119)
    assert [line.place for line in lines] == [1, 2, 3, 4, 5, 6, 7]
    assert lines[3].own
    assert (lines[3].rate, lines[3].strict, lines[3].episodes) == (0.64, 0.5, 100)
    assert lines[3].source == f"run {str(RUN)[:8]}"
    assert all(line.strict is None and not line.differs for line in lines if not line.own)
    assert "BrowserGym 0.10.2" in lines[0].source


def test_equal_rates_share_a_place():
    places = [line.place for line in leaderboard([own(0, 10), own(5, 10), own(0, 5)], (), 1)]
    assert places == [1, 1, 3]


def test_a_result_on_few_tasks_has_no_place_and_takes_none():
    lines = leaderboard([own(99, 99, tasks=99), own(98, 98, tasks=100)], shipped(), 119)
    assert [(line.rate, line.place) for line in lines[:3]] == [(0.99, None), (0.98, 1), (0.698, 2)]
    # Where nothing is published, the benchmark's own tasks are what counts.
    alone = [leaderboard([own(9, 9, tasks=tasks)], (), 53)[0].place for tasks in (42, 43)]
    assert alone == [None, 1]


def test_each_setting_that_differs_is_said():
    there = Settings(tasks=125, seeds=5, max_steps=10, pages="")
    assert differences(own(1, 1), there) == ()
    found = differences(own(1, 1, tasks=32, seeds=(2, 3), max_steps=(5, 32)), there)
    assert found == (
        "32 tasks instead of 125",
        "2 to 3 seeds per task instead of 5",
        "5 to 32 steps at most instead of 10",
    )
    last = leaderboard([own(1, 1, tasks=32)], shipped(), 119)[-1]
    assert last.differs == ("32 tasks instead of 125",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- {source: x}", "0.url: Field required"),
        ("{", "no UTF-8 text in YAML"),
        ("3", "the file: "),
        ("- {}\n- extra: 1", "0.source"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, text: str, told: str):
    path = tmp_path / "published.yaml"
    path.write_text(text)
    with pytest.raises(PublishedError) as refused:
        read(path)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(PublishedError, match="No such file"):
        read(tmp_path / "none.yaml")
