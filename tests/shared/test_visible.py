"""What comes from elsewhere is shown, and neither obeyed nor hidden."""

from __future__ import annotations

import pytest

from mlops.console import plain
from shared.evaluation.report import page
from shared.standalone import page_environment
from shared.visible import visible

HOSTILE = "a\x00b\x1bc\u202ed\u2028e\u2029f\ud800\x85"
SHOWN = "a\\x00b\\x1bc\\u202ed\\u2028e\\u2029f\\ud800\\x85"


def test_what_would_be_hidden_or_obeyed_is_made_visible() -> None:
    assert visible(HOSTILE) == SHOWN
    assert visible("a\tb\n\N{LATIN SMALL LETTER E WITH ACUTE}") == "a\tb\n\u00e9"


def test_a_line_of_a_command_is_one_line() -> None:
    assert plain(f"{HOSTILE}\tx\ny") == f"{SHOWN} x y"


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\u202e", "\x1b"])
def test_a_report_prints_no_character_that_a_browser_would_obey(character: str) -> None:
    printed = (
        page_environment(page.__package__, {}, extra="evaluation")
        .from_string("{{ said }}")
        .render(said=f"a{character}b")
    )
    assert character not in printed
    assert printed.startswith("a\\")
