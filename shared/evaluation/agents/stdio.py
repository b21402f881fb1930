"""A program that is asked over its stdin and stdout, one line of JSON each way."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import psutil

from shared.evaluation.agents.wire import MOST_BYTES

log = logging.getLogger(__name__)

_STDERR_KEPT: Final = 4_096
_FAREWELL_SECONDS: Final = 0.5


class ProgramError(Exception):
    """The program gave no answer; the message is one line."""


class Program:
    """A process in a group of its own, so that what it starts ends with it."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self._process = process
        self._name = name
        self._said = b""
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(
        cls, command: Sequence[str], environment: Mapping[str, str], name: str
    ) -> Program:
        """Run `command` without a shell. Raises OSError or ValueError when it cannot be."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=MOST_BYTES,
            env=dict(environment),
            start_new_session=True,
        )
        return cls(process, name)

    async def ask(self, line: bytes, seconds: float) -> bytes:
        """The next line that it writes after it was sent `line`. Raises ProgramError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                self._process.stdin.write(line)
                await self._process.stdin.drain()
                answer = await self._process.stdout.readline()
        except TimeoutError:
            raise ProgramError(f"{self._name} did not answer within {seconds:g} s") from None
        except ValueError:
            raise ProgramError(
                f"{self._name} answered with a line of more than {MOST_BYTES // 2**20} MB"
            ) from None
        except ConnectionError:
            answer = b""
        if not answer.endswith(b"\n"):
            raise ProgramError(await self._why_it_ended())
        return answer

    async def close(self, farewell: bytes) -> None:
        """Say `farewell`, and end it and all that it started, willing or not."""
        assert self._process.stdin is not None
        started = _started_by(self._process.pid)
        try:
            # What it says while it ends, or that it is gone, is nobody's concern any more.
            with suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(_FAREWELL_SECONDS):
                    self._process.stdin.write(farewell)
                    self._process.stdin.close()
                    await self._process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            # Those that have left its group for one of their own.
            for process in started:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            # A pipe that holds more than was read would stay open: asyncio has no public way.
            self._process._transport.close()  # type: ignore[attr-defined]
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await asyncio.gather(self._process.wait(), self._listening)
        self._listening.cancel()

    async def _listen(self) -> None:
        """Keep the end of what it writes to stderr: a full pipe would stop it."""
        assert self._process.stderr is not None
        while piece := await self._process.stderr.read(65_536):
            self._said = (self._said + piece)[-_STDERR_KEPT:]

    async def _why_it_ended(self) -> str:
        """After its stdout ended, which it may have closed by itself."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await asyncio.gather(self._process.wait(), asyncio.shield(self._listening))
        code = self._process.returncode
        lines = self._said.decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        how = "closed its output" if code is None else f"ended with exit code {code}"
        return f"{self._name} {how}" + (f": {last[:200]}" if last else "")


def _started_by(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
