"""An A/B test as it stands: its state in a line, and as JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlops.console import print_json, say

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from shared.abtest.tables import AbTest


def described(test: AbTest) -> dict[str, Any]:
    """The test for machines, without its slots."""
    return {
        "name": test.name,
        "environment": test.environment,
        "status": test.status,
        "version": test.table_version,
        "variants": [
            {"payload": None} | {k: v for k, v in variant.items() if k != "slots"}
            for variant in test.variants
        ],
        "rules": test.rules,
        "winner": test.winner,
        "success_metric": test.success_metric,
        "plan": test.plan,
        "created_at": test.created_at,
    }


def state_line(test: Mapping[str, Any]) -> str:
    """What the test does now, and to how many."""
    parts = [f"{test['name']} is {test['status']}, version {test['version']}"]
    parts.append(", ".join(variant_told(variant) for variant in test["variants"]))
    if test["winner"] is not None:
        parts.append(f"winner {test['winner']}")
    coverage = test["rules"].get("coverage", 1)
    if coverage != 1:
        parts.append(f"{coverage:.4g} of the units take part")
    if test["moving"]:
        parts.append(_moving(test["moving"]))
    return "; ".join(parts)


def on_its_way(session: Session, test: AbTest) -> dict[str, Any]:
    """The share of the units that are on their way to another variant, and whom they wait for."""
    from shared.abtest.followers import awaited
    from shared.abtest.hashing import SLOTS

    if not test.moving:
        return {"moving": None}
    processes = [follower.process for follower in awaited(session, test)]
    slots = sum(end - first for first, end in test.moving)
    return {"moving": {"share": slots / SLOTS, "waits_for": processes}}


_MOST_NAMED = 5


def _moving(moving: Mapping[str, Any]) -> str:
    processes = moving["waits_for"]
    what = f"{moving['share']:.4g} of the units move"
    if not processes:
        return f"{what} within a minute"
    count = "1 process has" if len(processes) == 1 else f"{len(processes)} processes have"
    named = ", ".join(processes[:_MOST_NAMED]) + (", ..." if len(processes) > _MOST_NAMED else "")
    return f"{what} when {count} stored whom they have shown a variant; waits for {named}"


def without_units(test: Mapping[str, Any]) -> str:
    """What to say of a test of which no unit is known yet: how one comes to be."""
    name, environment = test["name"], test["environment"]
    where = "" if environment == "production" else f" --environment {shlex.quote(environment)}"
    match test["status"]:
        case "draft":
            how = f"it is a draft: `mlops ab start {shlex.quote(name)}{where}` lets it assign"
        case "running" if any(variant["model"] is None for variant in test["variants"]):
            how = f"`mlops ab assign {shlex.quote(name)} UNIT{where}` shows what a unit gets, and"
            how += " units that `ConfigManager.assign` shows a variant are summed every minute"
        case "running":
            split = {"test": name} | ({"environment": environment} if where else {})
            job = json.dumps({"job": "run_benchmark", "seeds": [1, 2, 3], "ab": split})
            how = f"`mlops job submit {shlex.quote(job)}` evaluates with it"
        case status:
            how = f"it is {status}"
    of_agents = all(variant["model"] for variant in test["variants"])
    done = "evaluated" if of_agents else "summed"
    if test["status"] == "draft":
        done = "assigned"
    return f"{name} has {done} no unit yet, so nothing is known; {how}"


def so_far(status: str, state: str) -> str:
    """The state of the verdict; one that was collecting when its test ended stays undecided."""
    ended = status in ("stopped", "concluded")
    return "undecided" if ended and state == "collecting" else state


def variant_told(variant: Mapping[str, Any]) -> str:
    """`NAME=MODEL:WEIGHT`, as it is typed."""
    model = "" if variant["model"] is None else f"={variant['model']}"
    return f"{variant['name']}{model}:{variant['weight']:g}"


def print_changed(test: AbTest, as_json: bool, more: Mapping[str, Any]) -> None:
    """What a command has made of the test."""
    if as_json:
        print_json({**described(test), **more})
    elif more["moving"]:
        say(f"{test.name} {test.status}; {_moving(more['moving'])}")
    else:
        say(f"{test.name} {test.status}")
