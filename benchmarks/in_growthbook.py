"""Runs in GrowthBook's environment: how long its SDK takes to assign units.

A line is a question in JSON: how the units are called, how many there are, and whether they were
met before. The answer is the CPU seconds that all of them took, and how many got which variant. One
object serves all units, which is quicker than one for each request, as its guide has it.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter

from growthbook import Experiment, GrowthBook

EXPERIMENT = Experiment(
    key="prompt",
    variations=["standard", "detailed", "concise"],
    weights=[0.4, 0.3, 0.3],
    hashVersion=2,
    condition={"country": {"$in": ["DE", "FR"]}, "age": {"$gte": 18}},
)


def cpu_seconds(names: list[str], met: bool) -> tuple[float, Counter[str]]:
    """CPU seconds of an evaluation of each unit, with targeting, and how many got what.

    Units that were `met` are evaluated once before, untimed: they are not tracked again.
    """
    tracked: list[object] = []
    growthbook = GrowthBook(
        attributes={}, trackingCallback=lambda result, **rest: tracked.append(result)
    )
    given: list[str] = []
    for _ in range(2 if met else 1):
        given.clear()
        begun = time.process_time()
        for name in names:
            growthbook.set_attributes({"id": name, "country": "DE", "age": 30})
            given.append(growthbook.run(EXPERIMENT).value)
        took = time.process_time() - begun
    if len(tracked) != len(names):
        raise RuntimeError(f"{len(tracked)} of {len(names)} units were counted")
    return took, Counter(given)


def main() -> None:
    for line in sys.stdin:
        question = json.loads(line)
        names = [f"{question['prefix']}{number}" for number in range(question["units"])]
        took, shares = cpu_seconds(names, question["met"])
        print(json.dumps({"cpu_seconds": took, "shares": shares}), flush=True)


if __name__ == "__main__":
    main()
