"""Every event arrives once, or is counted; nobody waits for a service that is away."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlops import MetricsCollector
from mlops.telemetry.sending import Batch
from mlops.telemetry.spilling import SpillFolder

Make = Callable[..., MetricsCollector]
Until = Callable[[Callable[[], object]], None]


def record(metrics: MetricsCollector, numbers: range) -> None:
    for number in numbers:
        metrics.record_llm_call(output_tokens=number)


def numbers(receiver: Any) -> list[int]:
    return [event["output_tokens"] for event in receiver.events()]


def adds_up(metrics: MetricsCollector) -> bool:
    counts = metrics.counts
    return counts.recorded == counts.sent + counts.waiting + counts.dropped + counts.refused


def test_a_full_batch_is_sent_at_once(collector: Make, receiver: Any, until: Until) -> None:
    metrics = collector(flush_events=10, flush_seconds=3600)
    record(metrics, range(25))
    until(lambda: len(receiver.events()) >= 20)
    assert metrics.flush()
    assert numbers(receiver) == list(range(25))
    assert max(len(batch) for batch in receiver.batches()) <= 10


def test_a_batch_that_is_not_full_is_sent_after_a_while(
    collector: Make, receiver: Any, until: Until
) -> None:
    record(collector(flush_seconds=0.05), range(3))
    until(lambda: numbers(receiver) == [0, 1, 2])


def test_many_threads_lose_nothing_and_count_exactly(collector: Make, receiver: Any) -> None:
    metrics = collector(memory_events=100_000)
    threads = [threading.Thread(target=record, args=(metrics, range(1000))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.flush(20)
    assert sorted(numbers(receiver)) == sorted(list(range(1000)) * 8)
    assert (metrics.counts.recorded, metrics.counts.sent) == (8000, 8000)


def test_a_signal_that_records_amid_recording_does_no_harm(collector: Make, receiver: Any) -> None:
    metrics = collector(memory_events=100_000, flush_events=50)
    interrupted = []

    def handler(*_: object) -> None:
        interrupted.append(True)
        metrics.record_llm_call(output_tokens=1)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        calls = 0
        while len(interrupted) < 50:
            metrics.record_llm_call(output_tokens=1)
            calls += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert metrics.flush(20)
    assert len(receiver.events()) == calls + len(interrupted)


def test_a_service_that_is_away_is_told_later_oldest_first(
    collector: Make, receiver: Any, spill: Path, until: Until
) -> None:
    metrics = collector(flush_events=10, flush_seconds=0.05)
    receiver.become("away")
    record(metrics, range(25))
    assert metrics.flush()
    counts = metrics.counts
    assert (counts.recorded, counts.sent, counts.spilled, counts.waiting) == (25, 0, 25, 25)
    assert (spill.stat().st_mode & 0o777, len(list(spill.iterdir()))) == (0o700, 3)
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in spill.iterdir())

    receiver.become("there")
    until(lambda: metrics.counts.sent == 25)
    assert numbers(receiver) == list(range(25))
    assert (metrics.counts.waiting, list(spill.iterdir())) == (0, [])


def test_a_service_that_says_wait_is_left_alone_for_so_long(
    collector: Make, receiver: Any, until: Until
) -> None:
    metrics = collector(flush_seconds=0.05)
    receiver.become("full 0.5")
    record(metrics, range(3))
    assert metrics.flush()
    asked = time.monotonic()
    receiver.become("there")
    record(metrics, range(3, 5))
    until(lambda: metrics.counts.sent == 5)
    assert time.monotonic() - asked > 0.4
    assert sorted(numbers(receiver)) == list(range(5))


def test_a_refused_batch_is_counted_and_not_tried_again(
    collector: Make, receiver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = collector()
    receiver.become("refusing")
    record(metrics, range(3))
    assert metrics.flush()
    receiver.become("there")
    record(metrics, range(3, 5))
    assert metrics.flush()
    assert numbers(receiver) == [3, 4]
    assert (metrics.counts.refused, metrics.counts.waiting) == (3, 0)
    assert "it is not a batch" in caplog.text


def test_what_neither_memory_nor_disk_can_hold_is_dropped_and_counted(
    collector: Make, receiver: Any, until: Until
) -> None:
    metrics = collector(memory_events=100, flush_events=10, flush_seconds=0.05, spill_bytes=0)
    receiver.become("away")
    record(metrics, range(50))
    assert not metrics.flush()
    record(metrics, range(50, 300))
    counts = metrics.counts
    assert (counts.recorded, counts.waiting, counts.dropped) == (300, 100, 200)
    receiver.become("there")
    until(lambda: metrics.counts.sent == 100)
    assert sorted(numbers(receiver)) == list(range(100))
    assert adds_up(metrics)


def test_the_spill_folder_does_not_exceed_its_limit(
    collector: Make, receiver: Any, spill: Path
) -> None:
    metrics = collector(flush_events=10, memory_events=100, spill_bytes=3 * 4096)
    receiver.become("away")
    record(metrics, range(90))
    assert not metrics.flush()
    assert len(list(spill.iterdir())) == 3
    assert (metrics.counts.spilled, metrics.counts.waiting) == (30, 90)
    assert adds_up(metrics)


def test_a_folder_that_cannot_be_written_is_told_once_and_memory_holds(
    collector: Make, receiver: Any, spill: Path, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    spill.write_text("in the way")
    metrics = collector(flush_seconds=0.05)
    receiver.become("away")
    record(metrics, range(3))
    assert not metrics.flush()
    assert (metrics.counts.waiting, metrics.counts.dropped) == (3, 0)
    receiver.become("there")
    until(lambda: metrics.counts.sent == 3)
    assert caplog.text.count("the spill folder") == 1


def test_recording_does_not_wait_for_a_service_that_does_not_answer(
    collector: Make, receiver: Any, until: Until
) -> None:
    metrics = collector(flush_events=10, memory_events=100, flush_seconds=0.05)
    receiver.become("silent")
    record(metrics, range(10))
    until(lambda: metrics._outbox._in_hand)
    for start in range(10, 1000, 10):
        record(metrics, range(start, start + 10))
        until(lambda: len(metrics._outbox._records) < 60)
    assert not metrics.flush(0.01)
    assert metrics.counts.dropped == 0
    assert metrics.counts.spilled >= 900
    receiver.become("there")
    until(lambda: metrics.flush() and metrics.counts.waiting == 0)
    assert sorted(numbers(receiver)) == list(range(1000))


def test_a_forgotten_collector_still_sends(collector: Make, receiver: Any, spill: Path) -> None:
    metrics = MetricsCollector(transport=receiver, spill_folder=spill)
    record(metrics, range(3))
    thread = metrics._outbox._thread
    assert thread is not None
    del metrics
    gc.collect()
    thread.join(20)
    assert not thread.is_alive()
    assert numbers(receiver) == [0, 1, 2]


def test_a_closed_collector_that_records_again_sends_again(
    metrics: MetricsCollector, receiver: Any
) -> None:
    record(metrics, range(2))
    metrics.close()
    record(metrics, range(2, 4))
    metrics.close()
    assert numbers(receiver) == [0, 1, 2, 3]


def test_half_written_files_of_dead_processes_are_removed_and_others_left(
    collector: Make, spill: Path, until: Until
) -> None:
    spill.mkdir()
    old, new, foreign = spill / ".new-old", spill / ".new-new", spill / "notes.txt"
    for file in (old, new, foreign):
        file.write_text("half")
    os.utime(old, (0, 0))
    os.utime(foreign, (0, 0))
    metrics = collector()
    record(metrics, range(1))
    assert metrics.flush()
    until(lambda: not old.exists())
    assert (new.exists(), foreign.exists()) == (True, True)
    assert metrics.counts.waiting == 0


def test_a_batch_that_somebody_sends_is_nobody_elses(tmp_path: Path) -> None:
    from uuid import uuid4

    first, second = (SpillFolder(tmp_path / "spill", 10**6) for _ in range(2))
    batches = [Batch(uuid4(), b"packed", n) for n in (1, 2)]
    for batch in batches:
        assert first.put(batch)
    with first.oldest() as mine, second.oldest() as theirs:
        assert mine is not None
        assert theirs is not None
        assert (mine.batch, theirs.batch) == (batches[0], batches[1])
        with first.oldest() as none:
            assert none is None
        mine.done()
    with first.oldest() as left:
        assert left is not None
        assert left.batch == batches[1]


# Processes that end, fork and are killed

Process = Callable[..., subprocess.Popen[str]]

PREAMBLE = """
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from conftest import Receiver
from mlops import MetricsCollector
from mlops.telemetry import outbox
receiver = Receiver(Path({received!r}))
metrics = MetricsCollector(transport=receiver, spill_folder=Path({spill!r}), **{limits!r})
def record(numbers):
    for number in numbers:
        metrics.record_llm_call(output_tokens=number)
def ready():
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def process(receiver: Any, spill: Path, request: pytest.FixtureRequest) -> Process:
    """Run code that has `metrics`, `receiver` and `record` in a Python of its own."""

    def start(code: str, **limits: Any) -> subprocess.Popen[str]:
        preamble = PREAMBLE.format(
            tests=str(Path(__file__).parent),
            received=str(receiver.folder),
            spill=str(spill),
            limits=limits,
        )
        started = subprocess.Popen(
            [sys.executable, "-c", preamble + code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

        def stop() -> None:
            started.kill()
            started.communicate()

        request.addfinalizer(stop)
        return started

    return start


def ended(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def killed_when_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    process.kill()
    process.wait(60)


def test_a_process_sends_at_its_end(process: Process, receiver: Any) -> None:
    ended(process("record(range(5))"))
    assert numbers(receiver) == list(range(5))


@pytest.mark.parametrize("state", ["away", "silent"])
def test_a_process_that_cannot_send_at_its_end_leaves_it_to_the_next(
    process: Process, collector: Make, receiver: Any, until: Until, state: str
) -> None:
    receiver.become(state)
    first = process(
        "outbox.EXIT_SECONDS = 0.3; record(range(5)); time.sleep(0.2); record(range(5, 9))",
        flush_seconds=0.05,
    )
    first.communicate(timeout=60)
    assert first.returncode == 0
    receiver.become("there")
    metrics = collector(flush_seconds=0.05)
    record(metrics, range(9, 10))
    until(lambda: sorted(numbers(receiver)) == list(range(10)))


def test_a_killed_process_loses_only_what_was_not_flushed(
    process: Process, collector: Make, receiver: Any, until: Until
) -> None:
    receiver.become("away")
    killed_when_ready(
        process(
            "record(range(50)); assert metrics.flush(); record(range(50, 60)); ready()",
            flush_events=20,
            flush_seconds=3600,
        )
    )
    receiver.become("there")
    metrics = collector()
    assert metrics.flush()
    assert metrics.counts.sent == 50
    assert numbers(receiver) == list(range(50))


def test_a_batch_whose_sender_is_killed_is_sent_by_another(
    process: Process, collector: Make, receiver: Any
) -> None:
    receiver.become("away")
    ended_away = process("record(range(5))")
    ended_away.communicate(timeout=60)
    receiver.become("silent")
    killed_when_ready(
        process(
            "metrics.flush(0.01)\n"
            "for _ in range(2000): metrics._outbox._folder._claimed or time.sleep(0.01)\n"
            "ready()"
        )
    )
    receiver.become("there")
    assert collector().flush()
    assert numbers(receiver) == list(range(5))


def test_processes_that_share_a_folder_send_each_batch_once(
    process: Process, collector: Make, receiver: Any
) -> None:
    receiver.become("away")
    metrics = collector(flush_events=1)
    record(metrics, range(60))
    assert metrics.flush()
    metrics.close()
    receiver.become("there")
    others = [process("metrics.flush(60)") for _ in range(3)]
    for other in others:
        ended(other)
    assert sorted(numbers(receiver)) == list(range(60))


def test_a_fork_sends_what_it_recorded_and_its_parent_the_rest(
    process: Process, receiver: Any
) -> None:
    ended(
        process(
            """
record(range(10))
children = []
for child in range(1, 4):
    pid = os.fork()
    if pid == 0:
        assert metrics.counts.recorded == 0
        record(range(100 * child, 100 * child + 10))
        assert metrics.flush(20)
        assert metrics.counts.sent == 10
        os._exit(0)
    children.append(pid)
record(range(10, 20))
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
""",
            flush_seconds=3600,
        )
    )
    expected = [*range(20), *range(100, 110), *range(200, 210), *range(300, 310)]
    assert sorted(numbers(receiver)) == expected


def test_forks_amid_sending_lose_nothing(process: Process, receiver: Any) -> None:
    ended(
        process(
            """
for n in range(20):
    record(range(n * 10, n * 10 + 10))
    pid = os.fork()
    if pid == 0:
        record([1000 + n])
        os._exit(0 if metrics.flush(20) else 1)
    assert os.waitpid(pid, 0)[1] == 0
""",
            flush_events=5,
            flush_seconds=0.01,
        )
    )
    assert sorted(numbers(receiver)) == [*range(200), *range(1000, 1020)]


def test_a_child_of_multiprocessing_sends_at_its_end(process: Process, receiver: Any) -> None:
    ended(
        process(
            """
import multiprocessing
record(range(3))
with multiprocessing.get_context("fork").Pool(2) as pool:
    pool.map(record, [[10], [11], [12]], chunksize=1)
    pool.close()
    pool.join()
""",
            flush_seconds=3600,
        )
    )
    assert sorted(numbers(receiver)) == [0, 1, 2, 10, 11, 12]
