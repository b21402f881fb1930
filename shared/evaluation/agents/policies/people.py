"""Mail and posts: find the entry by who wrote it, then use its controls."""

from __future__ import annotations

import re

from shared.evaluation.agents.policies.answers import PATIENCE, click_or_wait, wait_for
from shared.evaluation.agents.policies.looking import following, has_class
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import (
    Action,
    Click,
    Element,
    Fill,
    Observation,
    ReportInfeasible,
)

_MAIL = re.compile(r"^Find the email by (?P<sender>.+?) and (?P<order>reply|forward|click)\b")
_REPLY = re.compile(r'with the text "(?P<text>[^"]*)"\.?$')
_FORWARD = re.compile(r"forward that email to (?P<to>.+?)\.?$")
_ICON = re.compile(r"click the (?P<icon>trash|star) icon")
_POST = re.compile(r'^For the user (?P<user>@\S+), click on the "(?P<button>[^"]+)" button\.?$')
_ICONS_OF_A_POST = {"Reply": "reply", "Retweet": "retweet", "Like": "like"}


def handle_mail(observation: Observation, memory: Memory) -> Action | None:
    """Star or delete the mail in the list; or open it, then reply or forward."""
    if not (named := _MAIL.match(observation.goal)):
        return None
    sender = named["sender"]
    if icon := _ICON.search(observation.goal):
        return _icon_of(sender, icon["icon"], observation, memory)
    if reply := _REPLY.search(observation.goal):
        return _write(sender, "reply", "reply-text", reply["text"], observation, memory)
    if forward := _FORWARD.search(observation.goal):
        return _write(sender, "forward", "forward-sender", forward["to"], observation, memory)
    return ReportInfeasible(reason="the goal asks for something unknown to be done with the mail")


def use_post(observation: Observation, memory: Memory) -> Action | None:
    """The control of the user's post, from its icons or from its menu."""
    if not (named := _POST.match(observation.goal)):
        return None
    author = _first_saying(named["user"], "username", observation)
    if author is None:
        return wait_for(f"a post by {named['user']}", memory)
    post = _until_next("username", following(author, observation))
    button = named["button"]
    if icon := _ICONS_OF_A_POST.get(button):
        found = next((e for e in post if has_class(e, icon)), None)
        return click_or_wait(found, memory, f"the icon {button!r}")
    entry = next((e for e in post if e.tag == "li" and e.text.startswith(button)), None)
    if entry is not None:
        return Click(element=entry.id)
    more = next((e for e in post if has_class(e, "more")), None)
    if more is not None and memory.clicks_at_the_end(more.id) > PATIENCE:
        return ReportInfeasible(reason=f"the menu of the post has no entry {button!r}")
    # A first click can miss an icon that changes under the mouse, so the menu is asked again.
    return click_or_wait(more, memory, "the menu of the post")


def _icon_of(sender: str, icon: str, observation: Observation, memory: Memory) -> Action:
    author = _first_saying(sender, "email-sender", observation)
    if author is None:
        return wait_for(f"a mail by {sender}", memory)
    mail = _until_next("email-sender", following(author, observation))
    found = next((e for e in mail if has_class(e, icon)), None)
    return click_or_wait(found, memory, f"the icon {icon!r}")


def _write(
    sender: str, order: str, field: str, text: str, observation: Observation, memory: Memory
) -> Action:
    """Open the mail, choose `order`, fill `field` with `text`, send."""
    page = observation.elements
    send = next((e for e in page if e.attributes.get("id") == f"send-{order}"), None)
    if send is not None:
        target = next((e for e in page if _is_called(e, field)), None)
        if target is None:
            return wait_for("a field to write into", memory)
        if target.value != text:
            return Fill(element=target.id, text=text)
        return Click(element=send.id)
    choice = _choice(order, observation)
    if choice is not None:
        return Click(element=choice.id)
    author = _first_saying(sender, "email-sender", observation)
    if author is None:
        return wait_for(f"a mail by {sender}", memory)
    return Click(element=author.id)


def _choice(order: str, observation: Observation) -> Element | None:
    """The control of an open mail: its frame, or the icon or the word inside it."""
    by_class = [e for e in observation.elements if has_class(e, f"email-{order}")]
    by_text = [e for e in observation.elements if e.text == order.capitalize()]
    return next(iter(by_class + by_text), None)


def _is_called(element: Element, name: str) -> bool:
    return element.attributes.get("id") == name or has_class(element, name)


def _first_saying(text: str, css_class: str, observation: Observation) -> Element | None:
    return next(
        (e for e in observation.elements if has_class(e, css_class) and e.text == text), None
    )


def _until_next(css_class: str, elements: list[Element]) -> list[Element]:
    """The elements before the next entry begins."""
    for index, element in enumerate(elements):
        if has_class(element, css_class):
            return elements[:index]
    return elements
