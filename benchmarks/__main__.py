"""Runs the subjects, prints a line per figure and writes `benchmarks/results.json`."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import pkgutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import benchmarks
from benchmarks.measure import Figure, PeerMissingError, Skipped

RESULTS = Path(__file__).with_name("results.json")

Figures = Callable[[], Iterable[Figure | Skipped]]


def subjects() -> dict[str, Figures]:
    """Every module of this folder that names a `SUBJECT`, by that name."""
    found: dict[str, Figures] = {}
    for module in sorted(pkgutil.iter_modules(benchmarks.__path__), key=lambda item: item.name):
        if module.name == "__main__":
            continue
        loaded = importlib.import_module(f"benchmarks.{module.name}")
        if hasattr(loaded, "SUBJECT"):
            found[loaded.SUBJECT] = loaded.figures
    return found


def merged(old: list[dict[str, Any]], new: list[dict[str, Any]], ran: set[str]) -> list[Any]:
    """`old` without the subjects that `ran`, and `new`, in order of name."""
    kept = [row for row in old if row["name"].partition(".")[0] not in ran]
    return sorted(kept + new, key=lambda row: row["name"])


def main(arguments: list[str] | None = None) -> int:
    known = subjects()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    parser.add_argument("--only", metavar="SUBJECT", choices=sorted(known), help=", ".join(known))
    only = parser.parse_args(arguments).only
    chosen = {only: known[only]} if only else known
    rows: list[dict[str, Any]] = []
    for subject, figures in chosen.items():
        try:
            for figure in figures():
                _tell(subject, figure)
                if isinstance(figure, Figure):
                    rows.append(_row(subject, figure))
        except PeerMissingError as missing:
            _tell(subject, Skipped("the rest", str(missing)))
    old = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    RESULTS.write_text(json.dumps(merged(old, rows, set(chosen)), indent=2) + "\n")
    missed = [row["name"] for row in rows if not row["met"]]
    print(f"{len(rows)} figures, {len(missed)} missed{': ' if missed else ''}{', '.join(missed)}")
    return 0


def _row(subject: str, figure: Figure) -> dict[str, Any]:
    return {
        "name": f"{subject}.{figure.name}",
        "ours": _digits(figure.ours),
        "other": _digits(figure.other),
        "unit": figure.unit,
        "against": figure.against,
        "ratio": _digits(figure.ratio),
        "target": figure.target,
        "met": figure.met,
    }


def _digits(value: float) -> float:
    """Four significant digits: more would be noise."""
    if not math.isfinite(value):
        raise ValueError(f"figure {value}; expected a finite number")
    return float(f"{value:.4g}")


def _tell(subject: str, figure: Figure | Skipped) -> None:
    name = f"{subject}.{figure.name}"
    if isinstance(figure, Skipped):
        print(f"{name:<34} skipped: {figure.reason}", flush=True)
        return
    verdict = "met" if figure.met else "MISSED"
    print(
        f"{name:<34} {figure.ours:>10.4g} {figure.unit:<8} {figure.against}: {figure.other:.4g}"
        f"  ratio {figure.ratio:.3g} (target {figure.target:g}) {verdict}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
