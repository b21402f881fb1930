"""Runs the subjects, prints a line per figure and writes `benchmarks/results.json`.

A missed target is shown and changes nothing about the exit code: a busy machine must not break a
build. Exit code 1 says that our own side failed and a figure could not be taken, 2 that there is
no such subject.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import math
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import benchmarks
from benchmarks.measure import Figure, MeasurementError, PeerMissingError, Skipped
from shared.local.errors import ServiceError

RESULTS = Path(__file__).with_name("results.json")

SUBJECTS = ("jobs", "evaluation", "telemetry", "costs", "drift", "abtest", "sdk")
"Every subject that can be named; those that exist are the modules of these names, see `existing`."

Figures = Callable[[], Iterable[Figure | Skipped]]


def figures_of(subject: str) -> Figures | None:
    """The `figures` of the module that is named like the subject; None when there is none yet."""
    if subject not in existing():
        return None
    figures: Figures = importlib.import_module(f"benchmarks.{subject}").figures
    return figures


def existing() -> tuple[str, ...]:
    """The subjects that have figures."""
    return tuple(s for s in SUBJECTS if importlib.util.find_spec(f"benchmarks.{s}") is not None)


def merged(old: list[dict[str, Any]], new: list[dict[str, Any]], ran: set[str]) -> list[Any]:
    """`old` without the subjects that `ran`, and `new`, in order of name."""
    kept = [row for row in old if row["name"].partition(".")[0] not in ran]
    return sorted(kept + new, key=lambda row: row["name"])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    parser.add_argument("--only", metavar="SUBJECT", choices=SUBJECTS, help=", ".join(existing()))
    only = parser.parse_args(arguments).only
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}", flush=True)
    measured: list[dict[str, Any]] = []
    failed = False
    for subject in (only,) if only else SUBJECTS:
        figures = figures_of(subject)
        if figures is None:
            print(f"{subject}: no figures yet; there are: {', '.join(existing())}")
            continue
        rows, complete = take(subject, figures)
        measured += rows
        failed |= not complete
        _keep(subject, rows)
    missed = [row["name"] for row in measured if not row["met"]]
    print(f"{len(measured)} figures, {len(missed)} missed{': ' * bool(missed)}{', '.join(missed)}")
    return int(failed)


def take(subject: str, figures: Figures) -> tuple[list[dict[str, Any]], bool]:
    """The rows of a subject's figures, each printed, and whether our own side did its part."""
    rows = []
    try:
        for figure in figures():
            _tell(subject, figure)
            if isinstance(figure, Figure):
                rows.append(_row(subject, figure))
    except PeerMissingError as missing:
        _tell(subject, Skipped("the rest", str(missing)))
    except (MeasurementError, ServiceError) as error:
        print(f"{subject}: FAILED: {error}", flush=True)
        return rows, False
    return rows, True


def _keep(subject: str, rows: list[dict[str, Any]]) -> None:
    old = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    RESULTS.write_text(json.dumps(merged(old, rows, {subject}), indent=2) + "\n")


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
