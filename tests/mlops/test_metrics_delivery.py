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
from uuid import uuid4

import pytest

from mlops import MetricsCollector
from mlops.telemetry.sending import Batch
from mlops.telemetry.spilling import SpillFolder
from shared.telemetry.packing import pack

Make = Callable[..., MetricsCollector]
Until = Callable[[Callable[[], object]], None]
Process = Callable[..., subprocess.Popen[str]]


def record(metrics: MetricsCollector, numbers: range) -> None:
    for number in numbers:
        metrics.record_llm_call(output_tokens=number)


def numbers(receiver: Any) -> list[int]:
    return [event["output_tokens"] for event in receiver.events()]


def adds_up(metrics: MetricsCollector) -> bool:
    counts = metrics.counts
    became = counts.sent + counts.waiting + counts.handed_on + counts.dropped + counts.refused
    return counts.recorded == became


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
    collector: Make, receiver: Any, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = collector(memory_events=100, flush_events=10, flush_seconds=0.05, spill_bytes=0)
    receiver.become("away")
    record(metrics, range(50))
    assert not metrics.flush()
    record(metrics, range(50, 300))
    counts = metrics.counts
    assert (counts.recorded, counts.waiting, counts.dropped) == (300, 100, 200)
    assert caplog.text.count("telemetry is dropped: memory and spill folder are full") == 1
    receiver.become("there")
    until(lambda: metrics.counts.sent == 100)
    assert sorted(numbers(receiver)) == list(range(100))
    assert adds_up(metrics)


def test_who_records_faster_than_is_sent_and_spilled_waits_for_the_disk(
    collector: Make, receiver: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = collector(flush_events=10, memory_events=100, flush_seconds=0.05)
    receiver.become("silent")
    record(metrics, range(10))
    until(lambda: metrics._outbox._delivery.in_hand)
    # No other thread helps.
    monkeypatch.setattr(metrics._outbox, "_start_rescue", lambda: None)
    record(metrics, range(10, 1000))
    assert (metrics.counts.recorded, metrics.counts.dropped) == (1000, 0)
    receiver.become("there")
    until(lambda: metrics.flush() and metrics.counts.waiting == 0)
    assert sorted(numbers(receiver)) == list(range(1000))


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
    until(lambda: metrics._outbox._delivery.in_hand)
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
    first, second = (SpillFolder(tmp_path / "spill", 10**6) for _ in range(2))
    batches = [Batch(uuid4(), pack([line(n)] * n), n) for n in (1, 2)]
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


def waiting(folder: Path, *batches: list[bytes]) -> list[Path]:
    """Files as another process has left them, the oldest first."""
    spill = SpillFolder(folder, 10**6)
    for lines in batches:
        assert spill.put(Batch(uuid4(), pack(lines), len(lines)))
    return sorted(folder.iterdir())


def line(number: int) -> bytes:
    return b'{"output_tokens":%d}' % number


def test_what_cannot_be_read_stops_nothing_and_is_counted(
    collector: Make, receiver: Any, spill: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, third, _ = waiting(spill, *([line(n)] for n in range(4)))
    first.unlink()
    first.mkdir()
    second.write_bytes(b"no batch")
    third.unlink()
    third.symlink_to("/dev/zero")
    os.mkfifo(spill / f"{1:020}_{uuid4()}_1.batch")
    metrics = collector()
    record(metrics, range(10, 12))
    assert metrics.flush()
    assert numbers(receiver) == [10, 11, 3]
    counts = metrics.counts
    assert (counts.sent, counts.sent_for_others, counts.waiting_of_others) == (2, 1, 0)
    assert (counts.unreadable, counts.waiting) == (4, 0)
    assert caplog.text.count("stays there") == 4
    assert metrics.flush()
    assert len(list(spill.iterdir())) == 4
    assert caplog.text.count("stays there") == 4


def test_of_a_file_that_breaks_off_the_whole_lines_are_sent(
    collector: Make, receiver: Any, spill: Path
) -> None:
    numbers_of_file = range(1_000_000, 1_003_000)
    [file] = waiting(spill, [line(n) for n in numbers_of_file])
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    metrics = collector()
    assert metrics.flush()
    sent = numbers(receiver)
    assert 0 < len(sent) < len(numbers_of_file)
    assert sent == list(numbers_of_file)[: len(sent)]
    assert metrics.counts.sent_for_others == len(sent)
    assert list(spill.iterdir()) == []


def test_the_events_of_others_are_counted_apart(
    collector: Make, receiver: Any, spill: Path
) -> None:
    receiver.become("away")
    ours, theirs = collector(flush_seconds=3600), collector(flush_seconds=3600)
    for metrics, n in ((ours, 3), (theirs, 5)):
        record(metrics, range(n))
        assert metrics.flush()
    counts = ours.counts
    assert (counts.recorded, counts.waiting, counts.waiting_of_others) == (3, 3, 5)
    receiver.become("there")
    theirs._outbox._delivery._not_before = 0.0
    assert theirs.flush()
    assert (theirs.counts.sent, theirs.counts.sent_for_others) == (5, 3)
    counts = ours.counts
    assert (counts.waiting, counts.handed_on, counts.sent) == (0, 3, 0)
    assert adds_up(ours)
    assert adds_up(theirs)


class Raising:
    """Of a transport or a value: raises what no `except Exception` catches."""

    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


def test_what_a_value_raises_ends_neither_the_thread_nor_the_callers_work(
    metrics: MetricsCollector, receiver: Any
) -> None:
    class Exits(Exception):  # noqa: N818
        def __str__(self) -> str:
            raise SystemExit(3)

    class Interrupts:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    class Odd:
        @property
        def usage(self) -> object:
            raise SystemExit(4)

    record(metrics, range(1))
    metrics.record_llm_call(provider=Raising())  # type: ignore[arg-type]
    metrics.record_llm_call(provider=Interrupts())  # type: ignore[arg-type]
    metrics.record_llm_call(attributes={"a": Raising()})
    metrics.record_llm_call(error=Exits())
    metrics.record_llm_call(output_tokens=1, response=Odd())
    with metrics.track(output_tokens=2) as call:
        call.read(Odd())
    assert metrics.flush()
    assert numbers(receiver) == [0, 1, 2]
    assert metrics.counts.refused == 4
    assert adds_up(metrics)


def test_what_a_transport_raises_does_not_end_the_thread(
    collector: Make, receiver: Any, until: Until
) -> None:
    class Exiting:
        raises = True

        def send(self, *batch: Any) -> None:
            if self.raises:
                raise SystemExit(5)
            receiver.send(*batch)

    transport = Exiting()
    metrics = collector(transport=transport, flush_seconds=0.05)
    record(metrics, range(3))
    assert metrics.flush()
    transport.raises = False
    until(lambda: metrics.counts.sent == 3)


def test_ctrl_c_and_signals_of_the_caller_get_through(metrics: MetricsCollector) -> None:
    class SignalsItself(Exception):  # noqa: N818
        def __init__(self, number: int) -> None:
            self.number = number

        def __str__(self) -> str:
            os.kill(os.getpid(), self.number)
            return "sent"

    def stop(*_: object) -> None:
        raise SystemExit(9)

    with pytest.raises(KeyboardInterrupt):
        metrics.record_llm_call(error=SignalsItself(signal.SIGINT))
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(SystemExit):
            metrics.record_llm_call(error=SignalsItself(signal.SIGUSR1))
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_fork_does_not_wait_for_a_service_that_does_not_answer(
    metrics: MetricsCollector, receiver: Any, until: Until
) -> None:
    """Only for what is at work in libraries; and it leaves the sending to go on."""
    outbox = metrics._outbox
    receiver.become("silent")
    record(metrics, range(3))
    metrics.flush(0.01)
    until(outbox._delivery.exchanging.locked)
    assert outbox.hold_still()
    assert outbox._stilled == [outbox._working]
    assert outbox._delivery.exchanging.locked()
    outbox.go_on()
    receiver.become("there")
    until(lambda: metrics.flush() and metrics.counts.waiting == 0)
    assert numbers(receiver) == [0, 1, 2]


# Processes that end, fork and are killed

PREAMBLE = """
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from receiving import Receiver
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
    assert (metrics.counts.sent, metrics.counts.sent_for_others) == (0, 50)
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
