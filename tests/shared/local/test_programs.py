from shared.broker import SOFT_SHUTDOWN_SECONDS
from shared.jobs.contracts import Queue
from shared.local.programs import STOP_SECONDS, programs


def test_each_queue_has_a_worker_and_there_are_beat_flower_and_http():
    table = programs()
    assert [p.queue for p in table.values() if p.queue] == [queue.value for queue in Queue]
    assert set(table) == {*Queue, "beat", "flower", "web"}


def test_episodes_share_a_process_and_other_work_does_not():
    table = programs(episodes_per_worker=7)
    assert " ".join(table["evaluation"].command) == (
        "celery -A workers worker -Q evaluation -P threads -c 7 -n evaluation@%h --loglevel INFO"
    )
    assert "-P" not in table["drift"].command


def test_a_worker_is_given_the_time_its_soft_shutdown_takes():
    assert STOP_SECONDS > SOFT_SHUTDOWN_SECONDS
    for program in programs().values():
        assert program.environment == ({"REMAP_SIGTERM": "SIGQUIT"} if program.queue else {})
