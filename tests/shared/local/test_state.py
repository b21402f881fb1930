import stat

import pytest

from shared.local.errors import ServiceError
from shared.local.state import PostgresRecord, Record, StateFolder, SupervisorRecord


@pytest.fixture
def record(tmp_path):
    return Record(
        instance="i",
        supervisor=SupervisorRecord(port=1, password="s"),
        postgres=PostgresRecord(
            bin=tmp_path,
            major=18,
            data=tmp_path,
            port=5,
            run_as=None,
            superuser_password="p@:/",
            owner_password="o",
            login_password="l",
        ),
    )


@pytest.fixture
def state_folder(tmp_path):
    made = StateFolder.at(tmp_path / "state")
    made.create()
    return made


def test_a_record_is_read_as_it_was_written(state_folder, record):
    assert state_folder.load() is None
    state_folder.save(record)
    assert state_folder.load() == record


def test_passwords_are_readable_by_their_owner_only(state_folder, record):
    state_folder.save(record)
    assert stat.S_IMODE(state_folder.services.stat().st_mode) == 0o600
    assert stat.S_IMODE(state_folder.logs.stat().st_mode) == 0o700
    assert not state_folder.path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH)


def test_a_damaged_record_is_told_and_not_replaced(state_folder):
    state_folder.services.write_text('{"instance": ')
    with pytest.raises(ServiceError, match=r"services\.json is damaged"):
        state_folder.load()
    assert state_folder.services.read_text() == '{"instance": '


def test_passwords_are_quoted_in_urls(record):
    assert record.postgres.superuser_url == "postgresql://postgres:p%40%3A%2F@127.0.0.1:5/postgres"


def test_a_record_without_a_pid_is_not_alive(record):
    assert not record.alive


def test_only_one_holds_the_lock(state_folder):
    with (
        state_folder.lock(),
        pytest.raises(ServiceError, match="is starting or stopping"),
        state_folder.lock(patience=0.1),
    ):
        pass
    with state_folder.lock(patience=0.0):
        pass  # given back
