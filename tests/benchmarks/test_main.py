"""`python -m benchmarks`: what it prints, what it keeps, and its exit code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks.measure import Figure, MeasurementError, PeerMissingError, Skipped
from shared.local.errors import ServiceError

Given = Callable[..., None]

QUICK = Figure("quick", 1.23456, 2.0, "ms", "peer", target=1)
SLOW = Figure("slow", 4.0, 2.0, "ms", "limit", target=1)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "results.json"
    monkeypatch.setattr(benchmarks, "RESULTS", path)
    return path


@pytest.fixture
def given(results: Path, monkeypatch: pytest.MonkeyPatch) -> Given:
    """Let these subjects have these figures, and the others none; an exception is raised."""

    def set_figures(**subjects: list[Figure | Skipped | Exception]) -> None:
        def figures_of(subject: str) -> object:
            if subject not in subjects:
                return None

            def figures() -> Iterator[Figure | Skipped]:
                for figure in subjects[subject]:
                    if isinstance(figure, Exception):
                        raise figure
                    yield figure

            return figures

        monkeypatch.setattr(benchmarks, "figures_of", figures_of)

    return set_figures


def names(results: Path) -> list[str]:
    return [row["name"] for row in json.loads(results.read_text())]


def test_a_row_says_what_was_measured_against_what(given: Given, results: Path) -> None:
    given(drift=[QUICK])

    assert benchmarks.main([]) == 0
    assert json.loads(results.read_text()) == [
        {
            "name": "drift.quick",
            "ours": 1.235,
            "other": 2.0,
            "unit": "ms",
            "against": "peer",
            "ratio": 1.62,
            "target": 1,
            "met": True,
        }
    ]


def test_one_subject_replaces_its_own_figures_and_keeps_the_others(
    given: Given, results: Path
) -> None:
    given(jobs=[QUICK], drift=[QUICK, SLOW])
    benchmarks.main([])
    assert names(results) == ["drift.quick", "drift.slow", "jobs.quick"]

    given(jobs=[SLOW], drift=[SLOW])
    benchmarks.main(["--only", "drift"])

    assert names(results) == ["drift.slow", "jobs.quick"]


def test_a_missed_target_is_shown_and_breaks_nothing(
    given: Given, capsys: pytest.CaptureFixture[str]
) -> None:
    given(drift=[QUICK, SLOW])

    assert benchmarks.main([]) == 0
    assert "2 figures, 1 missed: drift.slow" in capsys.readouterr().out


def test_a_missing_peer_is_a_line_and_breaks_nothing(
    given: Given, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given(drift=[QUICK, Skipped("other", "needs more memory"), PeerMissingError("not installed")])

    assert benchmarks.main([]) == 0
    lines = capsys.readouterr().out
    assert "skipped: needs more memory" in lines
    assert "skipped: not installed" in lines
    assert names(results) == ["drift.quick"]


@pytest.mark.parametrize("error", [MeasurementError("no jobs"), ServiceError("no jobs")])
def test_a_failure_of_ours_is_an_exit_code_and_stops_no_other_subject(
    given: Given, results: Path, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    given(jobs=[QUICK, error, SLOW], drift=[SLOW])

    assert benchmarks.main([]) == 1
    assert "jobs: FAILED: no jobs" in capsys.readouterr().out
    assert names(results) == ["drift.slow", "jobs.quick"]


def test_a_subject_without_figures_says_so(
    given: Given, capsys: pytest.CaptureFixture[str]
) -> None:
    given()

    assert benchmarks.main(["--only", "telemetry"]) == 0
    assert "telemetry: no figures yet" in capsys.readouterr().out


def test_an_unknown_subject_is_refused_with_those_there_are(
    given: Given, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        benchmarks.main(["--only", "cheese"])

    assert ended.value.code == 2
    assert "cheese" in capsys.readouterr().err


def test_a_figure_that_is_no_number_is_not_kept(given: Given) -> None:
    given(drift=[Figure("broken", float("nan"), 1.0, "s", "peer", target=1)])

    with pytest.raises(ValueError, match="finite"):
        benchmarks.main([])


def test_a_subject_is_the_module_of_its_name() -> None:
    found = {subject: benchmarks.figures_of(subject) for subject in benchmarks.SUBJECTS}

    assert all(found[subject] for subject in ("jobs", "evaluation", "drift"))
