"""A definition's file: every mistake with its place; from a file or Python, one definition."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.evaluation.custom import Criterion, CustomBenchmark, CustomTask, Start
from shared.evaluation.custom.checking import DefinitionError, check, load, sentence
from shared.evaluation.custom.definition import digest, parse
from shared.evaluation.custom.document import Place
from shared.evaluation.custom.probing import probe
from shared.evaluation.custom.values import drawn
from shared.jobs.contracts import DEFINITION_BYTES, RunBenchmark

GOOD = """\
name: help-desk
description: Tickets.
defaults:
  category: desk
  tags: [web]
  max_steps: 9
tasks:
  - name: close-ticket
    task_prompt: Close ticket {{number}}.
    difficulty: easy
    start:
      folder: pages
      page: desk.html
    cases: [{number: 1}, {number: 2}]
    success_criteria:
      element: {selector: "#state", has_text: closed}
  - name: how-many
    task_prompt: How many are open?
    max_steps: 3
    start: https://example.com/desk
    success_criteria:
      any:
        - answer: {number: 3, tolerance: 0.5}
        - not: {url: /desk}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pages" / "img").mkdir(parents=True)
    (tmp_path / "pages" / "desk.html").write_text("<p id=state>open</p>")
    (tmp_path / "pages" / "img" / "dot.png").write_bytes(b"\x89PNG\xff\0")
    (tmp_path / "pages" / ".hidden").write_text("not taken")
    return tmp_path


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "made.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_file_and_python_say_the_same(folder: Path) -> None:
    of_file = load(written(folder, GOOD))
    of_python = CustomBenchmark(
        name="help-desk",
        description="Tickets.",
        tasks=(
            CustomTask(
                name="close-ticket",
                category="desk",
                tags=("web",),
                max_steps=9,
                task_prompt="Close ticket {{number}}.",
                difficulty="easy",
                start=Start.model_validate(
                    {
                        "files": {
                            "desk.html": "<p id=state>open</p>",
                            "img/dot.png": {"base64": "iVBOR/8A"},
                        },
                        "page": "desk.html",
                    }
                ),
                cases=({"number": 1}, {"number": 2}),  # type: ignore[arg-type]
                success_criteria=Criterion.model_validate(
                    {"element": {"selector": "#state", "has_text": "closed"}}
                ),
            ),
            CustomTask.model_validate(
                {
                    "name": "how-many",
                    "category": "desk",
                    "tags": ["web"],
                    "task_prompt": "How many are open?",
                    "max_steps": 3,
                    "start": {"url": "https://example.com/desk"},
                    "success_criteria": {
                        "any": [
                            {"answer": {"number": 3, "tolerance": 0.5}},
                            {"not": {"url": "/desk"}},
                        ]
                    },
                }
            ),
        ),
    )
    assert of_file.definition() == of_python.definition()
    assert of_file.tasks[0].start.contents()["img/dot.png"] == b"\x89PNG\xff\0"
    travelled = parse(json.loads(json.dumps(of_file.definition())))
    assert travelled.definition() == of_file.definition()


def test_a_task_that_is_defined_anew_has_another_digest(folder: Path) -> None:
    first = load(written(folder, GOOD)).tasks
    (folder / "pages" / "desk.html").write_text("<p id=state>new</p>")
    second = load(written(folder, GOOD)).tasks
    digests = [[digest(task.definition()) for task in tasks] for tasks in (first, second)]
    assert digests[0][0] != digests[1][0]
    assert digests[0][1] == digests[1][1]


def test_the_documented_example_is_valid(tmp_path: Path) -> None:
    guide = Path(__file__).parents[4] / "docs" / "custom-benchmarks.md"
    example, judge = re.findall(r"```yaml\n(.*?)```", guide.read_text(), re.DOTALL)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "index.html").write_text("<p>{{item}}</p>")
    with_judge = f"{example}        - {json.dumps(yaml.safe_load(judge))}\n"
    assert [task.name for task in load(written(tmp_path, with_judge)).tasks] == [
        "find-price",
        "close-ticket",
    ]


MISTAKES = """\
name: miniwob
defaults:
  max_stepz: 3
tasks:
  - name: one
    task_prompt: Buy {{item}} or {{tea}}.
    start: {html: <p>}
    values: {tea: [green, black]}
    actions: [click]
    success_criteria: {answer: tea}
  - name: one
    task_prompt: 3
    start: {file: nothing.html}
    timeout_seconds: -1
    success_criteria:
      all:
        - url: {prefx: /a}
        - answer: {regex: "(a"}
        - scorer: nonesuch
        - element: {selector: p, has_text: "a\\0b"}
        - {}
  - task_prompt: x
    start: {html: a, url: "https://example.com"}
    success_criteria: {url: example.com}
    extra: 1
"""


def test_every_mistake_is_told_with_its_place(folder: Path) -> None:
    told = [
        (one.place.line, one.place.column, sentence(one))
        for one in check(written(folder, MISTAKES)).mistakes
    ]
    assert [(line, column) for line, column, _ in told] == [
        (1, 1), (3, 3), (6, 5), (9, 5), (11, 5), (12, 5), (13, 13), (14, 5), (17, 17), (18, 20),
        (19, 11), (20, 34), (21, 11), (22, 5), (23, 5), (24, 24), (25, 5),
    ]  # fmt: skip
    for (_, _, said), expected in zip(
        told,
        [
            "name: 'miniwob' is a benchmark that comes with this program",
            "defaults.max_stepz: unknown key 'max_stepz': did you mean 'max_steps'?",
            "tasks[0].task_prompt: there is no value 'item'; there is: origin, seed, tea",
            "tasks[0].actions: must hold `answer`",
            "tasks[1].name: there are two tasks 'one', the first in line 5",
            "tasks[1].task_prompt: must be a text; put it in quotes",
            "tasks[1].start.file: there is no file 'nothing.html' in",
            "tasks[1].timeout_seconds: Input should be greater than 0",
            "all[0].url.prefx: unknown key 'prefx': did you mean 'prefix'?",
            "all[1].answer.regex: is no regular expression: missing ) at character 3",
            "all[2].scorer: no scorer 'nonesuch' is installed here",
            "all[3].element.has_text.contains: holds a NUL character",
            "all[4]: says nothing: it takes all, any, not, url",
            "tasks[2].name: 'name' is missing",
            "tasks[2].start: needs exactly one of url, html, file, folder, files, and there are",
            "tasks[2].success_criteria.url.exact: must begin with http://",
            "tasks[2].extra: unknown key 'extra'",
        ],
        strict=True,
    ):
        assert expected in said


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("- a", (1, 1), "a definition is a mapping with `name` and `tasks`"),
        ("name: a\ntasks: one", (2, 1), "must be a list"),
        ("name: a\ntasks: [one]", (2, 9), "must be a mapping of keys and values"),
        ("name: a\ntasks: []", (2, 1), "at least 1 item"),
        ("tasks: []\nname: a b", (2, 1), "should match pattern"),
    ],
)
def test_another_shape_is_told_by_what_it_should_be(
    folder: Path, text: str, place: tuple[int, int], said: str
) -> None:
    mistakes = check(written(folder, text)).mistakes
    assert any(one.place == Place(*place) and said in one.said for one in mistakes), mistakes


def test_the_first_mistake_stands_for_all_where_a_run_is_asked_for(folder: Path) -> None:
    path = written(folder, MISTAKES)
    with pytest.raises(DefinitionError, match=r"made.yaml:1:1: name: .* \(and 16 more: `mlops"):
        load(path)
    with pytest.raises(DefinitionError, match="cannot be read: No such file"):
        load(folder / "nothing.yaml")


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("{file: /etc/passwd}", "is no path of a file inside a folder"),
        ("{file: ../secret.html}", "must not hold '.', '..' or empty steps"),
        ("{file: link.html}", "leads out of"),
        ("{folder: away}", "leads out of"),
        ("{folder: pages}", "page 'index.html' is none of its files: desk.html"),
        ("{folder: pages/desk.html}", "there is no folder"),
        ("{file: pages}", "is no file"),
        ("{url: 'javascript:alert(1)'}", "must begin with http:// or https://"),
        ("{files: {index.html: {base64: '***'}}}", "is not base64"),
    ],
)
def test_a_fixture_is_files_beside_the_definition(folder: Path, start: str, said: str) -> None:
    (folder.parent / "secret.html").write_text("secret")
    (folder / "link.html").symlink_to(folder.parent / "secret.html")
    (folder / "away").symlink_to("/etc")
    text = GOOD.replace("https://example.com/desk", start)
    (mistake,) = check(written(folder, text)).mistakes
    assert said in mistake.said
    assert mistake.place.line == 20


def test_values_are_looked_for_in_the_fixtures_that_they_are_filled_into(folder: Path) -> None:
    (folder / "pages" / "desk.html").write_text("<p id=state>{{state}} {{number}}</p>")
    (folder / "pages" / "app.js").write_text("const text = `{{ own }}`")
    assert check(written(folder, GOOD)).mistakes == ()
    filled = GOOD.replace("      page: desk.html", "      page: desk.html\n      fill_values: true")
    (mistake,) = check(written(folder, filled)).mistakes
    assert mistake.place == Place(11, 5)
    assert mistake.said == "there is no value 'state'; there is: number, origin, seed"


def test_a_definition_that_is_too_large_does_not_travel(folder: Path) -> None:
    for number in range(3):
        (folder / "pages" / f"{number}.txt").write_text("x" * (DEFINITION_BYTES // 2))
    (mistake,) = check(written(folder, GOOD)).mistakes
    assert mistake.place == Place(12, 7)
    assert "more than 4000000 bytes" in mistake.said


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ([], "a definition is a mapping"),
        ({"name": "a", "tasks": []}, "definition tasks"),
        ({"name": "a", "tasks": [{"name": "b"}]}, "definition tasks.0.task_prompt"),
        (
            {
                "name": "a",
                "tasks": [
                    {
                        "name": "b",
                        "task_prompt": "c",
                        "start": {"file": "d.html"},
                        "success_criteria": {"url": "/"},
                    }
                ],
            },
            "task 'b': its files were not read in",
        ),
    ],
)
def test_what_travelled_wrong_is_refused_in_one_line(definition: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        parse(definition)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ({"a": "x\0y"}, "NUL"),
        ({"a": ["\ud800"]}, "surrogate"),
        ({"a": "x" * DEFINITION_BYTES}, "at most 4000000 bytes"),
    ],
)
def test_what_cannot_be_stored_is_refused_where_it_is_submitted(definition: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RunBenchmark(seeds=(0,), models=("m",), definition=definition)
    backslash = {"a": r"x\u0000"}
    job = RunBenchmark(seeds=(0,), models=("m",), definition=backslash)
    assert job.definition == backslash


def test_what_is_nested_without_end_is_refused() -> None:
    deep: Any = {"url": "/"}
    for _ in range(5_000):
        deep = {"not": deep}
    with pytest.raises(ValueError, match="nested deeper than 50 levels"):
        parse({"name": "a", "tasks": [{"name": "b", "success_criteria": deep}]})


def test_values_are_the_same_on_every_machine(folder: Path) -> None:
    task = CustomTask.model_validate(
        {
            "name": "a",
            "task_prompt": "{{tea}} {{cups}}",
            "start": {"html": "x"},
            "values": {"tea": ["green", "black", "white"], "cups": {"from": 1, "to": 6}},
            "cases": [{"who": "Ada"}, {"who": "Bob"}],
            "success_criteria": {"url": "/"},
        }
    )
    found = [drawn(task, seed) for seed in range(4)]
    assert [one["who"] for one in found] == ["Ada", "Bob", "Ada", "Bob"]
    assert [(one["tea"], one["cups"]) for one in found] == [
        ("white", "3"),
        ("black", "2"),
        ("black", "1"),
        ("white", "2"),
    ]
    assert {drawn(task, seed)["cups"] for seed in range(100)} == set("123456")


def test_selectors_and_scripts_are_checked_by_chromium(folder: Path) -> None:
    text = """\
name: scripts
tasks:
  - name: one
    task_prompt: x
    start: {html: x}
    setup: {javascript: "const a = ;"}
    success_criteria:
      all:
        - element: {selector: "p[id=", visible: any}
        - element: "p:has(> a)"
        - element: "li:nth-child({{seed}})"
        - element: "#row{{seed}}"
        - javascript: "await fetch('/') && true // fine"
        - javascript: |
            document.title ===
"""
    mistakes = probe(check(written(folder, text)))
    assert [(one.place.line, one.said.split(":")[0]) for one in mistakes] == [
        (6, "is no JavaScript"),
        (9, "is no CSS selector"),
        (14, "is no JavaScript"),
    ]
