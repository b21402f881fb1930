"""Finding a Chromium, and how it is started."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from shared.local.chromium import (
    Chromium,
    ChromiumError,
    ChromiumKind,
    find_chromium,
    launch_arguments,
)
from shared.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def fresh_settings() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_a_chromium_is_found_without_a_path_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    assert "Chrom" in find_chromium().version()


@pytest.mark.usefixtures("fresh_settings")
def test_the_setting_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "chromium"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("MLOPS_CHROMIUM", str(program))

    assert find_chromium() == Chromium(program, ChromiumKind.CONFIGURED)


@pytest.mark.usefixtures("fresh_settings")
def test_a_setting_that_names_no_program_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_CHROMIUM", "/nowhere/chromium")

    with pytest.raises(ChromiumError, match="MLOPS_CHROMIUM names '/nowhere/chromium'"):
        find_chromium()


@pytest.mark.parametrize(
    "program",
    ["chrome-headless-shell-linux64/chrome-headless-shell", "chrome-linux/headless_shell"],
)
def test_playwrights_own_comes_next_once_it_is_complete(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str
) -> None:
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    for revision in range(1100, 1400):
        path = tmp_path / f"chromium_headless_shell-{revision}" / program
        path.parent.mkdir(parents=True)
        path.touch(mode=0o755)

    assert find_chromium().kind is not ChromiumKind.PLAYWRIGHT

    for folder in tmp_path.iterdir():
        (folder / "INSTALLATION_COMPLETE").touch()
    found = find_chromium()

    assert found.kind is ChromiumKind.PLAYWRIGHT
    assert found.path.match(f"*/{program}")


def test_the_sandbox_is_off_only_for_root() -> None:
    assert ("--no-sandbox" in launch_arguments()) == (os.geteuid() == 0)
    assert "--disable-background-networking" in launch_arguments()
