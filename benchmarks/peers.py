"""The peers: each in an environment of its own below the state folder, installed when missing."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from benchmarks.measure import PeerMissingError
from benchmarks.processes import families
from benchmarks.services import URLS
from shared.evaluation.miniwob import server
from shared.settings import settings

INSTALL_SECONDS = 600.0
ASKED_FOR = "PEERS"
"Environment variable with the names of the large peers that shall be measured too."


@dataclass(frozen=True)
class Peer:
    """A program to be held against, and what makes its environment."""

    name: str
    title: str
    requirements: tuple[str, ...]
    module: str
    "Can be imported where it is installed."
    only_if_asked: str = ""
    "Why it is not measured unless it is asked for; empty where it always is."


BROWSERGYM = Peer(
    "browsergym",
    "BrowserGym 0.14.2",
    ("browsergym-core==0.14.2", "browsergym-miniwob==0.14.2"),
    "browsergym.miniwob",
)
AGENTLAB = Peer(
    "agentlab",
    "AgentLab 0.4.2",
    ("agentlab==0.4.2", "browsergym==0.14.2"),
    "agentlab.experiments.launch_exp",
    only_if_asked="its environment takes 6.6 GB",
)

MLFLOW = Peer(
    "mlflow",
    "MLflow 3.17.2",
    ("mlflow==3.17.2", "psycopg2-binary==2.9.13"),
    "mlflow.server",
    only_if_asked="its environment takes 0.7 GB",
)

EVIDENTLY = Peer(
    "evidently",
    "Evidently 0.7.23",
    # It imports what pandas 3 no longer has.
    ("evidently==0.7.23", "pandas==2.3.3"),
    "evidently.presets",
    only_if_asked="its environment takes 0.7 GB",
)

GROWTHBOOK = Peer("growthbook", "GrowthBook 4.0.0", ("growthbook==4.0.0",), "growthbook")

# Also for its data: seven series of the Turing Change Point Dataset with their annotations.
RIVER = Peer("river", "River 0.26.1", ("river==0.26.1",), "river.drift")


def python_of(peer: Peer) -> Path:
    """The interpreter of its environment, which is made first where it is missing.

    Raises `PeerMissingError`, with one line, where it cannot be had or is not asked for.
    """
    if peer.only_if_asked and peer.name not in os.environ.get(ASKED_FOR, "").split(","):
        raise PeerMissingError(
            f"{peer.title}: {peer.only_if_asked}; `make bench {ASKED_FOR}={peer.name}` measures it"
        )
    folder = settings().state_dir.expanduser().absolute() / "peers" / peer.name
    python = folder / "bin" / "python"
    if not _can_import(python, peer.module):
        print(f"installing {peer.title} in {folder}", flush=True)
        # The locked environment has uv, which is named after no folder of PATH.
        uv = (sys.executable, "-m", "uv")
        _install(peer, *uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder))
        _install(peer, *uv, "pip", "install", "-q", "--python", str(python), *peer.requirements)
        if not _can_import(python, peer.module):
            raise PeerMissingError(f"{peer.title}: installed in {folder}, but does not start")
    return python


def _can_import(python: Path, module: str) -> bool:
    if not python.exists():
        return False
    command = [python, "-c", f"import {module}"]
    return subprocess.run(command, env=_variables(), capture_output=True).returncode == 0


def _install(peer: Peer, *command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
        raise PeerMissingError(f"{peer.title} cannot be installed: {said.strip()}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerMissingError(f"{peer.title} cannot be installed: {error}") from None


def _variables(**more: str) -> dict[str, str]:
    """What a peer is told: no address of ours with a password in it, and where the pages are."""
    ours = {name: value for name, value in os.environ.items() if name not in URLS}
    root = str(Path(__file__).parents[1])
    pages = f"{server.base_url()}/miniwob/"
    return ours | {"PYTHONPATH": root, "MINIWOB_URL": pages} | more


class Running:
    """A peer's script that reads a number of episodes per line and answers each with a line."""

    def __init__(self, peer: Peer, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self._peer = peer
        self._process = process
        self._errors = errors
        self.root = psutil.Process(process.pid)
        "All that the script starts stays below it, see `reaper`."

    def ask(self, line: str) -> str:
        """Its answer. Raises `PeerMissingError` with the last line of its errors when it ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(line, file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise PeerMissingError(f"{self._peer.title} failed: {self.last_error()}")
        return answer

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def last_error(self) -> str:
        self._errors.seek(0)
        return (self._errors.read().strip().splitlines() or ["it said nothing"])[-1]


@contextmanager
def running(peer: Peer, module: str, *arguments: str, **variables: str) -> Iterator[Running]:
    """`python -m <module>` of this checkout by the peer's interpreter, ended with the block."""
    python = python_of(peer)
    command = [sys.executable, "-m", "benchmarks.reaper", str(python), "-m", module, *arguments]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command,
            env=_variables(**variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        theirs = Running(peer, process, errors)
        try:
            yield theirs
        finally:
            below = families([theirs.root])
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                for left in below:
                    with suppress(psutil.NoSuchProcess):
                        left.kill()
