"""Finds a Chromium on this machine, or installs one, and knows how it is started."""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from shared.settings import settings

log = logging.getLogger(__name__)


class ChromiumError(Exception):
    """No usable Chromium; the message is one line and says what to do."""


class ChromiumKind(StrEnum):
    CONFIGURED = "configured"
    PLAYWRIGHT = "playwright"
    DEBIAN_HEADLESS_SHELL = "debian headless shell"
    SYSTEM = "system"


@dataclass(frozen=True)
class Chromium:
    path: Path
    kind: ChromiumKind

    def version(self) -> str:
        """What the program says of itself; raises `ChromiumError` when it does not run."""
        try:
            done = subprocess.run(
                [self.path, "--version"], capture_output=True, text=True, timeout=30, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise ChromiumError(f"{self.path} does not run: {_last_line(error)}") from None
        return done.stdout.strip()


_HINT: Final = (
    'install one with "playwright install --only-shell chromium" or '
    '"apt-get install chromium-headless-shell", or set MLOPS_CHROMIUM to its path'
)

# The binary itself: the wrapper script in /usr/bin does not exec it, so that ending the wrapper
# would leave the browser behind.
_DEBIAN_HEADLESS_SHELL: Final = Path("/usr/lib/chromium/chromium-headless-shell")

# Looked at without PATH, which a service manager or cron may not pass on.
_SYSTEM_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SYSTEM_FOLDERS: Final = ("/usr/bin", "/usr/local/bin", "/opt/google/chrome", "/snap/bin")
_SYSTEM_PATHS: Final = (
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
)


def find_chromium() -> Chromium:
    """The Chromium to use, in the order: setting, Playwright's, Debian's headless shell, any.

    Headless shells come first where there is a choice: an episode costs a half to a quarter.
    Raises `ChromiumError` when there is none, or the setting names a file that is not there.
    """
    configured = settings().chromium
    if configured is not None:
        if not _is_program(configured):
            raise ChromiumError(
                f"MLOPS_CHROMIUM names {str(configured)!r}, and that is no program; "
                "set it to the path of a Chromium or unset it"
            )
        return Chromium(configured, ChromiumKind.CONFIGURED)
    playwrights = _playwrights_own()
    if playwrights is not None:
        return Chromium(playwrights, ChromiumKind.PLAYWRIGHT)
    if _is_program(_DEBIAN_HEADLESS_SHELL):
        return Chromium(_DEBIAN_HEADLESS_SHELL, ChromiumKind.DEBIAN_HEADLESS_SHELL)
    search = os.pathsep.join([os.environ.get("PATH", ""), *_SYSTEM_FOLDERS])
    for name in _SYSTEM_NAMES:
        found = shutil.which(name, path=search)
        if found:
            return Chromium(Path(found), ChromiumKind.SYSTEM)
    for path in _SYSTEM_PATHS:
        if _is_program(path):
            return Chromium(path, ChromiumKind.SYSTEM)
    raise ChromiumError(f"there is no Chromium on this machine; {_HINT}")


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _playwrights_own() -> Path | None:
    spec = find_spec("playwright")
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent / "driver" / "package"
    try:
        listed = json.loads((package / "browsers.json").read_text("utf-8"))["browsers"]
    except (OSError, ValueError, KeyError):
        return None
    revisions = {browser["name"]: browser["revision"] for browser in listed}
    folder = _playwright_folder(package)
    for browser, programs in (
        ("chromium-headless-shell", ("*/chrome-headless-shell", "*/headless_shell")),
        ("chromium", ("*/chrome", "*/*.app/Contents/MacOS/*")),
    ):
        installed = folder / f"{browser.replace('-', '_')}-{revisions.get(browser)}"
        # Written by Playwright after the last file: without it an installation was cut short.
        if not (installed / "INSTALLATION_COMPLETE").exists():
            continue
        for program in programs:
            for path in sorted(installed.glob(program)):
                if _is_program(path):
                    return path
    return None


def _playwright_folder(package: Path) -> Path:
    named = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    if named == "0":
        return package / ".local-browsers"
    if named:
        return Path(named)
    if platform.system() == "Darwin":
        return Path.home() / "Library" / "Caches" / "ms-playwright"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ms-playwright"


def install_chromium() -> Chromium:
    """Install a headless shell: Playwright's, else Debian's package where we may.

    Takes minutes at worst and needs the network. Raises `ChromiumError` when neither worked.
    """
    problems = []
    root = _is_root()
    command = [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]
    problem = _run(command, seconds=600)
    if problem is None:
        found = find_chromium()
        try:
            found.version()
        except ChromiumError as error:
            # Downloaded, but this machine lacks libraries that it needs.
            problem = str(error)
        else:
            return found
    problems.append(f"playwright: {problem}")
    apt = shutil.which("apt-get", path="/usr/bin:/bin")
    if root and apt:
        install = [apt, "install", "-y", "--no-install-recommends", "chromium-headless-shell"]
        problem = _run(install, seconds=900)
        if problem is not None:
            # Most likely an image without package lists.
            problem = _run([apt, "update"], seconds=300) or _run(install, seconds=900)
        if problem is None and _is_program(_DEBIAN_HEADLESS_SHELL):
            return Chromium(_DEBIAN_HEADLESS_SHELL, ChromiumKind.DEBIAN_HEADLESS_SHELL)
        problems.append(f"apt-get: {problem}")
    raise ChromiumError(f"Chromium could not be installed ({'; '.join(problems)}); {_HINT}")


def _run(command: list[str], seconds: float) -> str | None:
    """Run a command quietly; returns None, or the line that says best why it failed."""
    log.info("running %s", " ".join(command))
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=True,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return _last_line(error)
    return None


def _last_line(error: OSError | subprocess.SubprocessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        said = (error.stderr or "") + (error.stdout or "")
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        telling = [line for line in lines if "rror" in line or line.startswith("E:")]
        return (telling or lines or [f"ended with code {error.returncode}"])[0][:200]
    if isinstance(error, subprocess.TimeoutExpired):
        return f"not done within {error.timeout:g} s"
    return str(error)[:200]


def launch_arguments() -> list[str]:
    """The command line flags: no calls home, no way round a proxy, and a sandbox where it can be.

    A context without a proxy reaches 127.0.0.1 and nothing else: names are for a proxy to
    resolve, so that neither a prefetch nor a page without a fence asks a name server.
    """
    arguments = [
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        # No datagrams of WebRTC: a proxy cannot carry them.
        "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    ]
    if _is_root():
        _warn_of_root()
        arguments.append("--no-sandbox")
    return arguments


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


@cache
def _warn_of_root() -> None:
    log.warning(
        "Chromium runs without its sandbox, because this process is root; "
        "use another user to evaluate agents on pages that you do not trust"
    )
