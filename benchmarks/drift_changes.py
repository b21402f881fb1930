"""Who finds a change and who cries wolf: our window tests beside River's detectors.

On seven real series that annotators have marked, which River brings along (see
`series/README.md`), and on streams whose changes are known because they are made
(`drift_streams`). Each detector tells when it alarms and where it places the change. The real
series are brought to mean 0 and deviation 1 first, which River's detectors need for their
parameters to mean anything, and ours does not notice.

`tuned` is the best setting of a grid, by its F1 on these very series: an upper bound of what
tuning can do, for each side alike, and no promise for other series. `budget` is ours at a false
discovery rate that allows one false alarm in 10,000 independent values; `100` looks at windows of
100 values instead of the 30 that the rule needs at least, and finds smaller changes later.
"""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.drift_scores import Detections, Score, delays, score
from benchmarks.drift_streams import EVERY, LENGTH, Stream, streams
from benchmarks.drift_windows import LOOK_EVERY, Windows, watch
from benchmarks.measure import Figure, Skipped
from benchmarks.peers import RIVER, Running, running

EVERY_NTH = 50
BUDGET = 1 / LENGTH
"False alarms that `budget` allows for each value."
FOUND_WITHIN = EVERY // 2
SEED = 11
QUIET = ("noise", "skewed", "correlated")
CHANGING = ("abrupt", "gradual", "spread", "errors")

Floats = npt.NDArray[np.float64]
Detector = Callable[[Floats], Detections]

GRIDS: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "ADWIN": {"delta": (0.002, 0.05, 0.3), "clock": (32, 1)},
    "KSWIN": {"alpha": (0.005, 1e-4), "window_size": (100, 60), "stat_size": (30, 15)},
    "PageHinkley": {"threshold": (50, 20, 10, 5), "delta": (0.005, 0.1, 0.5)},
}
"The first of each is River's default."
OUR_GRID = tuple(
    Windows(current, alpha, effect)
    for current, alpha, effect in itertools.product((30, 15, 100), (0.05, 1e-3), (0.1, 0.5))
)


@dataclass(frozen=True)
class Series:
    name: str
    values: Floats
    "Of shape (values, columns)."
    annotations: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class OnReal:
    """Means over the series; delays over all changes of all annotators."""

    score: Score
    f1: float
    f1_of_alarms: float
    "If the alarm itself is taken for the place of the change."
    found: float
    delay: float | None
    alarms: int


def figures() -> Iterator[Figure | Skipped]:
    """Also prints both tables. Raises `PeerMissingError` where River cannot be had."""
    with running(RIVER, "benchmarks.in_river") as theirs:
        real = _series(theirs)
        detectors = {
            "never": lambda values: Detections((), ()),
            f"every {EVERY_NTH}th": _every_nth,
            "ours": _ours(Windows()),
            "ours, budget": _ours(Windows(alpha=BUDGET * LOOK_EVERY)),
            "ours, budget, 100": _ours(Windows(100, BUDGET * LOOK_EVERY)),
            "ours, tuned": _best(real, (_ours(windows) for windows in OUR_GRID)),
        }
        for name in GRIDS:
            detectors[name] = _rivers(theirs, name, {})
            detectors[f"{name}, tuned"] = _best(
                real, (_rivers(theirs, name, parameters) for parameters in _grid(name))
            )
        on_real = {name: on_series(detector, real) for name, detector in detectors.items()}
        _print(_real_table(on_real))
        made = streams(SEED)
        on_made = {
            name: {kind: detector(stream.values[:, None]) for kind, stream in made.items()}
            for name, detector in detectors.items()
        }
        _print(_made_table(on_made, made))
    yield from _figures_of_real(on_real)
    yield from _figures_of_made(on_made, made)


def on_series(detector: Detector, series: Iterable[Series]) -> OnReal:
    scores, of_alarms, waited, alarms = [], [], [], 0
    for one in series:
        found = detector(one.values)
        scores.append(score(one.annotations, found.located))
        of_alarms.append(score(one.annotations, found.alarms).f1)
        waited += delays(one.annotations, found.alarms)
        alarms += len(found.alarms)
    in_time = [delay for delay in waited if delay is not None]
    return OnReal(
        Score(*(statistics.fmean(part) for part in zip(*scores, strict=True))),
        statistics.fmean(one.f1 for one in scores),
        statistics.fmean(of_alarms),
        len(in_time) / len(waited),
        statistics.median(in_time) if in_time else None,
        alarms,
    )


def _series(theirs: Running) -> tuple[Series, ...]:
    told = json.loads(theirs.ask(json.dumps({"series": True})))
    return tuple(
        Series(
            name,
            _standardised(np.array(of["values"], dtype=np.float64)),
            tuple(tuple(points) for points in of["annotations"]),
        )
        for name, of in told.items()
    )


def _standardised(values: Floats) -> Floats:
    standard: Floats = (values - values.mean(axis=0)) / values.std(axis=0)
    return standard


def _ours(windows: Windows) -> Detector:
    return lambda values: watch(values, windows)


def _rivers(theirs: Running, name: str, parameters: Mapping[str, Any]) -> Detector:
    def detect(values: Floats) -> Detections:
        question = {"detector": name, "parameters": parameters, "columns": values.T.tolist()}
        answer = json.loads(theirs.ask(json.dumps(question)))
        return Detections(tuple(answer["alarms"]), tuple(answer["located"]))

    return detect


def _every_nth(values: Floats) -> Detections:
    at = tuple(range(EVERY_NTH, len(values), EVERY_NTH))
    return Detections(at, at)


def _grid(name: str) -> Iterator[dict[str, float]]:
    for values in itertools.product(*GRIDS[name].values()):
        yield dict(zip(GRIDS[name], values, strict=True))


def _best(real: Iterable[Series], detectors: Iterable[Detector]) -> Detector:
    return max(detectors, key=lambda detector: on_series(detector, real).f1)


def _real_table(outcomes: Mapping[str, OnReal]) -> Iterator[str]:
    yield (
        "| on 7 real series | F1 | precision | recall | F1 of the alarms | found in time |"
        " median delay | alarms |"
    )
    yield "|---" * 8 + "|"
    for name, of in outcomes.items():
        delay = "-" if of.delay is None else f"{of.delay:g}"
        yield (
            f"| {name} | {of.f1:.3f} | {of.score.precision:.3f} | {of.score.recall:.3f} |"
            f" {of.f1_of_alarms:.3f} | {of.found:.0%} | {delay} | {of.alarms} |"
        )


def _made_table(
    found: Mapping[str, Mapping[str, Detections]], made: Mapping[str, Stream]
) -> Iterator[str]:
    heads = [*(f"{kind}: found, delay, more" for kind in CHANGING), *QUIET]
    yield f"| on made streams | {' | '.join(heads)} |"
    yield "|---" * (len(heads) + 1) + "|"
    for name, of in found.items():
        cells = [_said(of[kind], made[kind]) for kind in CHANGING]
        cells += [str(len(of[kind].alarms)) for kind in QUIET]
        yield f"| {name} | {' | '.join(cells)} |"


def _said(found: Detections, stream: Stream) -> str:
    waited = delays([stream.changes], found.alarms, FOUND_WITHIN)
    in_time = [delay for delay in waited if delay is not None]
    delay = f"{statistics.median(in_time):g}" if in_time else "-"
    return f"{len(in_time)}/{len(waited)}, {delay}, {len(found.alarms) - len(in_time)}"


def _figures_of_real(outcomes: Mapping[str, OnReal]) -> Iterator[Figure]:
    for name, suffix, beside in (
        ("f1_real", "", tuple(GRIDS)),
        ("f1_real_tuned", ", tuned", tuple(GRIDS)),
        ("f1_real_trivial", "", ("never", f"every {EVERY_NTH}th")),
    ):
        peers = [peer + suffix if peer in GRIDS else peer for peer in beside]
        best = max(peers, key=lambda peer: outcomes[peer].f1)
        yield Figure(
            name,
            outcomes[f"ours{suffix}"].f1,
            outcomes[best].f1,
            "F1",
            f"{best}, the best of {', '.join(peers)}; seven annotated series, margin 5",
            target=1,
            more_is_better=True,
        )


def _figures_of_made(
    found: Mapping[str, Mapping[str, Detections]], made: Mapping[str, Stream]
) -> Iterator[Figure | Skipped]:
    """Delays are compared with detectors that raise as few false alarms: all others are quick."""
    false = {name: len(of["noise"].alarms) for name, of in found.items()}
    budget = BUDGET * LENGTH
    yield Figure(
        "false_alarms",
        # What was not seen in so many values may still be there.
        max(false["ours, budget"], 0.5),
        budget,
        "alarms",
        f"limit (in {LENGTH} independent values at the budget, half of one where there was none)",
        target=1,
    )
    as_quiet = [name for name in GRIDS if false[name] <= budget]
    for kind in CHANGING:
        if not as_quiet:
            yield Skipped(f"delay_{kind}", "no default of River's keeps the budget")
            continue
        waited = {
            name: _mean_delay(found[name][kind], made[kind]) for name in ("ours, budget", *as_quiet)
        }
        best = min(as_quiet, key=lambda name: waited[name])
        yield Figure(
            f"delay_{kind}",
            waited["ours, budget"],
            waited[best],
            "values",
            f"{best}, the best of River's defaults that keep the budget too; mean over"
            f" {len(made[kind].changes)} changes, {FOUND_WITHIN} for one that is not found",
            target=1,
        )


def _mean_delay(found: Detections, stream: Stream) -> float:
    waited = delays([stream.changes], found.alarms, FOUND_WITHIN)
    return statistics.fmean(FOUND_WITHIN if delay is None else delay for delay in waited)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)
