"""The tables of parameters in `docs/agents.md`, from the models that check them.

`python -m shared.evaluation.agents.documentation FILE` writes them into the file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from shared.evaluation.agents.registry import KINDS, kind_parameters_schema

BEGIN: Final = (
    "<!-- parameters: written by `python -m shared.evaluation.agents.documentation` -->\n"
)
END: Final = "<!-- end of parameters -->\n"
_SAYS: Final = {
    "rule-based": "Written rules for known kinds of goals: the offline reference. It costs nothing",
    "random": (
        "Draws, by the episode's seed, among what a visitor who cannot read could do (click, fill"
        " with a word of the goal, choose, press Enter, scroll, answer): the baseline"
    ),
    "llm": "Asks a language model in every step, over any OpenAI-compatible endpoint",
    "replay": (
        "Does again what a recorded episode did, on the elements that look as the recorded ones"
        " did; where the page has no such element it ends with an agent error that says which"
    ),
    "external": "An agent of your own, see above",
}


def tables() -> str:
    """One section per kind: what it is, and a table of its parameters."""
    return "\n".join(_section(kind) for kind in KINDS)


def written(document: str) -> str:
    """`document` with the tables between the two marks. Raises ValueError when it lacks them."""
    before, mark, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"the document lacks the marks {BEGIN.strip()} and {END.strip()}")
    return f"{before}{mark}\n{tables()}\n{end}{after}"


def _section(kind: str) -> str:
    schema: dict[str, Any] = kind_parameters_schema(kind)
    lines = [f"### `{kind}`", "", f"{_SAYS[kind]}.", ""]
    if not schema["properties"]:
        return "\n".join([*lines[:-1], "It takes no parameters.", ""])
    required = schema.get("required", [])
    rows = [
        f"| `{name}` | {_default(field, name in required)} | {_limits(field)} |"
        f" {field['description'].replace('|', chr(92) + '|')} |"
        for name, field in schema["properties"].items()
    ]
    return "\n".join([*lines, "| parameter | default | limits | |", "|---|---|---|---|", *rows, ""])


def _default(field: dict[str, Any], needed: bool) -> str:
    return "needed" if needed else f"`{json.dumps(field.get('default', {}))}`"


def _limits(field: dict[str, Any]) -> str:
    choices = [field, *field.get("anyOf", [])]
    low = _first(choices, "minimum", "exclusiveMinimum")
    high = _first(choices, "maximum")
    if low is not None and high is not None:
        above = " above" if _first(choices, "exclusiveMinimum") is not None else ""
        return f"{above} {_number(low)} to {_number(high)}".strip()
    longest = _first(choices, "maxLength")
    return "" if longest is None else f"{_number(longest)} characters"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def _first(choices: list[dict[str, Any]], *names: str) -> float | None:
    return next((one[name] for one in choices for name in names if name in one), None)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(written(path.read_text("utf-8")), "utf-8")
