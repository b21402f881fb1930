"""From a template to a prompt: one pass, so that what a user sends is data and never a template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from string import Template
from typing import Any, Final

QUERY: Final = "query"
LONGEST_PROMPT: Final = 2_000_000
"Characters of one rendered template."


class TemplateError(ValueError):
    """A template cannot be read or filled in; the message is one line."""


def placeholders(template: str) -> frozenset[str]:
    """The names that a template stands for. Raises `TemplateError` for a stray `$`."""
    read = Template(template)
    if not read.is_valid():
        raise TemplateError(
            "a `$` must begin a name, as in `$query` or `${customer}`; `$$` is a dollar"
        )
    return frozenset(read.get_identifiers())


def render(template: str, query: str, context: Mapping[str, Any]) -> str:
    """The template with the query and the context's values in it.

    A text stands as it is, anything else as JSON. Raises `TemplateError` that names what the
    context lacks, or has and cannot be written.
    """
    wanted = placeholders(template)
    missing = sorted(wanted - {QUERY} - context.keys())
    if missing:
        raise TemplateError(
            f"the prompt needs {', '.join(missing)} in the context, which has"
            f" {', '.join(sorted(map(str, context))) or 'nothing'}"[:1_000]
        )
    values = {name: query if name == QUERY else _text(name, context[name]) for name in wanted}
    # A name may stand there a thousand times: told before it is made.
    longest = len(template) + sum(len(one) for one in values.values()) * template.count("$")
    if longest > LONGEST_PROMPT and _length(template, values) > LONGEST_PROMPT:
        raise TemplateError(f"the prompt has more than {LONGEST_PROMPT:,} characters")
    return Template(template).substitute(values)


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise TemplateError(f"{name} of the context is neither text nor JSON") from None


def _length(template: str, values: Mapping[str, str]) -> int:
    """Of what would be rendered."""
    parts = Template.pattern.finditer(template)
    names = (part.group("named") or part.group("braced") for part in parts)
    return len(template) + sum(len(values[name]) for name in names if name)
