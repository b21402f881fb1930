"""Fixture files beside a definition, read into it so that it can travel."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from shared.evaluation.custom.definition import Content, CustomBenchmark, Start
from shared.jobs.contracts import DEFINITION_BYTES

_FILES_AT_MOST: Final = 500


class FixtureError(ValueError):
    """A fixture cannot be read; the message is one line."""


def read_in(benchmark: CustomBenchmark, folder: Path) -> CustomBenchmark:
    """The benchmark with every `file` and `folder` of its tasks, looked for in `folder`, as
    `files`. Raises `FixtureError`.
    """
    tasks = [
        task.model_copy(update={"start": read_start(task.start, folder)})
        for task in benchmark.tasks
    ]
    return benchmark.model_copy(update={"tasks": tuple(tasks)})


def read_start(start: Start, folder: Path) -> Start:
    """One start with its files read in. Raises `FixtureError`."""
    if start.travels:
        return start
    given = start.model_dump(exclude={"file", "folder"}, exclude_none=True)
    if start.file is not None:
        path = _inside(folder, start.file)
        name = Path(start.file).name
        files = {name: _content(path)}
        page = start.page if "page" in start.model_fields_set else name
    else:
        top = _inside(folder, start.folder or "")
        if not top.is_dir():
            raise FixtureError(f"there is no folder {start.folder!r} in {folder}")
        files, page = _contents(top, folder), start.page
    try:
        return Start.model_validate({**given, "files": files, "page": page})
    except ValidationError as error:
        said = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise FixtureError(said.removeprefix("Value error, ")) from None


def _inside(folder: Path, path: str) -> Path:
    top = folder.resolve()
    found = (top / path).resolve()
    # Also through a link: a definition of somebody else's must not take a reader's files along.
    if not found.is_relative_to(top):
        raise FixtureError(f"{path!r} leads out of {folder}")
    if not found.exists():
        raise FixtureError(f"there is no file {path!r} in {folder}")
    return found


def _contents(top: Path, folder: Path) -> dict[str, Content]:
    found: dict[str, Content] = {}
    size = 0
    for path in sorted(top.rglob("*")):
        if path.is_dir() or any(step.startswith(".") for step in path.relative_to(top).parts):
            continue
        if len(found) >= _FILES_AT_MOST:
            raise FixtureError(f"{top.name!r} holds more than {_FILES_AT_MOST} files")
        content = _content(_inside(folder, path.relative_to(folder.resolve()).as_posix()))
        size += len(content.text or content.base64 or "")
        if size > DEFINITION_BYTES:
            raise FixtureError(f"{top.name!r} holds more than {DEFINITION_BYTES} bytes")
        found[path.relative_to(top).as_posix()] = content
    return found


def _content(path: Path) -> Content:
    try:
        if not path.is_file():
            raise FixtureError(f"{path.name!r} is no file")
        if path.stat().st_size > DEFINITION_BYTES:
            raise FixtureError(f"{path.name!r} is larger than {DEFINITION_BYTES} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise FixtureError(f"{path.name!r} cannot be read: {error.strerror}") from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is None or "\0" in text:
        return Content(base64=base64.b64encode(data).decode())
    return Content(text=text)
