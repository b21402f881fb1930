"""Documents of models in files: written whole or not at all, read with the place of a mistake."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import sys
from pathlib import Path
from typing import Any, Final, Literal

from shared.evaluation.custom.document import FILE_BYTES, Document, read
from shared.registry.documents import DocumentError, ModelsDocument, as_json, as_yaml, parsed
from shared.registry.errors import RegistryError

Format = Literal["yaml", "json"]
STDIN: Final = "-"
_PLAIN: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,80}(?:@[a-z0-9.-]{1,20})?")


def formatted(document: ModelsDocument, form: Format) -> str:
    """The document as text that reads back as the same. Raises `RegistryError` where YAML has no
    way to say it."""
    if form == "json":
        return as_json(document)
    text = as_yaml(document)
    found = read(text.encode())
    if found.mistakes or found.data != document.model_dump():
        raise RegistryError("YAML would not read back as the same here: export it as JSON")
    return text


def written(path: Path, text: str, name: str, form: Format) -> Path:
    """Write a file, or into a folder a file that is called after `name`; returns its path.

    What stood there before stays until all of the new text is on the disk. Raises `RegistryError`.
    """
    target = path / f"{_file_name(name)}.{form}" if path.is_dir() else path
    part = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        try:
            part.write_text(text, encoding="utf-8", newline="\n")
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise RegistryError(
            f"{str(target)[:200]} cannot be written: {error.strerror or error}"
        ) from None
    return target


def read_document(path: Path) -> ModelsDocument:
    """The document in a file, YAML or JSON; `-` is standard input. Raises `RegistryError`."""
    shown = str(path)[:200]
    try:
        if str(path) == STDIN:
            data = sys.stdin.buffer.read(FILE_BYTES + 1)
        else:
            with path.open("rb") as file:
                data = file.read(FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise RegistryError(f"{shown} cannot be read: {said}") from None
    is_json = path.suffix.lower() == ".json" or data.lstrip()[:1] == b"{"
    document = _json(shown, data) if is_json else read(data)
    for mistake in sorted(document.mistakes):
        line, column = mistake.place
        raise RegistryError(f"{shown}:{line}:{column}: {mistake.said}")
    try:
        return parsed(document.data)
    except DocumentError as error:
        if is_json:
            raise RegistryError(f"{shown}: {error}") from None
        line, column = document.place_of(error.where)
        raise RegistryError(f"{shown}:{line}:{column}: {error}") from None


def _json(shown: str, data: bytes) -> Document:
    if len(data) > FILE_BYTES:
        raise RegistryError(f"{shown} has more than {FILE_BYTES} bytes")
    try:
        return Document(json.loads(data, object_pairs_hook=_once, parse_constant=_no_number))
    except json.JSONDecodeError as error:
        where = f"{shown}:{error.lineno}:{error.colno}"
        raise RegistryError(f"{where}: no valid JSON: {error.msg}") from None
    except UnicodeDecodeError:
        raise RegistryError(f"{shown} is not UTF-8") from None
    except RecursionError:
        raise RegistryError(f"{shown} nests too deep") from None
    except ValueError as error:
        raise RegistryError(f"{shown}: {error}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:60]!r} stands twice in one object")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _file_name(name: str) -> str:
    """A name that is one on every file system and leads into no other folder.

    One that had to be changed for that carries a hash of what it was.
    """
    if _PLAIN.fullmatch(name):
        return name
    safe = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80]
    return f"{safe or 'model'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
