"""`mlops feature` and `mlops.FeatureStore`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result

from mlops import FeatureStore
from mlops.console import Exit
from shared.database import TenantId, tenant_session
from shared.telemetry.features.definitions import (
    DataType,
    FeatureError,
    UnfitFeatureError,
    UnknownFeatureError,
)
from shared.telemetry.features.watching import watched_features

Mlops = Callable[..., Result]

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)

BASKET = (
    "feature", "register", "basket", "--owner", "shop", "--source", "nightly sum of the orders",
    "--description", "Items in the basket.",
)  # fmt: skip


@pytest.fixture
def store(tenant: TenantId) -> FeatureStore:
    return FeatureStore(tenant)


def register(store: FeatureStore, name: str, data_type: str = "number") -> None:
    store.register(name, data_type, source="orders", owner="shop", description="Of a customer.")


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


# From Python


def test_a_feature_is_registered_written_and_read_as_of_a_time(store: FeatureStore) -> None:
    made = store.register(
        "basket", source="orders", owner="shop", description="Items.", unit="items"
    )
    assert (made.key, made.data_type, made.unit) == ("basket@1", DataType.NUMBER, "items")
    counts = store.write("basket", [("ann", NOON, 1), ("ann", NOON + timedelta(hours=2), 3)])
    assert (counts.stored, counts.unchanged) == (2, 0)
    (latest,) = store.latest("basket", "ann")
    assert latest.values == {"basket": 3}
    points = [("ann", NOON + timedelta(hours=1)), ("bob", NOON)]
    found = store.as_of(["basket"], points)
    assert [one.values["basket"] for one in found] == [1, None]
    found = store.as_of("basket", points, max_age=timedelta(minutes=30))
    assert [one.values["basket"] for one in found] == [None, None]
    # All of it was written just now.
    found = store.as_of("basket", points, known_then=True)
    assert [one.values["basket"] for one in found] == [None, None]


def test_mistakes_are_one_class_of_error(store: FeatureStore) -> None:
    with pytest.raises(UnfitFeatureError, match="expected one of number, text, boolean"):
        register(store, "basket", "float")
    with pytest.raises(UnknownFeatureError, match="no feature 'basket'"):
        store.latest("basket", "ann")
    register(store, "basket")
    with pytest.raises(FeatureError, match="row 1: a value of the type str; expected a number"):
        store.write("basket", [("ann", NOON, "1")])


def test_importing_the_public_face_loads_nothing_of_the_store() -> None:
    code = "import mlops, sys; print([m for m in sys.modules if m.startswith('shared')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# From the shell


def test_a_feature_is_registered_and_shown(mlops: Mlops) -> None:
    assert mlops(*BASKET).stdout == "basket@1\n"
    assert mlops(*BASKET, "--unit", "items").stdout == "basket@2\n"
    assert mlops(*BASKET, "--unit", "items").stdout == "basket@2\n"
    shown = json.loads(mlops("feature", "show", "basket", "--json").stdout)
    assert (shown["feature"], shown["versions"], shown["values"]) == ("basket@2", [1, 2], 0)
    assert shown["source"] == "query:nightly sum of the orders"
    lines = mlops("feature", "show", "basket@1").stdout.splitlines()
    assert lines[0] == "basket@1: Items in the basket."
    assert {"unit: none", "versions: 1, 2", "values: 0", "drift: watched"} <= set(lines)
    listed = {row["feature"]: row for row in json.loads(mlops("feature", "list", "--json").stdout)}
    assert (listed["basket@2"]["watched"], listed["tokens@1"]["watched"]) == (True, True)
    assert listed["confidence@1"]["owner"] == "mlops"
    table = mlops("feature", "list").stdout
    assert "basket@2" in table
    assert "rollup:llm_latency_ms" in table


def test_values_of_a_csv_file_are_written_and_read(
    mlops: Mlops, store: FeatureStore, tmp_path: Path
) -> None:
    for feature, data_type in (("basket", "number"), ("mood", "text"), ("member", "boolean")):
        register(store, feature, data_type)
    values = written(
        tmp_path / "values.csv",
        "\ufeffentity,event_time,basket,mood,member\n"
        "ann,2026-03-04T12:00Z,3,fine,true\n"
        'bob,2026-03-04T13:00+01:00,,"so, so",\n',
    )
    result = mlops("feature", "write", values)
    assert result.stdout.splitlines() == [
        "basket@1: 1 stored, 0 unchanged",
        "mood@1: 2 stored, 0 unchanged",
        "member@1: 1 stored, 0 unchanged",
    ]
    again = json.loads(mlops("feature", "write", values, "--json").stdout)
    assert again[1] == {"feature": "mood@1", "stored": 0, "unchanged": 2}
    read = ("feature", "latest", "basket", "mood", "member", "--entity", "bob", "--entity", "ann")
    bob, ann = json.loads(mlops(*read, "--json").stdout)
    assert bob["values"]["basket"] is bob["values"]["member"] is None
    assert bob["values"]["mood"]["value"] == "so, so"
    assert datetime.fromisoformat(bob["values"]["mood"]["event_time"]) == NOON
    assert [ann["values"][f]["value"] for f in ("basket", "mood", "member")] == [3, "fine", True]
    table = mlops(*read).stdout
    assert "so, so" in table
    assert "true" in table


def test_values_are_read_as_of_points_of_a_file_or_one(
    mlops: Mlops, store: FeatureStore, tmp_path: Path
) -> None:
    register(store, "basket")
    values = written(
        tmp_path / "values.jsonl",
        '{"entity": "ann", "event_time": "2026-03-04T12:00Z", "basket": 1}\n\n'
        '{"entity": "ann", "event_time": "2026-03-04T14:00Z", "basket@1": 2.5}\n',
    )
    assert mlops("feature", "write", values).exit_code == Exit.OK
    points = written(
        tmp_path / "points.csv", "entity,time\nann,2026-03-04T15:00Z\nann,2026-03-04T13:00Z\n"
    )

    def read(*arguments: str) -> list[float | None]:
        result = mlops("feature", "as-of", "basket", *arguments, "--json")
        rows = [row["values"]["basket"] for row in json.loads(result.stdout)]
        return [None if row is None else row["value"] for row in rows]

    assert read("--points", points) == [2.5, 1]
    assert read("--entity", "ann", "--at", "2026-03-04T12:30Z") == [1]
    assert read("--entity", "ann", "--at", "2026-03-04T11:59Z") == [None]
    assert read("--points", points, "--max-age-hours", "0.5") == [None, None]
    assert read("--points", points, "--known-then") == [None, None]
    table = mlops("feature", "as-of", "basket", "--points", points).stdout
    assert "2.5" in table


def test_a_monitored_feature_is_watched_or_not(mlops: Mlops, tenant: TenantId) -> None:
    result = mlops("feature", "unwatch", "dom_nodes")
    assert result.stdout == "dom_nodes is not watched from the next sweep on\n"
    assert mlops("feature", "unwatch", "dom_nodes").stdout == "dom_nodes is not watched already\n"
    with tenant_session(tenant) as session:
        assert "dom_nodes" not in [feature.name for feature in watched_features(session)]
    assert "not watched" in mlops("feature", "show", "dom_nodes").stdout
    assert json.loads(mlops("feature", "watch", "dom_nodes", "--json").stdout) == {
        "feature": "dom_nodes",
        "watched": True,
        "changed": True,
    }


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("show", "baskets"), Exit.NOT_FOUND, "no feature 'baskets'; near it: basket"),
        (("latest", "tokens", "--entity", "ann"), Exit.USAGE, "measured from events"),
        (("as-of", "basket", "--entity", "ann"), Exit.USAGE, "expected --entity and --at"),
        (
            ("as-of", "basket", "--entity", "ann", "--at", "2026-03-04"),
            Exit.USAGE,
            "--at: '2026-03-04' has no time zone",
        ),
        (("as-of", "basket", "--entity", "ann", "--at", "noon"), Exit.USAGE, "is no time"),
        (("write", "nowhere.csv"), Exit.USAGE, "nowhere.csv: No such file"),
        (("write", "values.txt"), Exit.USAGE, "ends in .csv or .jsonl"),
        (
            ("register", "b", "--owner", "o", "--description", "d", "--source", "rollup:speed"),
            Exit.USAGE,
            "no metric 'speed' in the rollups",
        ),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(
    mlops: Mlops, store: FeatureStore, arguments: tuple[str, ...], code: Exit, said: str
) -> None:
    register(store, "basket")
    result = mlops("feature", *arguments)
    assert (result.exit_code, len(result.stderr.splitlines())) == (code, 1)
    assert said in result.stderr


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("v.csv", "entity,event_time\nann,2026-03-04T12:00Z\n", "expected a column of a feature"),
        ("v.csv", "", "expected a column of a feature"),
        ("v.csv", "entity,basket\nann,1\n", "line 2: no event_time"),
        ("v.csv", "entity,event_time,basket\nann,2026-03-04T12:00Z\n", "line 2: 2 cells"),
        ("v.csv", "entity,event_time,basket,basket\n", "line 1: a column is there twice"),
        ("v.csv", "entity,event_time,basket\nann,x,1\n", "line 2: event_time: 'x' is no time"),
        ("v.csv", "entity,event_time,basket\nann,2026-03-04T12:00Z,one\n",
         "line 2: basket: 'one' is no number"),
        ("v.csv", "entity,event_time,basket\nann,2026-03-04T12:00Z,\n\nann,2999-01-01T12:00Z,1\n",
         "line 4: event time 2999-01-01 12:00:00+00:00 is more than 1 hour in the future"),
        ("v.csv", "entity,event_time,basket\nann,2026-03-04T12:00Z,nan\n", "line 2: the number"),
        ("v.csv", 'entity,event_time,basket\nann,"2026', "is not CSV"),
        ("v.jsonl", "{\n", "line 1: is not JSON"),
        ("v.jsonl", "[]\n", "line 1: is no JSON object"),
        ("v.jsonl", '{"entity": 7, "event_time": "2026-03-04T12:00Z", "basket": 1}', "a text"),
        ("v.jsonl", '{"entity": "a", "event_time": "2026-03-04T12:00Z", "basket": true}',
         "line 1: a value of the type bool; expected a number"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_is_told_with_its_line_and_nothing_is_written(
    mlops: Mlops, store: FeatureStore, tmp_path: Path, file: str, text: str, said: str
) -> None:
    register(store, "basket")
    register(store, "other")
    result = mlops("feature", "write", written(tmp_path / file, text))
    assert (result.exit_code, len(result.stderr.splitlines())) == (Exit.USAGE, 1)
    assert said in result.stderr
    (found,) = store.latest("basket", "ann")
    assert found.values == {"basket": None}


def test_a_column_of_no_feature_writes_none_of_the_file(
    mlops: Mlops, store: FeatureStore, tmp_path: Path
) -> None:
    register(store, "basket")
    text = "entity,event_time,basket,bosket\nann,2026-03-04T12:00Z,1,1\n"
    result = mlops("feature", "write", written(tmp_path / "v.csv", text))
    assert (result.exit_code, result.stdout) == (Exit.NOT_FOUND, "")
    assert "no feature 'bosket'; near it: basket" in result.stderr
    assert store.latest("basket", "ann")[0].values == {"basket": None}
