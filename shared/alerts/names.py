"""Names as senders chose them, in what identifies an alert and in what it says."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from shared.redaction import redacted_name
from shared.visible import visible


def fingerprint(kind: str, *of: str) -> str:
    """What tells the alerts of a kind apart: two are alike only if all their parts are.

    Names may hold the colon between parts, so that is escaped in each, as the percent sign is (RFC
    3986, 2.1). The database says the same of findings that an open alert keeps
    (`mlops.remove_old_drift_findings`).
    """
    return ":".join(part.replace("%", "%25").replace(":", "%3A") for part in (kind, *of))


def bare(text: str) -> str:
    """Text without secrets, markup, and what a terminal would obey."""
    return visible(redacted_name(text)).translate(_NO_MARKUP)


# An alert is sent on to where a name may be taken for markup.
_NO_MARKUP: Final = str.maketrans("<>[]`&", "()()'+")


def sayable(name: str) -> bool:
    """Whether a command may name it as it is."""
    return name == bare(name)


def command(words: Sequence[str], options: Mapping[str, str]) -> str:
    """For a shell to take. An option whose name cannot be said as it is is left out."""
    said = [*words]
    for option, name in options.items():
        if name and sayable(name):
            said += [option, name]
    return shlex.join(said)
