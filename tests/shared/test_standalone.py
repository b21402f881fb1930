"""Pages that stand for themselves."""

from __future__ import annotations

import sys

import pytest

from shared.standalone import PageError, page_environment


def test_without_jinja2_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(PageError, match=r'comes with: pip install "browser-mlops\[drift\]"'):
        page_environment("shared.drift.report", {}, extra="drift")
