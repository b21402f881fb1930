"""CSS selectors and JavaScript of a definition, checked by the one who will run them: Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shared.evaluation.custom.document import Mistake
from shared.evaluation.custom.parts import fill
from shared.evaluation.custom.values import drawn
from shared.local.chromium import ChromiumError, find_chromium, launch_arguments

if TYPE_CHECKING:
    from shared.evaluation.custom.checking import Checked
    from shared.evaluation.custom.definition import CustomBenchmark, Where

_LAUNCH_MS: Final = 30_000

# Nothing of a definition is run here: a selector is tried on an empty fragment, and a script is
# only parsed, by making a function of it that is never called.
_PROBE: Final = """
(asked) => asked.map(([kind, text]) => {
  try {
    if (kind === "selector") document.createDocumentFragment().querySelector(text);
    else {
      const made = Object.getPrototypeOf(async () => {}).constructor;
      new made("values", kind === "expression" ? `return (\\n${text}\\n);` : text);
    }
    return null;
  } catch (error) {
    return String(error.message);
  }
})
"""


class NoBrowserError(Exception):
    """There is no Chromium to ask; the message is one line."""


class _Asked(NamedTuple):
    where: Where
    kind: str
    text: str


def probe(checked: Checked) -> list[Mistake]:
    """What Chromium makes of the selectors and scripts. Raises `NoBrowserError`."""
    if checked.benchmark is None:
        return []
    asked = list(_asked(checked.benchmark))
    if not asked:
        return []
    document = checked.document
    said = _in_chromium([(one.kind, one.text) for one in asked])
    return [
        Mistake(document.place_of(one.where), one.where, _told(one.kind, problem))
        for one, problem in zip(asked, said, strict=True)
        if problem is not None
    ]


def _told(kind: str, problem: str) -> str:
    if kind == "selector":
        return "is no CSS selector"
    return f"is no JavaScript: {problem[:200]}"


def _asked(benchmark: CustomBenchmark) -> Iterator[_Asked]:
    for number, task in enumerate(benchmark.tasks):
        here: Where = ("tasks", number)
        values = drawn(task, 0)
        for name in ("setup", "teardown"):
            script = getattr(task, name).javascript
            if script is not None:
                yield _Asked((*here, name, "javascript"), "statements", script)
        for where, criterion in task.success_criteria.walk((*here, "success_criteria")):
            if criterion.element is not None:
                selector = fill(criterion.element.selector, values)
                yield _Asked((*where, "element", "selector"), "selector", selector)
            if criterion.javascript is not None:
                script = criterion.javascript.expression
                yield _Asked((*where, "javascript", "expression"), "expression", script)


def _in_chromium(asked: Sequence[tuple[str, str]]) -> list[str | None]:
    try:
        from playwright.sync_api import Error as PlaywrightError
        from playwright.sync_api import sync_playwright

        executable = find_chromium().path
    except ImportError:
        raise NoBrowserError("Playwright is not installed") from None
    except ChromiumError as error:
        raise NoBrowserError(str(error)) from None
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=executable,
                args=launch_arguments(),
                chromium_sandbox=True,
                timeout=_LAUNCH_MS,
            )
            found: Any = browser.new_page().evaluate(_PROBE, json.loads(json.dumps(asked)))
            browser.close()
    except PlaywrightError as error:
        raise NoBrowserError(f"Chromium: {error.message.splitlines()[0]}") from None
    return list(found)
