"""HTML files that need neither network nor scripts, made of text that is hostile.

Whatever a template prints is made visible and escaped, and a page's own policy names the digest of
its style as the only thing that it may use: no script runs, nothing is loaded, nothing is sent.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from shared.visible import visible

_FOLDER = "templates"


class PageError(RuntimeError):
    """What writes pages is not installed."""


@dataclass(frozen=True)
class Style:
    """A style sheet, and the digest by which a Content-Security-Policy allows it."""

    text: str
    digest: str

    @classmethod
    def of(cls, package: str, name: str) -> Self:
        """The file `name` among a package's templates."""
        text = (files(package) / _FOLDER / name).read_text("utf-8")
        return cls(text, base64.b64encode(hashlib.sha256(text.encode()).digest()).decode())


def page_environment(
    package: str, filters: Mapping[str, Callable[..., object]], *, extra: str
) -> Any:
    """The jinja2 environment of a package's templates.

    Raises `PageError` where jinja2, which comes with the `extra` of this project, is missing.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from jinja2.filters import FILTERS
    except ImportError:
        raise PageError(
            f'the page needs jinja2, which comes with: pip install "browser-mlops[{extra}]"'
        ) from None
    environment = Environment(
        loader=PackageLoader(package, _FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Whatever is printed goes through this, and is escaped after it.
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters = {**FILTERS, **filters}
    return environment


def write_whole(target: Path, parts: Iterable[str]) -> None:
    """Write the text to the file `target`, whole or not at all; a link to one stays a link.

    Raises `OSError`, also for what is there and is no file: a device would be replaced.
    """
    target = target.resolve()
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "there is something that is no regular file")
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.writelines(parts)
            os.fchmod(file.fileno(), mode)
        Path(name).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """There is no way to ask for it but to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
