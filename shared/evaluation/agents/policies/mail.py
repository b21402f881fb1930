"""Mail: what is to be done with whose mail, in whatever words, and the controls to do it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from shared.evaluation.agents.policies.answers import click_or_wait, wait_for
from shared.evaluation.agents.policies.looking import (
    first_saying,
    following,
    has_class,
    until_next,
)
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import Action, Click, Element, Fill, Observation

_SENDER = "email-sender"
_QUOTED = re.compile(r'"(?P<text>.*)"')
_DELETE = re.compile(r"\b(?:delet|trash|get rid|remov|eras)", re.IGNORECASE)
_STAR = re.compile(r"\b(?:star\b|mark|imp?ort|impor|imiport|flag)", re.IGNORECASE)
_NAME = re.compile(r"\b[A-Z][a-z]+(?:-[A-Za-z]+)?\b")
_WRITTEN_BY = (
    r"(?:from|by|of) {name}\b",
    r"{name}'s?\b",
    r"{name} (?:sent|wrote|has sent|emailed|wants (?:his|her|their))",
    r"the {name} e?-?mail",
)
_FOR = (
    r"(?:to|give|send|forward|show) {name}\b",
    r"{name} (?:wants (?!his|her|their)|needs|is waiting|must|should|would|will|has to)",
    r"with {name}\b",
)


class MailOrder(NamedTuple):
    """What a goal asks for."""

    kind: Literal["reply", "forward", "trash", "star"]
    sender: str
    text: str = ""
    "What to write: the reply, or to whom to forward."


def handle_mail(observation: Observation, memory: Memory) -> Action | None:
    """Star or delete the mail in the list; or open it, then reply or forward."""
    order = read_order(observation.goal, _senders(observation, memory))
    if order is None:
        return None
    if order.kind == "reply":
        return _write(order, "reply-text", observation, memory)
    if order.kind == "forward":
        return _write(order, "forward-sender", observation, memory)
    author = first_saying(order.sender, _SENDER, observation)
    if author is None:
        return wait_for(f"a mail by {order.sender}", memory)
    mail = until_next(_SENDER, following(author, observation))
    found = next((e for e in mail if has_class(e, order.kind)), None)
    return click_or_wait(found, memory, f"the icon {order.kind!r}")


def read_order(goal: str, senders: Iterable[str]) -> MailOrder | None:
    """What the goal asks for; None where it names none of the senders."""
    words = set(_NAME.findall(goal))
    named = [sender for sender in dict.fromkeys(senders) if sender in words]
    if not named:
        return None
    if quoted := _QUOTED.search(goal):
        outside = goal.replace(quoted[0], "")
        sender = next((name for name in named if name in outside), named[0])
        return MailOrder("reply", sender, quoted["text"])
    if _DELETE.search(goal):
        return MailOrder("trash", named[0])
    others = words - set(named)
    pairs = [(by, to) for by in named for to in [*named, *others] if by != to]
    scores = {
        pair: _is_said(_WRITTEN_BY, pair[0], goal) + _is_said(_FOR, pair[1], goal) for pair in pairs
    }
    best = max(pairs, key=lambda pair: scores[pair], default=None)
    if _STAR.search(goal) or best is None or not _is_said(_FOR, best[1], goal):
        return MailOrder("star", named[0])
    return MailOrder("forward", *best)


def _is_said(patterns: Iterable[str], name: str, goal: str) -> bool:
    said = (pattern.format(name=re.escape(name)) for pattern in patterns)
    return any(re.search(pattern, goal, re.IGNORECASE) for pattern in said)


def _senders(observation: Observation, memory: Memory) -> list[str]:
    """Who has written what is in the list or open, and whose mail was opened before."""
    shown = [e.text for e in observation.elements if has_class(e, _SENDER)]
    writing = any(
        e.attributes.get("id") in {"send-reply", "send-forward"} for e in observation.elements
    )
    return (
        [*shown, *(step.target for step in memory.past if step.target)]
        if (shown or writing)
        else []
    )


def _write(order: MailOrder, field: str, observation: Observation, memory: Memory) -> Action:
    """Open the mail, choose what to do, write into the field, send."""
    page = observation.elements
    send = next((e for e in page if e.attributes.get("id") == f"send-{order.kind}"), None)
    if send is not None:
        target = next((e for e in page if _is_called(e, field)), None)
        if target is None:
            return wait_for("a field to write into", memory)
        if target.value != order.text:
            return Fill(element=target.id, text=order.text)
        return Click(element=send.id)
    choice = _choice(order.kind, observation)
    if choice is not None:
        return Click(element=choice.id)
    author = first_saying(order.sender, _SENDER, observation)
    if author is None:
        return wait_for(f"a mail by {order.sender}", memory)
    return Click(element=author.id)


def _choice(kind: str, observation: Observation) -> Element | None:
    """The control of an open mail: its frame, or the icon or the word inside it."""
    by_class = [e for e in observation.elements if has_class(e, f"email-{kind}")]
    by_text = [e for e in observation.elements if e.text == kind.capitalize()]
    return next(iter(by_class + by_text), None)


def _is_called(element: Element, name: str) -> bool:
    return element.attributes.get("id") == name or has_class(element, name)
