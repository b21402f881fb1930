"""The moves of `oracle.py` as BrowserGym's actions, which name elements by `bid`.

Needs nothing but Python, because the peers' environments run it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.oracle import Move

Node = Mapping[str, Any]


def action_of(move: Move, nodes: Sequence[Node]) -> str:
    """The action on an accessibility tree, as BrowserGym's observation has its nodes.

    ValueError where no node is meant by the move.
    """
    bid = _bid(move, nodes)
    return f"fill({bid!r}, {move.text!r})" if move.kind == "fill" else f"click({bid!r})"


def _bid(move: Move, nodes: Sequence[Node]) -> str:
    by_id = {node["nodeId"]: node for node in nodes}
    role = "StaticText" if move.role == "text" else move.role
    for node in nodes:
        if _value(node, "role") != role or (move.name and _value(node, "name") != move.name):
            continue
        # A text is no element: the nearest above it is.
        above: Node | None = node
        while above is not None and "browsergym_id" not in above:
            above = by_id.get(above.get("parentId"))
        if above is not None:
            return str(above["browsergym_id"])
    raise ValueError(f"no {role} {move.name!r} among {len(nodes)} nodes")


def _value(node: Node, of: str) -> object:
    return node.get(of, {}).get("value")
