"""What a run rested on, held against what is there now. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

MOST_PACKAGES_TOLD: Final = 10


@dataclass(frozen=True)
class Recipe:
    """How a run is made again: the `command`, where and from which commit, and with what.

    `differences` are what is not the same here and now, a sentence each; `unknown` is what nobody
    can hold against it, because the run did not log it.
    """

    command: tuple[str, ...] | None
    folder: str | None
    commit: str | None
    seed: int | None
    params: Mapping[str, Any]
    differences: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def shell(self) -> str | None:
        return None if self.command is None else shlex.join(self.command)


_SAME: Final = {
    "python": "Python",
    "platform": "the platform",
    "host": "the host",
    "lock_file": "the lock file",
}


def recipe(
    environment: Mapping[str, Any],
    packages: Mapping[str, str] | None,
    params: Mapping[str, Any],
    here: Mapping[str, Any],
    packages_here: Mapping[str, str],
) -> Recipe:
    """Hold a run's `environment` and `packages` against those of this process."""
    differences: list[str] = []
    unknown: list[str] = []
    for field, name in _SAME.items():
        if environment.get(field) is None:
            unknown.append(f"{name} was not logged")
        elif environment[field] != here.get(field):
            differences.append(
                f"{name} was {environment[field]}, and is {here.get(field) or 'none'}"
            )
    _compare_commits(environment.get("git"), here.get("git"), differences, unknown)
    if packages is None:
        unknown.append("the packages were not logged")
    else:
        differences += _package_differences(packages, packages_here)
    if environment.get("seed") is None:
        unknown.append("no seed was logged: what is drawn at random will be other")
    command = environment.get("command")
    if command is None:
        unknown.append("the command was not logged: it cannot be started again")
    git = environment.get("git") or {}
    return Recipe(
        None if command is None else tuple(command),
        environment.get("folder"),
        git.get("commit"),
        environment.get("seed"),
        params,
        tuple(differences),
        tuple(unknown),
    )


def _compare_commits(
    then: Mapping[str, Any] | None,
    now: Mapping[str, Any] | None,
    differences: list[str],
    unknown: list[str],
) -> None:
    if not then:
        unknown.append("no commit was logged")
        return
    if not now:
        differences.append(f"the commit was {then['commit'][:12]}, and here is no repository")
    elif then["commit"] != now["commit"]:
        differences.append(f"the commit was {then['commit'][:12]}, and is {now['commit'][:12]}")
    if then.get("dirty"):
        unknown.append(
            "files were changed and not committed when it ran: which, and how, nobody knows"
        )
    if now and now.get("dirty"):
        differences.append("files are changed here that are not committed")


def _package_differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    told = [
        f"{name} was {version}, and is {now.get(name, 'not installed')}"
        for name, version in sorted(then.items())
        if now.get(name) != version
    ]
    added = sorted(now.keys() - then.keys())
    if added:
        told.append(f"{len(added)} packages are installed that were not: {', '.join(added[:5])}")
    if len(told) > MOST_PACKAGES_TOLD:
        return [
            *told[:MOST_PACKAGES_TOLD],
            f"{len(told) - MOST_PACKAGES_TOLD} packages more differ",
        ]
    return told
