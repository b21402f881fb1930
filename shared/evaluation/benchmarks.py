"""Which benchmarks there are, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.evaluation.miniwob.benchmark import MiniWob
from shared.evaluation.sites.benchmark import Sites

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.evaluation.benchmark import Benchmark
    from shared.evaluation.protocol import Task

_BENCHMARKS: Mapping[str, Benchmark] = {"miniwob": MiniWob(), "sites": Sites()}

NAMES = tuple(_BENCHMARKS)


class UnknownBenchmarkError(ValueError):
    """There is no such benchmark; the message names those that there are."""


def benchmark(name: str) -> Benchmark:
    """Raises `UnknownBenchmarkError`."""
    if name not in _BENCHMARKS:
        raise UnknownBenchmarkError(f"no benchmark {name!r}; there is: {', '.join(NAMES)}")
    return _BENCHMARKS[name]


def catalogue(name: str) -> Mapping[str, Task]:
    """The tasks of a benchmark by name. Raises `UnknownBenchmarkError`."""
    return benchmark(name).catalogue()
