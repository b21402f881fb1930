import os

import pytest

from shared.local import accounts
from shared.local.accounts import Account, data_folder, reachable_copy

STRANGER = Account("stranger", 54321, 54321)


@pytest.fixture
def closed(folder):
    """A folder that only its owner may enter, as /root is."""
    path = folder / "closed"
    path.mkdir(mode=0o700)
    return path


def test_data_is_in_the_state_folder_where_its_user_may_enter(folder):
    assert data_folder(folder, "i", "postgres", STRANGER) == folder / "postgres"


def test_data_of_our_own_user_is_always_in_the_state_folder(closed):
    assert data_folder(closed, "i", "postgres", None) == closed / "postgres"


def test_data_goes_elsewhere_where_its_user_may_not_enter(folder, closed, monkeypatch):
    monkeypatch.setattr(accounts, "ELSEWHERE", folder / "elsewhere")
    data = data_folder(closed / "state", "i", "postgres", STRANGER)
    assert data == folder / "elsewhere" / "i" / "postgres"
    assert STRANGER.reaches(data)


def test_binaries_in_a_closed_folder_are_copied_to_where_they_run(folder, closed, monkeypatch):
    monkeypatch.setattr(accounts, "ELSEWHERE", folder / "elsewhere")
    program = closed / "install" / "bin" / "server"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    assert not STRANGER.runs(program)
    for _ in range(2):
        copy = reachable_copy(closed / "install", "bin/server", STRANGER, "server-1")
        assert STRANGER.runs(copy / "bin" / "server")
    assert os.listdir(folder / "elsewhere") == ["server-1"]  # noqa: PTH208 (hidden ones too)


def test_binaries_that_run_where_they_are_stay_there(folder):
    program = folder / "bin" / "server"
    program.parent.mkdir()
    program.write_text("")
    program.chmod(0o755)
    assert reachable_copy(folder, "bin/server", STRANGER, "server-1") == folder
