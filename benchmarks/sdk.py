"""What a recorded model call costs the thread that makes it, against a limit.

Each call is timed by itself, in the manner of an agent with many threads: ten calls, a pause, and
so on, inside a task, while the collector's own thread encodes, packs and hands over. The batches go
nowhere: what a service does with them is no part of the caller's time.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from benchmarks.measure import Figure, MeasurementError
from mlops.metrics import MetricsCollector

CALLS = 20_000
BURST = 10
PAUSE_SECONDS = 0.001
WARM = 1_000
"Calls before the timed ones: the thread is started and has imported what it needs."
LIMIT_MICROSECONDS = 10.0


class Nowhere:
    """A transport that takes everything and keeps nothing."""

    def send(self, batch_id: UUID, packed: bytes, events: int) -> None:
        pass


def figures() -> Iterator[Figure]:
    """Microseconds of `record_llm_call`: the documented call, and one of which all is known."""
    for name, fields in (("record_llm_call", DOCUMENTED), ("record_llm_call_in_full", FULL)):
        times = sorted(_times(fields))
        # The limit is the median's. Of a hundred calls one may wait for a processor.
        for share, suffix, target in ((0.5, "median", 1), (0.99, "p99", 0.1)):
            microseconds = times[int(share * len(times))] / 1000
            yield Figure(
                f"{name}_{suffix}", microseconds, LIMIT_MICROSECONDS, "us", "limit", target
            )


DOCUMENTED: dict[str, object] = {"tokens_used": 150, "cost": 0.003}
FULL: dict[str, object] = {
    "provider": "openai",
    "llm_model": "gpt-4.1-mini",
    "latency": 0.42,
    "first_token": 0.1,
    "input_tokens": 900,
    "cached_input_tokens": 100,
    "output_tokens": 30,
    "reasoning_tokens": 0,
    "query_length": 3000,
    "confidence": 0.75,
    "attributes": {"retry": 1, "region": "eu"},
}


def _times(fields: dict[str, object]) -> list[int]:
    """Nanoseconds of each timed call."""
    with tempfile.TemporaryDirectory(prefix="mlops-benchmark-") as folder:
        metrics = MetricsCollector(transport=Nowhere(), spill_folder=Path(folder))
        metrics.start_task("benchmark")
        for _ in range(WARM):
            metrics.record_llm_call(**fields)  # type: ignore[arg-type]
        metrics.flush()
        gc.collect()
        times = []
        for _ in range(CALLS // BURST):
            for _ in range(BURST):
                started = time.perf_counter_ns()
                metrics.record_llm_call(**fields)  # type: ignore[arg-type]
                times.append(time.perf_counter_ns() - started)
            time.sleep(PAUSE_SECONDS)
        metrics.end_task(success=True)
        metrics.close()
        counts = metrics.counts
    if counts.sent != WARM + CALLS + 2:
        raise MeasurementError(f"{counts.sent:,} of {WARM + CALLS + 2:,} events were handed over")
    return times
