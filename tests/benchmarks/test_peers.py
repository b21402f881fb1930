"""When a peer is measured, and what is said when it cannot be."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import peers
from benchmarks.measure import PeerMissingError
from benchmarks.peers import AGENTLAB, Peer, python_of, running
from shared.settings import settings


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("MLOPS_STATE_DIR", str(tmp_path))
    monkeypatch.delenv(peers.ASKED_FOR, raising=False)
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


@pytest.fixture
def installed(state: Path) -> Peer:
    """A peer whose interpreter is this one."""
    python = state / "peers" / "own" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    return Peer("own", "Own 1.0", (), "json")


def test_a_large_peer_waits_to_be_asked_for(state: Path) -> None:
    with pytest.raises(PeerMissingError, match=r"6\.6 GB.*PEERS=agentlab"):
        python_of(AGENTLAB)
    assert not list(state.iterdir())


def test_a_peer_that_cannot_be_installed_is_one_line(state: Path) -> None:
    nowhere = Peer("nowhere", "Nowhere 1.0", (str(state / "nowhere.whl"),), "nowhere")

    with pytest.raises(PeerMissingError, match=r"^Nowhere 1\.0 cannot be installed: .+$") as told:
        python_of(nowhere)
    assert "\n" not in str(told.value)


def test_a_peer_answers_line_by_line_and_leaves_nothing(installed: Peer, state: Path) -> None:
    with running(installed, "code", "-q") as theirs:
        assert theirs.ask("print('ok', flush=True)").endswith("ok\n")
        root = theirs.root
    assert not root.is_running()


def test_a_peer_that_ends_says_why(installed: Peer) -> None:
    with (
        running(installed, "benchmarks.no_such_module") as theirs,
        pytest.raises(PeerMissingError, match=r"Own 1\.0 failed: .*no_such_module"),
    ):
        theirs.ask("1")


def test_a_peer_is_told_no_password_of_ours(
    installed: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:secret@127.0.0.1:1/0")
    with running(installed, "code", "-q") as theirs:
        told = theirs.ask("import os; print('REDIS_URL' in os.environ, flush=True)")
    assert told.endswith("False\n")
