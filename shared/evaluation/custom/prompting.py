"""The judge's prompt: versioned files, and their digest.

A set of files is one version (`prompts/judge-*.v1.txt`); the digest stands in the definition of
the task, so that a task with another prompt is another task.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Set
from functools import cache
from importlib import resources
from string import Template
from typing import Final

from shared.evaluation.agents.prompting import number

PARTS: Final = ("judge-system", "judge-question", "judge-repair")
NEWEST: Final = "v1"


@cache
def versions() -> tuple[str, ...]:
    """The prompt versions that there are a complete set of files for."""
    folder = resources.files(__package__).joinpath("prompts")
    return complete({entry.name for entry in folder.iterdir()})


def complete(names: Set[str]) -> tuple[str, ...]:
    """The versions of which every part is among these files, the newest last."""
    found = {m[1] for name in names if (m := re.fullmatch(r"judge-system\.(v\d+)\.txt", name))}
    whole = (v for v in found if {f"{part}.{v}.txt" for part in PARTS} <= names)
    return tuple(sorted(whole, key=number))


@cache
def template(part: str, version: str) -> Template:
    """The template `part` of a version. Raises FileNotFoundError when there is none."""
    source = resources.files(__package__).joinpath("prompts", f"{part}.{version}.txt")
    return Template(source.read_text(encoding="utf-8"))


@cache
def digest(version: str) -> str:
    """SHA-256 over the version's files, in hex."""
    sha = hashlib.sha256()
    for part in PARTS:
        sha.update(template(part, version).template.encode())
    return sha.hexdigest()
