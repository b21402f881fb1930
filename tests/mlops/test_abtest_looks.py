"""`mlops ab show` and `mlops ab list`: how a test went, as the timetable has seen it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from click.testing import Result

from mlops.abtest_looks import MOST_LOOKS, drawn, spread
from shared.abtest.lifecycle import create, start
from shared.abtest.looks import ComparedThen, Look, keep
from shared.abtest.tables import AbSum
from shared.abtest.verdicts import AbState
from shared.database import TenantId, tenant_session
from shared.drift.drawing.signs import ASCII, BLOCKS

AT = datetime(2026, 11, 20, 12, 17, tzinfo=UTC)


def compared(difference: float | None, low: float | None, high: float | None) -> ComparedThen:
    metric, state = "task_completion_rate", AbState.COLLECTING
    return ComparedThen("concise", metric, "share", state, difference, low, high)


def look(hours: int, difference: float, half: float) -> Look:
    one = compared(difference, difference - half, difference + half)
    return Look(
        AT + timedelta(hours=hours),
        AbState.COLLECTING,
        f"collecting: {60 * (hours + 1)} of 5000 units, and nothing is told yet",
        60 * (hours + 1),
        1.0,
        {"standard": 30 * (hours + 1), "concise": 30 * (hours + 1)},
        {"standard": 0.5, "concise": 0.5},
        (one,),
    )


@pytest.mark.parametrize(
    ("one", "line"),
    [
        (compared(0.5, 0.25, 0.75), "     0    ├────┼────┤     "),
        (compared(0.5, -0.5, 1.5), "<────0─────────┼─────────>"),
        (compared(0.25, None, 0.5), "<────0────┼────┤          "),
        (compared(0.25, 0.25, 0.25), "     0    ┼               "),
    ],
)
def test_an_interval_is_drawn_on_its_axis(
    one: ComparedThen, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlops.abtest_looks._CELLS", 26)
    assert drawn(one, (-0.25, 1.0), BLOCKS) == line
    assert drawn(one, (-0.25, 1.0), ASCII).isascii()


def test_of_many_looks_the_first_and_the_last_are_shown() -> None:
    looks = [(look(hours, 0.1, 0.2), compared(0.1, 0.0, 0.2)) for hours in range(100)]
    shown = spread(looks)
    assert (len(shown), shown[0], shown[-1]) == (MOST_LOOKS, looks[0], looks[-1])
    assert spread(looks[:2]) == looks[:2]


def test_a_test_is_listed_and_shown_with_what_its_looks_have_found(
    mlops: Callable[..., Result], tenant: TenantId
) -> None:
    def told(*arguments: str) -> str:
        return mlops(*arguments).stdout

    with tenant_session(tenant) as session:
        create(session, "words", [{"name": n, "weight": 0.5} for n in ("standard", "concise")])
        test = start(session, "words")
        create(session, "draft", [{"name": n, "weight": 0.5} for n in ("a", "b")])
        for hours in range(3):
            keep(session, test, look(hours, 0.05 * hours, 0.6 / (hours + 1)))
        for variant, solved in (("standard", 300), ("concise", 420)):
            session.add(
                AbSum(
                    tenant_id=tenant,
                    test_id=test.id,
                    variant=variant,
                    metric="task_completion_rate",
                    units=600,
                    unknown=0,
                    **dict.fromkeys(("y", "yy", "xy"), Decimal(solved)),
                    **dict.fromkeys(("x", "xx"), Decimal(600)),
                )
            )
    listed = json.loads(told("ab", "list", "--json"))
    assert [one["look"] and one["look"]["units"] for one in listed] == [None, 180]
    text = told("ab", "list")
    assert "words in production, as of 2026-11-20 14:17 UTC: collecting: 180 of 5000 units" in text
    shown = json.loads(told("ab", "show", "words", "--json"))
    assert [one["units"] for one in shown["looks"]] == [60, 120, 180]
    assert shown["state"] == "better"
    text = told("ab", "show", "words")
    assert "task_completion_rate of concise, look by look" in text
    row = next(line for line in text.splitlines() if "2026-11-20 14:17" in line)
    assert "+10 (-10 to +30) points" in row
    assert "collecting" in row
    # The look of this moment is the last.
    assert "+20 (" in text
